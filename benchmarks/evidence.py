"""Run experiments on the evidence itself: whether attacks, controls and verdicts are right.

Every experiment is a module beside this one with three functions: `parts` names the pieces in which
it is measured, `measure` measures one, and `section` tells what those found. A piece that was
measured is kept, named by its settings, so that a run that was killed goes on where it stopped.
"""

import json
import os
import platform
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from finding import Asked, Section, Stage, busy
from machine import MACHINE
from table import grid
from telling import Left

from expunge.pacing import threads
from expunge.storing import digest_json, read_json, write_json, write_text

Found = Mapping[str, Mapping[str, Any]]
"""What every piece of an experiment found, by its name."""

_KIND = "experiment"


@dataclass(frozen=True)
class Experiment:
    """One entry of the TOML file."""

    name: str
    module: str
    settings: Mapping[str, Any]
    named: bool = False  # whether it is run only where it is named, because it takes long
    data: bool = False  # whether it needs more than what comes with scikit-learn

    def parts(self) -> list[str]:
        """The pieces in which it is measured."""
        found: list[str] = import_module(self.module).parts(self.settings)
        return found

    def kept(self, folder: Path, part: str) -> Path:
        """Where what a piece found is: named by all that it depends on but the code."""
        key = digest_json([self.module, dict(self.settings), part])
        return folder / f"{key[:20]}.json"

    def found(self, folder: Path) -> dict[str, Any]:
        """What was found so far."""
        paths = {part: self.kept(folder, part) for part in self.parts()}
        return {part: read_json(path, _KIND) for part, path in paths.items() if path.exists()}


@dataclass(frozen=True)
class Plan:
    """A title, what it is about, and its experiments."""

    name: str
    title: str
    about: str
    seeds: str  # which were taken, in words
    experiments: tuple[Experiment, ...]


def plans(path: Path) -> bool:
    """Whether a TOML file holds experiments, and no table of methods."""
    return "experiment" in tomllib.loads(path.read_text(encoding="utf-8"))


def read(path: Path, *, quick: bool = False) -> Plan:
    """Read all experiments; ``quick`` takes the small stand-in of each."""
    body = tomllib.loads(path.read_text(encoding="utf-8"))
    each = tuple(_experiment(told, quick=quick) for told in body["experiment"])
    return Plan(path.stem, body["title"], body["about"], body["seeds"], each)


def _experiment(told: Mapping[str, Any], *, quick: bool) -> Experiment:
    """One entry; a stand-in may do without data."""
    settings = {**told.get("settings", {}), **(told.get("quick", {}) if quick else {})}
    data = settings.pop("data", told.get("data", False))
    named = told.get("named", False) and not quick
    return Experiment(told["name"], told["module"], settings, named=named, data=data)


def work(plan: Plan, stage: Stage, only: str) -> None:
    """Measure what has not been measured."""
    folder = _folder(stage.cache)
    left = Left(partial(_open, plan, stage, only), workers=1)
    for experiment in plan.experiments:
        if not _asked(experiment, only):
            continue
        if experiment.data and stage.data is None:
            print(f"{experiment.name}: left out, for want of --data", flush=True)
            continue
        for part in experiment.parts():
            path = experiment.kept(folder, part)
            if not path.exists():
                write_json(path, _KIND, _measured(experiment, part, stage) | {"key": path.stem})
                left.tell(f"{experiment.name}: {part}")


def _open(plan: Plan, stage: Stage, only: str) -> int:
    """How many pieces are not measured, of those that are asked for."""
    folder, asked = _folder(stage.cache), [e for e in plan.experiments if _asked(e, only)]
    able = [e for e in asked if stage.data is not None or not e.data]
    return sum(not e.kept(folder, part).exists() for e in able for part in e.parts())


def named(plan: Plan, only: str) -> bool:
    """Whether anything is called like this."""
    return any(only in experiment.name for experiment in plan.experiments)


def _asked(experiment: Experiment, only: str) -> bool:
    return only in experiment.name and bool(only or not experiment.named)


def recall(page: Path, cache: Path) -> None:
    """Take up what an earlier run wrote to the page's JSON, perhaps on another machine."""
    told = json.loads(page.read_text()) if page.exists() else {"experiments": []}
    for experiment in told["experiments"]:
        for body in experiment["parts"]:
            path = _folder(cache) / f"{body['key']}.json"
            if not path.exists():
                write_json(path, _KIND, body)


