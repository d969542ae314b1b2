"""What is said of a deciding measurement: why it counts, and why it does not.

Every function here reads one measurement that was compared with retrained models and says one
sentence, or nothing where the sentence does not apply. Which of them matter, and in which order,
is for `expunge.judging` alone.
"""

from collections.abc import Mapping, Sequence

from scipy import stats

from expunge.evidence import FEWEST
from expunge.metric import Comparison, Measurement

_REFERENCE = "reference "  # what digests of retrained models are called, with their seed

STRICT_LEVEL = 0.01  # a genuine retrain may be unlucky once in a hundred audits

_TOO_GOOD = 0.05  # accuracy above every retrained model's

LIMITS = {
    "membership AUC, ulira": "; with more shadow models more may be seen",
    "test accuracy": "",
    "relearning": "; with more images or steps more may come back",
    "silenced": "; what ranks nobody may be taught to again",
    "class-probe": "; another probe, or another layer, may tell more",
}
"""What a passed measurement cannot show."""


def silence(m: Measurement) -> str:
    """Nobody knows, or nobody knows enough."""
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


def alike(digests: Mapping[str, str]) -> str:
    """References that are one model: they show nothing of how retraining varies."""
    seeds = dict[str, list[str]]()
    for name, digest in digests.items():
        if digest and name.startswith(_REFERENCE):
            seeds.setdefault(digest, []).append(name.removeprefix(_REFERENCE))
    same = next((each for each in seeds.values() if len(each) > 1), None)
    if same is None:
        return ""
    return (
        f"references {', '.join(same)} are one model, so they do not show how much retraining "
        f"varies: does the recipe set its own seed? Let it draw from torch's generator"
    )


def needed(asked: Sequence[Measurement]) -> str:
    """What is missed where none of several measurements can tell."""
    names = " or ".join(m.name for m in asked)
    hidden = any(m.name.startswith("class-probe") for m in asked)
    why = ": a class that is only hidden passes on its answers alone" if hidden else ""
    return f"at least one of these is needed, {names}{why}"


def false_alarm(m: Measurement) -> str:
    """A retrained model that is told from other retrained models: the audit is not fair."""
    test = m.selftest
    if test is None or test.p >= STRICT_LEVEL or test.inside:
        return ""
    return (
        f"{m.name} tells even a retrained model from the other retrained ones "
        f"({_span(test)}), so it cannot speak about this one"
    )


def confounded(m: Measurement, blind: Measurement) -> str:
    """Forgotten and unseen samples that differ without any model having seen them."""
    if blind.interval is None or blind.interval[0] <= 0.5 <= blind.interval[1]:
        return ""
    low, high = blind.interval
    return (
        f"{m.name} is confounded and does not decide: the forgotten samples differ from the "
        f"unseen ones without any model (blind baseline AUC {blind.value or 0.0:.3f}, 95 % "
        f"interval {low:.3f} to {high:.3f}); compare them with unseen samples of the same source"
    )


def unasked(m: Measurement, sharper: str) -> str:
    """That nobody made what the attack on single samples needs."""
    return (
        f"{m.name} stands alone, and rests on one threshold for all samples: there were no shadow "
        f"models for {sharper}, which attacks each by itself, and has caught a model that passed "
        f"the threshold"
    )


def unsure(m: Measurement, blind: Measurement) -> str:
    """That nobody knows whether forgotten and unseen samples differ without any model."""
    if blind.interval is not None:
        return ""
    lack = "was not measured" if blind.value is None else "has no interval"
    why = f" ({blind.note})" if blind.note else ""
    return (
        f"whether {m.name} is confounded is not known: {blind.name} {lack}{why}, so the "
        f"forgotten samples may differ from the unseen ones without any model"
    )


def trained_on_it(m: Measurement, seeds: Sequence[int]) -> str:
    """A reference that knows the forgotten samples as the original does."""
    places = [place for place in range(len(m.target)) if _lies_with_the_original(m, place)]
    if not places:
        return ""
    who = ", ".join(str(seeds[place]) if place < len(seeds) else f"no. {place}" for place in places)
    scores = ", ".join(f"{m.target[place]:.3f}" for place in places)
    several = len(places) > 1
    return (
        f"reference{'s' if several else ''} {who} {'score' if several else 'scores'} {scores} in "
        f"{m.name}, with the original and not with the other references: trained on the forget "
        f"set? Make references with retrain(outcome.split, ...)"
    )


def trained_on_test(m: Measurement) -> str:
    """A model that answers unseen samples better than its original and all others."""
    if m.value is None or m.interval is None or m.original is None or len(m.target) < FEWEST:
        return ""
    if m.value <= max(m.target) + _TOO_GOOD or m.interval[0] <= m.original.high:
        return ""
    return (
        f"{m.name} is {m.value:.3f}, far above the original's {m.original.value:.3f} and every "
        f"retrained model's ({max(m.target):.3f} at most): was it trained on the test set?"
    )


