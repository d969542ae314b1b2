"""Evidence made by hand, small and with sizes that differ pairwise."""

from dataclasses import replace
from functools import cache

import pytest

from expunge.algebra.statistics import Interval
from expunge.auditing import Evidence, Provenance
from expunge.judging import judge
from expunge.metric import Comparison, Exhibit, Measurement
from expunge.reporting import render

TARGETS = {
    "classes": ({"kind": "classes", "labels": [3]},),
    "samples": ({"kind": "samples", "count": 11, "digest": "d" * 64},),
    "attribute": ({"kind": "attribute", "name": "glasses"},),
    "mixed": (
        {"kind": "classes", "labels": [3, 5]},
        {"kind": "samples", "count": 1, "digest": "d" * 64},
    ),
}


def compared(value=0.02, half=0.01, margin=0.05, p=0.3):
    return Comparison(Interval(value, value - half, value + half), p, margin)


def curve():
    columns = {
        "fpr": [0.0, 0.5, 1.0] * 3,
        "tpr": [0.0, 0.7, 1.0] * 3,
        "model": ["original"] * 3 + ["unlearned"] * 3 + ["retrained"] * 3,
    }
    title = "How well the attack tells forgotten samples from unseen ones"
    return Exhibit("curve", title, columns, x="fpr", y="tpr", by="model")


def bars(classes=4):
    models = ("original", "unlearned", "retrained")
    rows = [(str(k), 0.5 + 0.1 * i, name) for k in range(classes) for i, name in enumerate(models)]
    labels, values, names = zip(*rows, strict=True)
    columns = {"class": labels, "accuracy": values, "model": names}
    return Exhibit("bars", "Test accuracy by class", columns, x="class", y="accuracy", by="model")


def panels():
    rows = [
        (edge, share, samples, model)
        for model in ("original", "unlearned")
        for samples in ("forgotten", "unseen")
        for edge, share in (("0.01", 0.25), ("0.1", 0.75))
    ]
    loss, share, samples, model = zip(*rows, strict=True)
    columns = {"loss": loss, "share": share, "samples": samples, "model": model}
    return Exhibit("bars", "Losses", columns, x="loss", y="share", by="samples")


def table():
    return Exhibit("table", "What is left", {"layer": ["body", None], "cosine": [0.25, 0.5]})


def matrix():
    columns = {
        "from": ["a", "a", "b", "b"],
        "to": ["a", "b", "a", "b"],
        "share": [1, 0, 0.25, 0.75],
    }
    return Exhibit("matrix", "Where answers went", columns, x="from", y="to")


def points():
    columns = {
        "size": [1.0, 2.0, None],
        "score": [0.3, 0.2, 0.1],
        "layer": ["body", "body", "head"],
    }
    return Exhibit("points", "Sizes", columns, x="size", y="score", by="layer")


def layers(places):
    """Bits at some places before and after, with their intervals."""
    rows = [
        (place, bits, bits - 0.1, bits + 0.2, model)
        for model, bits in (("original", 0.6), ("unlearned", 0.05))
        for place in places
    ]
    x = "place" if isinstance(places[0], str) else "labels"
    names = (x, "bits", "from", "to", "model")
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    return Exhibit("curve", "Layer by layer", columns, x=x, y="bits", by="model")


def lingering(left=0.02, half=0.03, use=0.9):
    """What is measured about the attribute of a request, and usefulness."""

    def interval(value):
        return (value - half, value + half)

    leaks, returns = (
        Measurement(
            f"{name} (bits), glasses", value, "lower", interval(value), n=17,
            original=Interval(0.5, 0.4, 0.6), floor=floor,
        )
        for name, value, floor in (
            ("conditional leakage", left, 0.01),
            ("re-attack above an untrained model", left / 2, 0.05),
        )
    )  # fmt: skip
    useful = Measurement(
        "test accuracy", use, "higher", interval(use), n=29, original=Interval(0.91, 0.8, 0.95)
    )
    chance = Measurement(
        "reference line: a permuted attribute (bits), glasses", 0.0, interval=(-0.02, 0.008), n=17
    )
    return (replace(leaks, exhibit=layers(("0", "the logits"))), returns, chance, useful)


def provenance(kind="classes", seeds=(0, 1, 2)):
    return Provenance(
        kind=kind,
        targets=TARGETS[kind],
        counts={"forget": 11, "retain": 53, "test": 29},
        tier="standard",
        method="Finetune",
        settings={"epochs": 2, "lr": 0.01, "layers": ["body", "head"]},
        seed=7,
        seconds=1.25,
        notes=("the last layer was left alone",),
        traces={"loss": [(step, 1 / step) for step in range(1, 9)]},
        digests={"original": "a" * 64, "unlearned": "b" * 64},
        reference_seeds=seeds,
        versions={"expunge": "0.1.0", "python": "3.11"},
        machine="x86_64, 2 threads, cpu",
        audit_seconds=0.4,
    )


def measured(*, references):
    found = [
        Measurement(
            "membership AUC, threshold (loss)", 0.512, interval=(0.43, 0.59), n=11,
            original=Interval(0.81, 0.7, 0.9), target=(0.49, 0.5, 0.52), comparison=compared(),
            control=compared(0.31), selftest=compared(0.0), note="11 members", exhibit=curve(),
        ),
        Measurement(
            "test accuracy, removed classes", 0.04, interval=(0.0, 0.1), n=13,
            original=Interval(0.9, 0.8, 0.95), target=(0.0, 0.0, 0.0), comparison=compared(),
            control=compared(0.9), selftest=compared(0.0),
        ),
        Measurement(
            "test accuracy", 0.8, "higher", (0.7, 0.9), n=29, original=Interval(0.97, 0.9, 1.0),
            target=(0.96, 0.97, 0.95), comparison=compared(-0.16, 0.05, 0.01, 1e-4), exhibit=bars(),
        ),
        Measurement("forget loss", 1.5, exhibit=panels(), n=11),
        Measurement("seconds to unlearn", 1.25, "lower", n=1),
        Measurement.missing("accuracy gap", "no reference model was given"),
    ]  # fmt: skip
    if references:
        return tuple(found)
    bare = {"target": (), "comparison": None, "control": None, "selftest": None}
    return tuple(replace(m, **bare) for m in found)


def made(kind="classes", *, references=True):
    seeds = (0, 1, 2) if references else ()
    return Evidence(("23a4cd85c876",), measured(references=references), provenance(kind, seeds))


@pytest.fixture
def evidence():
    return made()


@pytest.fixture
def make():
    return made


@pytest.fixture
def attempt():
    """Evidence about an attribute, by a method with one setting."""

    def made_by(method, weight, **given):
        seen = replace(provenance("attribute", ()), method=method, settings={"weight": weight})
        return Evidence(("23a4cd85c876",), lingering(**given), seen)

    return made_by


@pytest.fixture(scope="session")
def usual():
    """The page of a kind of request, rendered once for all tests."""

    @cache
    def rendered(kind="classes", *, references=True):
        evidence = made(kind, references=references)
        return render(evidence, judge(evidence)).html

    return rendered


@pytest.fixture
def exhibits():
    return {
        "curve": curve(), "bars": bars(), "many bars": bars(40), "panels": panels(),
        "table": table(), "matrix": matrix(), "points": points(),
        "layers": layers(("0", "the logits")), "labels": layers((16, 64)),
    }  # fmt: skip