def write(plan: Plan, cache: Path, results: Path, *, quick: bool) -> None:
    """Write results/PLAN.json and results/PLAN.md."""
    found = {each.name: each.found(_folder(cache)) for each in plan.experiments}
    bodies = [body for parts in found.values() for body in parts.values()]
    raw = {
        "quick": quick,
        "machine": _machines(bodies),
        "versions": _versions(),
        "seeds": plan.seeds,
        "experiments": [
            {"name": e.name, "settings": dict(e.settings), "parts": [*found[e.name].values()]}
            for e in plan.experiments
        ],
    }
    write_text(results / f"{plan.name}.json", _lines(raw))
    sections = [(e, _section(e, found[e.name])) for e in plan.experiments]
    for experiment, section in sections:
        if section.picture:
            write_text(results / _picture(plan, experiment), section.picture)
    write_text(results / f"{plan.name}.md", _page(plan, sections, found, raw))


def _lines(raw: Mapping[str, Any]) -> str:
    """JSON with one piece a line: some have many numbers."""
    each = [
        json.dumps({"name": e["name"], "settings": e["settings"]})[:-1]
        + ', "parts": [\n'
        + ",\n".join(json.dumps(body, sort_keys=True) for body in e["parts"])
        + "\n]}"
        for e in raw["experiments"]
    ]
    head = {key: value for key, value in raw.items() if key != "experiments"}
    experiments = ",\n".join(each)
    return json.dumps(head)[:-1] + f', "experiments": [\n{experiments}\n]}}\n'


def _folder(cache: Path) -> Path:
    found = cache / "experiments"
    found.mkdir(parents=True, exist_ok=True)
    return found


def _measured(experiment: Experiment, part: str, stage: Stage) -> dict[str, Any]:
    wall, before = time.perf_counter(), busy()
    with threads(1):
        found = import_module(experiment.module).measure(part, experiment.settings, stage)
    return {
        "experiment": experiment.name,
        "part": part,
        "found": found,
        "process seconds": busy() - before,
        "wall seconds": time.perf_counter() - wall,
        "load": os.getloadavg()[0],
        "machine": MACHINE,
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    found = {name: version(name) for name in ("expunge", "torch", "numpy", "scipy")}
    return found | {"python": platform.python_version()}


def _picture(plan: Plan, experiment: Experiment) -> str:
    """The name of its file."""
    return f"{plan.name}-{experiment.name.lower().replace(' ', '-')}.svg"


def _page(
    plan: Plan,
    sections: Sequence[tuple[Experiment, Section]],
    found: Mapping[str, Found],
    raw: Mapping[str, Any],
) -> str:
    quick = "**A quick run: small stand-ins. These numbers say nothing.**\n"
    told = ", ".join(f"{name} {number}" for name, number in raw["versions"].items())
    lines = [
        f"# {plan.title}\n",
        plan.about,
        *([quick] if raw["quick"] else []),
        f"Measured on {raw['machine'] or 'nothing yet'}; {told}; one thread. {plan.seeds}\n",
        *_summary([(e, asked) for e, section in sections for asked in section.asked]),
    ]
    for experiment, section in sections:
        lines += [f"## {experiment.name}\n", *section.text]
        if section.picture:
            lines += [f"![{experiment.name}]({_picture(plan, experiment)})\n"]
        lines += _cost(found[experiment.name], among=raw["machine"])
        lines += [_again(plan, experiment)]
    return "\n".join(lines)


def _section(experiment: Experiment, found: Found) -> Section:
    parts = experiment.parts()
    if parts and not found:
        why = " It takes long, and runs only where `--only` names it." if experiment.named else ""
        return Section((f"Not run.{why}\n",), (Asked("all of it", "not run", met=False),))
    told = {part: body["found"] for part, body in found.items()}
    section: Section = import_module(experiment.module).section(told, experiment.settings)
    if len(found) == len(parts):
        return section
    some = f"Only {len(found)} of {len(parts)} parts were run.\n"
    return Section((some, *section.text), (), section.picture)


def _summary(every: list[tuple[Experiment, Asked]]) -> Iterator[str]:
    if not every:
        return
    body = [
        [e.name, a.claim, a.found, "not run" if a.found == "not run" else _mark(a)]
        for e, a in every
    ]
    yield grid(["experiment", "asked", "found", "met"], body, words=4)


def _mark(asked: Asked) -> str:
    return "yes" if asked.met else "**no**"


def _again(plan: Plan, experiment: Experiment) -> str:
    """How to run an experiment once more."""
    data = " --data DIR" if experiment.data else ""
    return (f'Again: `python benchmarks/run.py benchmarks/{plan.name}.toml{data} '
            f'--only "{experiment.name}" --out FOLDER`\n')  # fmt: skip


def _cost(found: Found, among: str) -> Iterator[str]:
    if found:
        seconds = sum(body["process seconds"] for body in found.values())
        machines = _machines(found.values())
        where = "" if machines == among else f", on {machines}"
        yield f"It took {seconds:.0f} s of the processor{where}.\n"


def _machines(bodies: Iterable[Mapping[str, Any]]) -> str:
    return "; ".join(sorted({body["machine"] for body in bodies}))
