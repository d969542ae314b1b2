"""From evidence to a word: the rules of the verdict, and nothing else.

Few measurements decide, and they are named here before anything is measured. ``residual``: the
model differs from retrained ones by more than chance, and not within the declared margin.
``equivalent``: every deciding interval lies inside its margin, the original would have been
caught, and a retrained model would not. ``inconclusive``: anything else; the reasons say what
would have to change. ``degraded`` is said beside the word when usefulness was lost.

An attribute leaves nobody to retrain without. There ``residual`` is what can be read above a floor
that was declared, by the whole interval, and ``equivalent`` what lies below it wholly: see
`expunge.lingering`, whose words are read here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from expunge.algebra.statistics import holm
from expunge.auditing import FEWEST, Evidence, Tier
from expunge.lingering import LEAKS, RETURNS, Remainder
from expunge.metric import Comparison, Measurement

Word = Literal["equivalent", "residual", "inconclusive"]

PRIMARY: dict[str, str] = {
    "samples": "membership AUC, threshold (loss)",
    "classes": "test accuracy, removed classes",
}
"""What decides about a single request, by what it asks for."""

OF_CLASS = "test accuracy, removed class"
"""What decides about each of several classes."""

LIMITS = {
    OF_CLASS: ("; this rests on answers alone, and a class that is only hidden would pass too"),
    "membership AUC, threshold (loss)": (
        "; this rests on one threshold for all samples, and attacks on single samples see more"
    ),
}
"""What a passed measurement cannot show."""

UTILITY = (
    "retain accuracy",
    "test accuracy",
    "test accuracy, kept classes",
    "test loss",
    "test loss, kept classes",
)
"""What must not suffer."""

LEVEL = 0.05
_STRICT_LEVEL = 0.01  # a genuine retrain may be unlucky once in a hundred audits


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the evidence supports, and why."""

    word: Word
    degraded: bool
    reasons: tuple[str, ...]
    tier: Tier


def deciding(evidence: Evidence) -> tuple[str, ...]:
    """The measurements that decide: for every request for samples, every class, every attribute.

    Each decides for itself, so that nothing that stayed hides behind something that left.
    """
    lingering = (f"{what}, {name}" for what, name in _of_attributes(evidence))
    return (*_of_data(evidence), *lingering)


def _of_data(evidence: Evidence) -> tuple[str, ...]:
    targets, ids = evidence.provenance.targets, evidence.request_ids
    classes = sorted({k for target in targets for k in target.get("labels", ())})
    named = [
        PRIMARY["samples"] + (f", request {name}" if len(targets) > 1 else "")
        for target, name in zip(targets, (*ids, *("" for _ in targets)), strict=False)
        if target["kind"] == "samples"
    ]
    alone = len(classes) == 1
    return (
        *named,
        *((PRIMARY["classes"],) if alone else (f"{OF_CLASS} {k}" for k in classes)),
    )


def _of_attributes(evidence: Evidence) -> tuple[tuple[str, str], ...]:
    targets = evidence.provenance.targets
    names = dict.fromkeys(target["name"] for target in targets if target["kind"] == "attribute")
    return tuple((what, name) for name in names for what in (LEAKS, RETURNS))


def judge(evidence: Evidence) -> Verdict:
    """Read the evidence by rules that were fixed beforehand."""
    guarded = [m for m in evidence.measurements if m.name in UTILITY and m.value is not None]
    right = [m for m in guarded if m.goal == "higher"]
    lost = [said for m in guarded if (said := _loss_of_use(m, alone=not right))]
    word, reasons = _word(evidence)
    if not any(m.comparison or m.original for m in guarded):
        reasons = (*reasons, "whether usefulness was kept cannot be told from what was measured")
    return Verdict(word, bool(lost), (*reasons, *lost), evidence.provenance.tier)


def _word(evidence: Evidence) -> tuple[Word, tuple[str, ...]]:
    """Residual first; then all that keeps from an answer; equivalent only where nothing does."""
    primary = [evidence.measurement(name) for name in _of_data(evidence)]
    left = [Remainder.of(evidence, *which) for which in _of_attributes(evidence)]
    caught = (*_caught(primary), *(each.found for each in left if each.found))
    if caught:
        return "residual", caught
    for doubts in (
        [*map(_silence, primary), *(each.silence for each in left)],
        [*map(_false_alarm, primary), *(each.false_alarm for each in left)],
        [*dict.fromkeys(each.unfair for each in left)],
        [*map(_no_power, primary), *(each.no_power for each in left)],
        [*map(_too_wide, primary), *(each.too_wide for each in left)],
    ):
        said = tuple(doubt for doubt in doubts if doubt)
        if said:
            return "inconclusive", said
    equal = tuple(_equal(m, m.comparison) for m in primary if m.comparison)
    return "equivalent", (*equal, *(each.gone for each in left))


