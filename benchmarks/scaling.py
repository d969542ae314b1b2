"""How seconds and memory grow: with who leaves, with who trained, and with the parameters.

Every method has a process of its own for every size, so that the most memory it ever held is its
own; what the process held before, data and model included, is taken off. Work is stopped at a
limit, and is then no point of a curve.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from math import log, sqrt
from pathlib import Path
from statistics import linear_regression
from typing import Any

from figures import svg
from finding import Section, Stage
from table import Cell, Row, grid

Found = Mapping[str, Any]
_CUT = " ‡"  # beside an exponent that sizes are missing from
_ENOUGH = 3  # points that an exponent is fitted to
_LEAST = 0.03  # seconds and megabytes below which a clock, and what else a process does, are noise


def parts(settings: Mapping[str, Any]) -> list[str]:
    """Every method at every size."""
    return [f"{name}, {size}" for size in settings["sizes"] for name in settings["methods"]]


def measure(part: str, settings: Mapping[str, Any], stage: Stage) -> dict[str, Any]:
    """In a process of its own."""
    told = {
        "part": part,
        "settings": dict(settings),
        "cache": str(stage.cache),
        "data": None if stage.data is None else str(stage.data),
    }
    done = subprocess.run(
        [sys.executable, __file__, json.dumps(told)],
        check=True, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def section(found: Found, settings: Mapping[str, Any]) -> Section:
    """Seconds and memory by size, and how they grow."""
    names = [*settings["methods"]]
    sized = {
        size: {n: found[f"{n}, {size}"] for n in names if f"{n}, {size}" in found}
        for size in settings["sizes"]
    }
    head = [settings["what"], *names]
    tables = [
        f"{title}:\n\n" + grid(head, [*_lines(sized, names, key), _grows(sized, names, key)])
        for title, key in _SHOWN.items()
        if key != "pass" or settings["what"] == _WIDTH
    ]
    note = f"‡: without runs over the limit, of less than {_LEAST:g} s in all, or of less MB.\n"
    picture = _drawn(sized, settings["what"])
    return Section((settings["reading"] + "\n", *tables, note), picture=picture)


_WIDTH = "parameters"
_SHOWN = {
    "Seconds of one core": "seconds",
    "Seconds for every pass over all training samples": "pass",
    "Megabytes beyond data and model": "megabytes",
}


def _lines(
    sized: Mapping[int, Mapping[str, Any]], names: Sequence[str], key: str
) -> Iterator[list[str]]:
    for size, each in sized.items():
        yield [f"{size:,}", *(_shown(each.get(name), key) for name in names)]


def _shown(one: Found | None, key: str) -> str:
    if one is None:
        return "-"
    if one["over"]:
        return f"over {one['limit']}" if key == "seconds" else "-"
    value = _value(one, key)
    return "-" if value is None else f"{value:.3g}"


def _value(one: Found, key: str) -> float | None:
    if one["over"]:
        return None
    value = one["seconds"] / one["passes"] if key == "pass" else one[key]
    return None if value is None else float(value)


def _grows(sized: Mapping[int, Mapping[str, Any]], names: Sequence[str], key: str) -> list[str]:
    """Exponents of powers: 1 where twice the size takes twice as much."""
    told = ["*grows as a power of*"]
    for name in names:
        points = _points(sized, name, key)
        many = len(points) >= _ENOUGH
        cut = len(points) < sum(name in each for each in sized.values())
        told.append((f"*{_exponent(points):.2f}*" + _CUT * cut) if many else "-")
    return told


def _points(
    sized: Mapping[int, Mapping[str, Any]], name: str, key: str
) -> list[tuple[float, float]]:
    """Sizes with what was measured there, if that is more than noise."""
    clear = "megabytes" if key == "megabytes" else "seconds"
    found = [
        (size, _value(each[name], key))
        for size, each in sized.items()
        if name in each and (_value(each[name], clear) or 0.0) >= _LEAST
    ]
    return [(size, value) for size, value in found if value is not None]


def _exponent(points: Sequence[tuple[float, float]]) -> float:
    return linear_regression(*zip(*((log(x), log(y)) for x, y in points), strict=True)).slope


def _drawn(sized: Mapping[int, Mapping[str, Any]], what: str) -> str:
    """Both against size, on logarithmic axes."""
    import altair as alt  # noqa: PLC0415 - only for the page

    titles = {"seconds": "seconds of one core", "megabytes": "megabytes beyond data and model"}
    names = sorted({name for each in sized.values() for name in each})
    panels = []
    for key, title in titles.items():
        points = [
            {"method": name, "size": size, "value": value}
            for name in names
            for size, value in _points(sized, name, key)
        ]
        base = alt.Chart(alt.InlineData(values=points), width=320, height=280).encode(
            alt.X("size:Q", title=what).scale(type="log").axis(format="~s", tickCount=4),
            alt.Y("value:Q", title=title).scale(type="log").axis(format="~g", tickCount=5),
            alt.Color("method:N", title="method"),
        )
        panels.append(base.mark_line() + base.mark_point(filled=True, size=40, opacity=1))
    return svg(alt.hconcat(*panels))


def _alone(told: Mapping[str, Any]) -> dict[str, Any]:
    """One method at one size."""
    import staging  # noqa: PLC0415 - the process that waits does not need them
    import torch  # noqa: PLC0415
    from meter import TooLong, hurried, metered, one_pass  # noqa: PLC0415
    from training import history, trained  # noqa: PLC0415

    import expunge  # noqa: PLC0415
    from expunge.ensembles import References  # noqa: PLC0415
    from expunge.unlearning import warm  # noqa: PLC0415

    torch.set_num_threads(1)
    warm()
    settings, cache = told["settings"], Path(told["cache"])
    data = None if told["data"] is None else Path(told["data"])
    name, _, size = told["part"].partition(", ")
    cell, row = _cell(settings, int(size), name)
    problem = cell.posed(data, 0)
    model = trained(cell, 0, problem, cache)
    split = cell.split(problem, 0)
    stage = staging.Stage(
        problem, model, split, split, References(()), 0.0, history(cell, 0, cache)
    )
    method = stage.method(row)

    def work() -> expunge.Outcome:
        return expunge.unlearn(model, split, method, task=problem.task)

    limit = settings["limit"]
    try:
        with hurried(2 * limit):  # of both runs: to count, and for the time
            _, taken = metered(work)
    except TooLong:
        return {"over": True, "limit": limit}
    return {
        "over": taken.seconds > limit,
        "limit": limit,
        "seconds": taken.seconds,
        "passes": taken.flops / one_pass(model, problem.train, problem.task),
        "megabytes": taken.megabytes,
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def _cell(settings: Mapping[str, Any], size: int, name: str) -> tuple[Cell, Row]:
    """The problem that all share, of this size in one respect."""
    made, forget = dict(settings["problem"]), dict(settings["forget"])
    match settings["what"]:
        case "samples that leave":
            forget["count"] = size
        case "samples that train":
            made["count"] = size
        case _:
            made["width"] = _wide(size)
    row = Row(name, name, settings["methods"][name])
    record = settings["record"] if name == "mini" else {}
    cell = Cell("scaling", settings["name"], made, forget, (0,), (row,), record=record)
    return cell, row


def _wide(parameters: int) -> int:
    """The width of two hidden layers that has about so many."""
    linear = 784 + 10 + 2  # pixels, classes and biases: what every unit of width has
    return round((-linear + sqrt(linear**2 + 4 * parameters)) / 2)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_alone(json.loads(sys.argv[1]))) + "\n")
