"""Evidence that is made by hand, and the verdict on it."""

import pytest

from expunge.algebra.statistics import Interval
from expunge.auditing import Evidence, Provenance
from expunge.judging import judge
from expunge.metric import Comparison, Measurement

LABELS = {"classes": {"labels": [2]}, "attribute": {"name": "sex"}}
ENDS = {  # of an interval of differences, and how likely they are by chance
    "same": (-0.01, 0.01, 0.9),
    "far": (0.2, 0.4, 1e-9),
    "below": (-0.4, -0.2, 1e-9),
    "wide": (-0.2, 0.2, 0.8),
}


def compared(ends, margin=0.05, limit="samples"):
    if ends is None:
        return None
    low, high, p = ENDS.get(ends, ends)
    return Comparison(Interval((low + high) / 2, low, high), p, margin, limit)


def _measured(
    name, after="same", *, control="far", selftest="same", goal="match", n=40, limit="samples"
):
    target = () if after is None else (0.5, 0.51, 0.52)
    return Measurement(
        name,
        0.53,
        goal,
        (0.5, 0.56),
        n=n,
        target=target,
        comparison=compared(after, limit=limit),
        control=compared(control),
        selftest=compared(selftest),
    )


LEFT = {  # of an attribute: where its bits lie
    "nothing": (-0.02, 0.008),
    "little": (-0.005, 0.03),
    "much": (0.02, 0.3),
}


def _lingering(
    leaks="nothing",
    returns="nothing",
    *,
    original=(0.1, 0.4),
    attacked=(0.5, 0.8),
    chance="nothing",
    stays=0.0,
):
    """What decides about an attribute, and what chance makes of it."""

    def one(name, ends, floor=None, then=None):
        (low, high), n = LEFT[ends], 90
        before = None if then is None else Interval(sum(then) / 2, *then)
        value = (low + high) / 2
        return Measurement(name, value, "lower", (low, high), n=n, original=before, floor=floor)

    return (
        one("conditional leakage (bits), sex", leaks, 0.01, original),
        one("re-attack above an untrained model (bits), sex", returns, 0.01, attacked),
        one("re-attack (bits), sex", "much", None, (0.5, 0.8)),  # alone it says nothing
        one("reference line: a permuted attribute (bits), sex", chance),
        Measurement("layers that say what they said (share), sex", stays, "lower", n=4),
    )


def _made_by(kinds, tier="standard"):
    return Provenance(
        kind=kinds[0] if len(kinds) == 1 else "mixed",
        targets=tuple({"kind": kind, **LABELS.get(kind, {})} for kind in kinds),
        counts={"forget": 40},
        tier=tier,
        method="neggrad",
        settings={},
        seed=0,
        seconds=1.0,
        notes=(),
        traces={},
        digests={},
        reference_seeds=(0, 1, 2),
        versions={},
        machine="a machine",
        audit_seconds=1.0,
    )


def _judged(*measurements, kinds=("samples",), tier="standard", useful=True):
    names = tuple(f"r{place}" for place, _ in enumerate(kinds, start=1))
    kept = (_measured("retain accuracy", goal="higher"),) if useful else ()
    return judge(Evidence(names, (*measurements, *kept), _made_by(kinds, tier)))


def _said(verdict):
    return "\n".join(verdict.reasons)


@pytest.fixture(scope="session")
def measured():
    """A measurement; ends are given by name, or as low, high and p."""
    return _measured


@pytest.fixture(scope="session")
def lingering():
    """What is left of an attribute, in the features and after an attack; ends by name."""
    return _lingering


@pytest.fixture(scope="session")
def made_by():
    """Who made the evidence, for requests of these kinds."""
    return _made_by


@pytest.fixture(scope="session")
def judged():
    """The verdict on measurements, and on usefulness that was kept."""
    return _judged


@pytest.fixture(scope="session")
def said():
    """All reasons of a verdict, as one text."""
    return _said
