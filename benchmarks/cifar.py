"""A tenth of CIFAR-10 is forgotten in three ways: what an audit says, and whether it cost as told.

A residual network is trained without augmentation, so that it knows its pictures well; then it is
retrained without some, trained on with the others, or unlearned by DUCK, and each is audited beside
retrained networks and shadow models. It takes hours without a GPU. Every model is kept as soon as
it is trained, so a run that was killed goes on with the next one.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from figures import beside
from finding import Asked, Section, Stage
from table import Cell, grid
from torch import nn

from expunge import Outcome, audit, judge, retrain, unlearn
from expunge.estimating import Work, estimate
from expunge.evidence import Tier
from expunge.method import Method
from expunge.methods.duck import Duck
from expunge.methods.finetune import Finetune
from expunge.methods.retrain import Retrain
from expunge.problems.cifar10 import cifar10
from expunge.problems.problem import Problem
from expunge.recipe import Recipe
from expunge.shadowing import shadow_of
from expunge.splitting import Split
from expunge.spreading import Processes
from expunge.storing import digest_json, digest_tensors, load_tensors, save_tensors
from expunge.tiers import suite

_STEPS = ("unlearning", "references", "shadow models", "measurements")
_SHOWN = ("membership AUC, threshold (loss)", "membership AUC, ulira (privacy)", "forget accuracy",
          "test accuracy")  # fmt: skip
_SHARP = _SHOWN[1]


def parts(settings: Mapping[str, Any]) -> list[str]:
    """What every audit is said to cost, before any is done; then the audits."""
    return [f"{what} {name}" for what in ("estimate", "audit") for name in settings["methods"]]


def measure(part: str, settings: Mapping[str, Any], stage: Stage) -> dict[str, Any]:
    """Estimate, or do it."""
    what, _, name = part.partition(" ")
    problem, shadows = (_problem(settings, stage, settings[k]) for k in ("epochs", "shadow epochs"))
    original = problem.trained(0, stage.cache)
    split = _cell(settings).split(problem, 0)
    chosen = settings["methods"][name]
    method, again = (_method(name, chosen, each.recipe) for each in (problem, shadows))
    if what == "audit":
        outcome = _unlearned(original, split, problem, method, stage.cache)
        return _audited(outcome, problem, shadows.recipe, again, settings, stage.cache)
    budget = settings["budget"]
    work = Work(original, split, problem.task, problem.recipe, method, budget=budget)
    return _estimated(work, replace(work, recipe=shadows.recipe, method=again), settings["tier"])


def _problem(settings: Mapping[str, Any], stage: Stage, epochs: int) -> Problem:
    found = cifar10(data=stage.data, width=settings["width"], epochs=epochs, augment=False)
    if "images" not in settings:
        return found
    some = slice(None, settings["images"])
    parts = {name: getattr(found, name).only(some) for name in ("train", "test", "validation")}
    return replace(found, **parts)


def _cell(settings: Mapping[str, Any]) -> Cell:
    """Whom the contest of methods forgets, and its references: no network is trained twice."""
    forget, look = {"share": settings["share"]}, {"references": settings["references"]}
    return Cell("CIFAR-10", "cifar10", {}, forget, (0,), (), look=look)


def _method(name: str, chosen: Mapping[str, Any], recipe: Recipe) -> Method:
    kinds: dict[str, Callable[..., Method]] = {
        "retrain": partial(Retrain, recipe),
        "finetune": Finetune,
        "duck": Duck,
    }
    return kinds[name](**chosen)


def _estimated(work: Work, shadows: Work, tier: Tier) -> dict[str, Any]:
    """Seconds by step; those of shadow models by their own recipe."""
    items = [*estimate(work, tier).items, *estimate(shadows, tier).items]
    told = {step: [i.seconds for i in items if i.what.startswith(step)] for step in _STEPS}
    place = dict.fromkeys(_STEPS, 0) | {"shadow models": -1}
    return {step: seconds[place[step]] for step, seconds in told.items() if seconds}


def _unlearned(
    original: nn.Module, split: Split, problem: Problem, method: Method, cache: Path
) -> Outcome:
    """Unlearn once; afterwards the weights that were kept."""
    key = [method.name, method.describe(), problem.recipe.describe(),
           digest_tensors(original.state_dict())]  # fmt: skip
    kept = cache / "experiments" / f"{method.name}-{digest_json(key)[:16]}.safetensors"
    outcome = partial(Outcome, original, split=split, task=problem.task, method=method, seed=0)
    if not kept.exists():
        found = unlearn(original, split, method, task=problem.task, seed=0)
        save_tensors(kept, found.after.state_dict(), {"seconds": str(found.seconds)})
    tensors, meta = load_tensors(kept)
    after = problem.recipe.build()
    after.load_state_dict(tensors)
    return outcome(after.eval(), seconds=float(meta["seconds"]))


def _audited(
    outcome: Outcome,
    problem: Problem,
    shadows: Recipe,
    again: Method,
    settings: Mapping[str, Any],
    cache: Path,
) -> dict[str, Any]:
    """Beside references, and shadows that forget by ``again``."""
    seeds = _cell(settings).references(0)
    references = retrain(outcome.split, problem.recipe, task=problem.task, seeds=seeds, cache=cache)
    others = shadow_of(
        outcome, shadows, method=again, count=2 * settings["pairs"], cache=cache, way="loop"
    )
    metrics = suite(outcome.split.targets, problem.recipe.build, settings["tier"])
    evidence = audit(outcome, metrics, references=references, shadows=others)
    verdict = judge(evidence)
    shown = (evidence.measurement(name) for name in _SHOWN)
    return {
        "word": verdict.word,
        "degraded": verdict.degraded,
        "reasons": list(verdict.reasons),
        "seconds": {
            "unlearning": outcome.seconds,
            "references": sum(each.seconds for each in references.members),
            "shadow models": others.seconds / Processes().count,
            "measurements": evidence.provenance.audit_seconds,
        },
        "measured": {m.name: [m.value, m.interval, m.original and m.original.value, list(m.target)]
                     for m in shown},
    }  # fmt: skip


def section(found: Mapping[str, Any], settings: Mapping[str, Any]) -> Section:
    """What audits said, and what they cost."""
    done, told = (
        {name: found[f"{what} {name}"] for name in settings["methods"] if f"{what} {name}" in found}
        for what in ("audit", "estimate")
    )
    text = [
        _READING.format(
            **settings,
            finetune=_tuning(settings["methods"].get("finetune", {})),
            processes=Processes().count,
        )
    ]
    if done:
        text.append(grid(["unlearned by", "verdict", *_SHOWN], [*_verdicts(done)], words=2))
    if told:
        head = ["seconds", *_STEPS, "all"]
        text.append(grid(head, [*_costs(told, done)]))
    return Section(tuple(text), tuple(_asked(done, told)), _drawn(done))


def _tuning(chosen: Mapping[str, Any]) -> str:
    """How long fine-tuning lasts, and whether its rate falls."""
    if not chosen:
        return ""
    how = Finetune(**chosen)
    constant = "" if how.falling else f", and a rate that stays {how.lr:g}"
    return f"Fine-tuning has {how.epochs} epochs{constant}. "


def _verdicts(done: Mapping[str, Any]) -> Iterator[list[str]]:
    for name, one in done.items():
        word = one["word"] + (", degraded" if one["degraded"] else "")
        yield [name, word, *(_shown(one["measured"][which]) for which in _SHOWN)]


def _drawn(done: Mapping[str, Any]) -> str:
    """The sharpest attack on the networks, on the original and on the references."""
    rows = []
    for name, one in done.items():
        value, interval, original, others = one["measured"][_SHARP]
        if value is None:
            continue
        low, high = interval or (value, value)
        rows.append({"of": name, "kind": "unlearned", "value": value, "low": low, "high": high})
        rows += [{"of": name, "kind": "original", "value": original}] if original else []
        rows += [{"of": name, "kind": "references", "value": other} for other in others]
    return beside(rows, f"{_SHARP}: .5 tells nothing") if rows else ""


def _shown(measured: list[Any]) -> str:
    value, interval, original, others = measured
    if value is None:
        return "-"
    spread = "" if interval is None else f", {interval[0]:.3f} to {interval[1]:.3f}"
    before = "" if original is None else f"; original {original:.3f}"
    beside = f"; references {sum(others) / len(others):.3f}" if others else ""
    return f"{value:.3f}{spread}{before}{beside}"


def _costs(told: Mapping[str, Any], done: Mapping[str, Any]) -> Iterator[list[str]]:
    for name, each in told.items():
        yield [f"{name}, as told", *_seconds(each)]
        if name in done:
            yield [f"{name}, in truth", *_seconds(done[name]["seconds"])]


def _seconds(each: Mapping[str, float]) -> list[str]:
    return [*(f"{each[s]:.0f}" if s in each else "-" for s in _STEPS), f"{_all(each):.0f}"]


def _all(each: Mapping[str, float]) -> float:
    return sum(each.values())


def _asked(done: Mapping[str, Any], told: Mapping[str, Any]) -> Iterator[Asked]:
    for name in [name for name in told if name in done]:
        off = _all(told[name]) / _all(done[name]["seconds"]) - 1
        yield Asked(f"an audit of {name} costs what is told before, within 30 %", f"{off:+.0%}",
                    abs(off) <= 0.3)  # fmt: skip
    if "retrain" in done:
        word = done["retrain"]["word"]
        yield Asked("a retrained network is not `residual`", word, word != "residual")


_READING = """\
ResNet-18, {width} wide, {epochs} epochs without augmentation, and a tenth of the pictures leaves.
{references} references; {pairs} pairs of shadow models of {shadow epochs} epochs. {finetune}What is
told before is told by `--dry-run`'s estimate, here of both recipes and on one thread. Seconds
passed on the clock, beside other work; shadow models were made by {processes} processes, and their
seconds are shared out to these.
"""