def _caught(primary: Sequence[Measurement]) -> tuple[str, ...]:
    """Differences beyond chance and beyond the margin; a silent measurement counts as p = 1."""
    adjusted = holm([m.comparison.p if m.comparison else 1.0 for m in primary])
    return tuple(
        _residual(m, m.comparison, p)
        for m, p in zip(primary, adjusted, strict=True)
        if m.comparison and p < LEVEL and not m.comparison.inside and not _false_alarm(m)
    )


def _silence(m: Measurement) -> str:
    if m.value is None:
        return f"{m.name}: {m.note}"
    if not m.target:
        return (
            f"{m.name} is {m.value:.3f}, but no model was retrained without the forget set, "
            f"so there is nothing to compare with"
        )
    if len(m.target) < FEWEST:
        return (
            f"{m.name} is {m.value:.3f}, but too few models were retrained ({len(m.target)}) to "
            f"show how much retraining varies: retrain at least {FEWEST}"
        )
    if m.comparison is None or m.selftest is None:
        return f"{m.name} is {m.value:.3f}, but {_samples(m.n)} too few to tell chance from memory"
    return ""


def _false_alarm(m: Measurement) -> str:
    """A retrained model that is told from other retrained models: the audit is not fair."""
    test = m.selftest
    if test is None or test.p >= _STRICT_LEVEL or test.inside:
        return ""
    return (
        f"{m.name} tells even a retrained model from the other retrained ones "
        f"({_span(test)}), so it cannot speak about this one"
    )


def _residual(m: Measurement, c: Comparison, p: float) -> str:
    return (
        f"{m.name} is {_apart(c)} the retrained models' ({_span(c)}, {_p(p)} after Holm): "
        f"more than chance explains"
    )


def _no_power(m: Measurement) -> str:
    if m.control is None:
        return f"{m.name} of the original is not known, so its power is not known"
    if m.control.outside:
        return ""
    return (
        f"{m.name} cannot be relied on here: even the original is not clearly outside the margin "
        f"of ±{m.control.margin:g} around the retrained models ({_span(m.control)}), "
        f"so passing it would mean little"
    )


def _too_wide(m: Measurement) -> str:
    c = m.comparison
    if c is None or c.inside:
        return ""
    cause = {
        "samples": f"{_samples(m.n)} too few to show equivalence",
        "models": "the retrained models differ too much among themselves; retrain more of them",
    }[c.limit]
    return (
        f"{m.name} is {_apart(c)} the retrained models', but its interval ({_span(c)}) is not "
        f"inside the margin of ±{c.margin:g}: {cause}"
    )


def _equal(m: Measurement, c: Comparison) -> str:
    return (
        f"{m.name} is {_apart(c)} the retrained models', and its whole interval ({_span(c)}) lies "
        f"inside the margin of ±{c.margin:g}; the original lies outside{_limit(m.name)}"
    )


def _limit(name: str) -> str:
    return next((said for known, said in LIMITS.items() if name.startswith(known)), "")


def _loss_of_use(m: Measurement, *, alone: bool) -> str:
    """A drop that chance does not explain, and that the margin or the references do not cover.

    A loss that stands alone is of a model that is never right or wrong, as a regression is.
    """
    c, sign = m.comparison, -1 if m.goal == "lower" else 1
    if c is None:
        return _loss_since_the_original(m) if alone or m.goal == "higher" else ""
    gain = sorted((sign * c.difference.low, sign * c.difference.high))
    worst = min(sign * score for score in m.target)
    beneath = m.value is not None and sign * m.value < worst - c.margin and gain[1] < 0
    if gain[1] < -c.margin or beneath:
        return f"{m.name} is {_apart(c)} the retrained models' ({_span(c)})"
    return ""


def _loss_since_the_original(m: Measurement) -> str:
    """Without references the original is all there is to compare with."""
    if m.original is None or m.interval is None or m.value is None:
        return ""
    higher = m.goal == "higher"
    if m.interval[1] < m.original.low if higher else m.interval[0] > m.original.high:
        return f"{m.name} is {m.value:.3f}, and the original's is {m.original.value:.3f}"
    return ""


def _samples(n: int) -> str:
    return "one sample is" if n == 1 else f"{n} samples are"


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def _apart(c: Comparison) -> str:
    value = c.difference.value
    return f"{abs(value):.3f} {'above' if value >= 0 else 'below'}"


def _span(c: Comparison) -> str:
    return f"95 % interval {c.difference.low:+.3f} to {c.difference.high:+.3f}"
