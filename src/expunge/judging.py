"""From evidence to a word: the rules of the verdict, and nothing else.

Few measurements decide, and they are named here before anything is measured. ``residual``: the
model differs from retrained ones by more than chance, and not within the declared margin.
``equivalent``: every deciding interval lies inside its margin, the original would have been
caught, and a retrained model would not. ``inconclusive``: anything else; the reasons say what
would have to change. ``degraded`` is said beside the word when usefulness was lost.
"""

from dataclasses import dataclass
from typing import Literal

from expunge.algebra.statistics import holm
from expunge.auditing import Evidence, Tier
from expunge.metric import Comparison, Measurement

Word = Literal["equivalent", "residual", "inconclusive"]

PRIMARY: dict[str, tuple[str, ...]] = {
    "samples": ("membership AUC, threshold (loss)",),
    "classes": ("test accuracy, removed classes",),
    "mixed": ("membership AUC, threshold (loss)", "test accuracy, removed classes"),
    "attribute": (),
}
"""What decides, by what was asked for."""

LIMITS = {
    "test accuracy, removed classes": (
        "; this rests on answers alone, and a class that is only hidden would pass too"
    ),
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


def judge(evidence: Evidence) -> Verdict:
    """Read the evidence by rules that were fixed beforehand."""
    lost = [said for m in evidence.measurements if (said := _loss_of_use(m))]
    word, reasons = _word(evidence)
    return Verdict(word, bool(lost), (*reasons, *lost), evidence.provenance.tier)


def _word(evidence: Evidence) -> tuple[Word, tuple[str, ...]]:
    kind = evidence.provenance.kind
    primary = [evidence.measurement(name) for name in PRIMARY[kind]]
    if not primary:
        return "inconclusive", (f"nothing was measured that decides about an {kind} request",)
    silent = [_silence(m) for m in primary if m.comparison is None]
    if silent:
        return "inconclusive", tuple(silent)
    unfair = [said for m in primary if (said := _false_alarm(m))]
    if unfair:
        return "inconclusive", tuple(unfair)
    return _compared(primary)


def _compared(primary: list[Measurement]) -> tuple[Word, tuple[str, ...]]:
    found = [m.comparison for m in primary if m.comparison is not None]
    adjusted = holm([c.p for c in found])
    caught = [
        _residual(m, c, p)
        for m, c, p in zip(primary, found, adjusted, strict=True)
        if p < LEVEL and not c.inside
    ]
    if caught:
        return "residual", tuple(caught)
    weak = [_no_power(m) for m in primary if m.control is None or not m.control.outside]
    if weak:
        return "inconclusive", tuple(weak)
    wide = [_too_wide(m, c) for m, c in zip(primary, found, strict=True) if not c.inside]
    if wide:
        return "inconclusive", tuple(wide)
    return "equivalent", tuple(_equal(m, c) for m, c in zip(primary, found, strict=True))


def _silence(m: Measurement) -> str:
    if m.value is None:
        return f"{m.name}: {m.note}"
    if not m.target:
        return (
            f"{m.name} is {m.value:.3f}, but no model was retrained without the forget set, "
            f"so there is nothing to compare with"
        )
    return f"{m.name} is {m.value:.3f}, but {_samples(m.n)} too few to tell chance from memory"


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
    return (
        f"{m.name} cannot be relied on here: even the original is not clearly outside the margin "
        f"of ±{m.control.margin:g} around the retrained models ({_span(m.control)}), "
        f"so passing it would mean little"
    )


def _too_wide(m: Measurement, c: Comparison) -> str:
    return (
        f"{m.name} is {_apart(c)} the retrained models', but its interval ({_span(c)}) is not "
        f"inside the margin of ±{c.margin:g}: {_samples(m.n)} too few to show equivalence"
    )


def _equal(m: Measurement, c: Comparison) -> str:
    return (
        f"{m.name} is {_apart(c)} the retrained models', and its whole interval ({_span(c)}) lies "
        f"inside the margin of ±{c.margin:g}; the original lies outside{LIMITS.get(m.name, '')}"
    )


def _loss_of_use(m: Measurement) -> str:
    """A drop that chance does not explain and the margin does not cover."""
    if m.name not in UTILITY or m.comparison is None:
        return ""
    c = m.comparison
    worse = c.difference.low > c.margin if m.goal == "lower" else c.difference.high < -c.margin
    return f"{m.name} is {_apart(c)} the retrained models' ({_span(c)})" if worse else ""


def _samples(n: int) -> str:
    return "one sample is" if n == 1 else f"{n} samples are"


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def _apart(c: Comparison) -> str:
    value = c.difference.value
    return f"{abs(value):.3f} {'above' if value >= 0 else 'below'}"


def _span(c: Comparison) -> str:
    return f"95 % interval {c.difference.low:+.3f} to {c.difference.high:+.3f}"
