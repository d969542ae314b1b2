"""Networks that were truly retrained, under trial: how often does an audit accuse one of them?

Each trial has six networks of its own that never saw what was removed: one is judged as if somebody
had unlearned it, five are its references. No network takes part in two trials, so that trials hang
together by their data alone, and the binomial test of them is exact.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from disguises import together
from finding import Asked, Section, Stage
from scipy import stats
from table import grid
from torch import nn

from expunge import Classes, Outcome, Request, Samples, audit, judge, split
from expunge.algebra.statistics import clopper_pearson
from expunge.attacks.threshold import Threshold
from expunge.ensembles import Reference, References
from expunge.metrics.accuracy import Accuracy
from expunge.metrics.loss import Loss
from expunge.metrics.membership import Membership
from expunge.metrics.probe import Probe
from expunge.metrics.relearning import Relearning
from expunge.metrics.silenced import Silenced
from expunge.observing import snapshot
from expunge.planting import joined, mislabelled, taken
from expunge.problems.digits import digits
from expunge.problems.problem import Problem
from expunge.seeding import stream
from expunge.splitting import Part, Split

if TYPE_CHECKING:
    from expunge.metric import Metric

CLASS, GONE, REFERENCES = 3, 120, 5
LEVEL = 0.05
_WORDS = ("residual", "equivalent", "inconclusive")


def parts(settings: Mapping[str, Any]) -> list[str]:
    """Trials are held some at a time, and so kept."""
    some = range(settings["trials"] // settings["at once"])
    return [f"{request}, {k}" for request in ("one class", "samples") for k in some]


def measure(part: str, settings: Mapping[str, Any], stage: Stage) -> dict[str, Any]:
    """Train the networks of some trials, and judge."""
    del stage
    request, _, k = part.partition(", ")
    problem = digits(epochs=settings["epochs"])
    parts = _without_class(problem) if request == "one class" else _without_samples(problem)
    metrics: tuple[Metric, ...] = (Membership(Threshold("loss")), Accuracy(), Loss())
    if request == "one class":
        metrics = (Accuracy(), Loss(), Probe(), Silenced(), Relearning(runs=settings["runs"]))
    size = 1 + REFERENCES
    first = stream("alarms", request, int(k)) % 2**30
    seeds = range(first, first + size * settings["at once"])
    models = together(problem.recipe, parts.retain, seeds)
    original = problem.recipe.train(Part.whole(parts.retain.source))
    found = []
    for trial in range(0, len(models), size):
        judged, *others = models[trial : trial + size]
        outcome = Outcome.of(original, judged, parts, task=problem.task)
        references = References(tuple(_references(others, parts, problem)))
        evidence = audit(outcome, metrics, references=references)
        verdict = judge(evidence)
        why = verdict.reasons[0] if verdict.word == "residual" else ""
        told = {"word": verdict.word, "degraded": verdict.degraded, "why": why}
        found.append(told | {"p": {m.name: m.comparison.p for m in evidence.measurements
                                   if m.comparison}})  # fmt: skip
    return {"trials": found}


def _without_class(problem: Problem) -> Split:
    return split(problem.train, Request(Classes((CLASS,)), id="class"), test=problem.test)


def _without_samples(problem: Problem) -> Split:
    """Records under wrong labels, held against others that nobody was trained on."""
    wrong = mislabelled(taken(problem.test, torch.arange(2 * GONE)), seed=0)
    train = joined(problem.train, taken(wrong, torch.arange(GONE)))
    gone = Samples(tuple(range(len(problem.train), len(train))))
    unseen = taken(wrong, torch.arange(GONE, 2 * GONE))
    return split(train, Request(gone, id="wrong"), test=unseen)


def _references(models: Sequence[nn.Module], parts: Split, problem: Problem) -> Iterator[Reference]:
    for seed, model in enumerate(models):
        seen = snapshot(model, parts, problem.task)
        yield Reference(lambda model=model: model, seen, seed, 0.0, "")  # type: ignore[misc]


def section(found: Mapping[str, Any], settings: Mapping[str, Any]) -> Section:
    """How many were accused."""
    body, asked = [], []
    for request, name in (("one class", "a class"), ("samples", "120 samples")):
        trials = [t for part, told in found.items() if part.startswith(request)
                  for t in told["trials"]]  # fmt: skip
        if trials:
            counts = [sum(t["word"] == word for t in trials) for word in _WORDS]
            wrong = stats.binomtest(counts[0], len(trials), LEVEL, alternative="greater")
            share = clopper_pearson(counts[0], len(trials))
            ends, degraded = (
                f"{share.low:.1%} to {share.high:.1%}",
                sum(t["degraded"] for t in trials),
            )
            numbers = [len(trials), *counts, degraded]
            body.append([name, *map(str, numbers), ends, f"{wrong.pvalue:.3f}"])
            asked.append(
                Asked(
                    f"without {name}, no more than one retrained network in twenty is `residual`",
                    f"{counts[0]} of {len(trials)}: {ends}; p = {wrong.pvalue:.3f}",
                    bool(wrong.pvalue > LEVEL),
                )
            )
    text = (_READING.format(**settings), grid(_HEAD, body), *_rejections(found))
    return Section(text, tuple(asked))


def _rejections(found: Mapping[str, Any]) -> Iterator[str]:
    """How often every measurement alone says what is not so; ties make some of them rarer."""
    ps: dict[str, list[float]] = {}
    for told in found.values():
        for trial in told["trials"]:
            for name, p in trial["p"].items():
                ps.setdefault(name, []).append(p)
    body = [
        [name, str(len(each)), str(sum(p < LEVEL for p in each)), f"{sum(each) / len(each):.2f}"]
        for name, each in ps.items()
    ]
    yield _ALONE
    yield grid(["measurement", "trials", "p below .05", "mean p"], body)


_HEAD = (
    "removed",
    "trials",
    "`residual`",
    "`equivalent`",
    "`inconclusive`",
    "degraded",
    "`residual`, exact 95 % interval",
    "p of more than 5 %",
)

_ALONE = """\
What every measurement would have said alone, before several are allowed for (Holm) and before a
difference inside its margin is forgiven:
"""

_READING = """\
Networks of 64-128-128-10 units on 800 digits, {epochs} epochs; every trial takes six networks that
no other trial takes. Of the class, all that decides is measured: accuracy on unseen threes,
relearning ({runs} runs of every network, where an audit takes five), the silenced output and the
probe. The samples wear wrong labels, so that only who was trained on them could know them; the
threshold attack decides.
"""