def residual(m: Measurement, c: Comparison, p: float) -> str:
    """A difference that chance does not explain."""
    return (
        f"{m.name} is {apart(c)} the retrained models' ({_span(c)}, {_p(p)} after Holm): "
        f"more than chance explains"
    )


def accused(m: Measurement, p: float) -> str:
    """A pipeline whose forgotten canaries can be told from those it never saw."""
    c = m.comparison
    right = "" if c is None else f" ({0.5 + c.difference.value:.0%} of the guesses were right)"
    return (
        f"{m.name}: in a rehearsal of the whole pipeline, canaries that were trained on and "
        f"forgotten are told from those that never were{right}, {_p(p)} after Holm"
    )


def rehearsed(m: Measurement) -> tuple[str, ...]:
    """What a rehearsal that accused nobody is worth; nothing where there was none."""
    if m.value is None or m.comparison is None:
        return ()
    if m.control is None or m.control.p >= STRICT_LEVEL:
        return (
            f"{m.name} says nothing: canaries that nobody forgot are not told from unseen ones",
        )
    return (f"{m.name} accuses nobody ({_p(m.value)}); by itself that would acquit nobody",)


def no_power(m: Measurement) -> str:
    """An original that passes too, or nearly."""
    if m.control is None:
        return f"{m.name} of the original is not known, so its power is not known"
    if m.control.outside:
        return ""
    return (
        f"{m.name} cannot be relied on here: even the original is not clearly outside the margin "
        f"of ±{m.control.margin:g} around the retrained models ({_span(m.control)}), "
        f"so passing it would mean little{_known_to_all(m)}"
    )


def too_wide(m: Measurement) -> str:
    """An interval that reaches over the margin."""
    c = m.comparison
    if c is None or c.inside:
        return ""
    cause = {
        "samples": f"{_samples(m.n)} too few to show equivalence",
        "models": "the retrained models differ too much among themselves; retrain more of them",
    }[c.limit]
    return (
        f"{m.name} is {apart(c)} the retrained models', but its interval ({_span(c)}) is not "
        f"inside the margin of ±{c.margin:g}: {cause}"
    )


def equal(m: Measurement, c: Comparison) -> str:
    """A difference that does not matter, where the original's does."""
    limit = next((said for known, said in LIMITS.items() if m.name.startswith(known)), "")
    return (
        f"{m.name} is {apart(c)} the retrained models', and its whole interval ({_span(c)}) lies "
        f"inside the margin of ±{c.margin:g}; the original lies outside{limit}{_known_to_all(m)}"
    )


def loss_of_use(m: Measurement, *, alone: bool) -> str:
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
        return f"{m.name} is {apart(c)} the retrained models' ({_span(c)})"
    return ""


def apart(c: Comparison) -> str:
    """How far, and on which side."""
    value = c.difference.value
    return f"{abs(value):.3f} {'above' if value >= 0 else 'below'}"


def _loss_since_the_original(m: Measurement) -> str:
    """Without references the original is all there is to compare with."""
    if m.original is None or m.interval is None or m.value is None:
        return ""
    higher = m.goal == "higher"
    if m.interval[1] < m.original.low if higher else m.interval[0] > m.original.high:
        return f"{m.name} is {m.value:.3f}, and the original's is {m.original.value:.3f}"
    return ""


def _lies_with_the_original(m: Measurement, place: int) -> bool:
    """Whether one reference stands out towards the original, by more than chance would place it."""
    rest = [score for at, score in enumerate(m.target) if at != place]
    if m.original is None or m.comparison is None or len(rest) < FEWEST - 1:
        return False
    middle = sum(rest) / len(rest)
    towards = 1 if m.original.value > middle else -1
    apart = towards * (m.target[place] - middle)
    spread = (sum((x - middle) ** 2 for x in rest) / (len(rest) - 1)) ** 0.5
    usual = float(stats.t.ppf(1 - STRICT_LEVEL, len(rest) - 1)) * spread
    expected = usual * (1 + 1 / len(rest)) ** 0.5 if len(rest) >= FEWEST else 0.0  # of two: nothing
    least = max(2 * m.comparison.margin, 2 * _reach(m), expected)  # of several models and questions
    return apart > max(least, abs(m.original.value - m.target[place]))


def _known_to_all(m: Measurement) -> str:
    """References that recognise the forget set themselves."""
    if not m.name.startswith("membership AUC") or min(m.target) - _reach(m) <= 0.5:
        return ""
    return (
        f". Every reference recognises the forgotten samples too (at least {min(m.target):.3f}): "
        f"were they trained without them?"
    )


def _reach(m: Measurement) -> float:
    """Half an interval of such a number on these samples: the widest that is known."""
    spans = [m.interval, None if m.original is None else (m.original.low, m.original.high)]
    return max((high - low) / 2 for low, high in (span or (0.0, 1.0) for span in spans))


def _samples(n: int) -> str:
    return "one sample is" if n == 1 else f"{n} samples are"


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def _span(c: Comparison) -> str:
    return f"95 % interval {c.difference.low:+.3f} to {c.difference.high:+.3f}"
