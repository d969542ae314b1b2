"""From evidence to a word: the rules of the verdict, and nothing else.

Few measurements decide, and they are named here before anything is measured. ``residual``: the
model differs from retrained ones by more than chance, and not within the declared margin.
``equivalent``: every deciding interval lies inside its margin, the original would have been
caught, and a retrained model would not. ``inconclusive``: anything else; the reasons say what
would have to change. ``degraded`` is said beside the word when usefulness was lost.

Some of what must be known can be known in more than one way: whether a class lies behind the
answers still, by relearning, by the output that is never the best any more, or by a probe. One that
would have caught the original is needed, and every one that would have must pass. One that would
not have, or that was not taken, neither passes nor fails anything, and the reasons say so.

An attribute leaves nobody to retrain without. There ``residual`` is what can be read above a floor
that was declared, by the whole interval, and ``equivalent`` what lies below it wholly: see
`expunge.lingering`, whose words are read here.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from expunge import reasoning as say
from expunge.algebra.statistics import holm
from expunge.auditing import Evidence, Tier
from expunge.lingering import LEAKS, RETURNS, Remainder
from expunge.metric import Measurement
from expunge.tiers import SHARPER

Word = Literal["equivalent", "residual", "inconclusive"]

PRIMARY: dict[str, str] = {
    "samples": "membership AUC, threshold (loss)",
    "classes": "test accuracy, removed classes",
}
"""What decides about a single request first, by what it asks for."""

# SHARPER decides about samples too, where shadow models were made for it.

BEHIND = (
    "relearning steps, removed classes",
    "silenced answer (log odds), removed classes",
    "class-probe AUC",
)
"""What decides about classes too: a class that is only hidden passes on answers alone."""

REHEARSAL = "rehearsal p"
"""What can accuse a whole pipeline, where it was rehearsed; it acquits nobody."""

BLIND = "blind baseline AUC"
"""What tells forgotten samples from unseen ones without any model."""

ON_TEST = ("test accuracy", "test accuracy, kept classes")
"""What a model that was trained on the test set is too good at."""

UTILITY = (
    "retain accuracy",
    "test accuracy",
    "test accuracy, kept classes",
    "test loss",
    "test loss, kept classes",
)
"""What must not suffer."""

LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the evidence supports, and why."""

    word: Word
    degraded: bool
    reasons: tuple[str, ...]
    tier: Tier


@dataclass(frozen=True, slots=True)
class _Question:
    """What must be known, and the measurements that can tell; any with power serves."""

    asked: tuple[Measurement, ...]
    blind: Measurement

    def doubts(self, why: Callable[[Measurement], str]) -> list[str]:
        """What is said of each, where it is said of any."""
        return [said for m in self.asked if (said := why(m))]

    def confounded(self, m: Measurement) -> str:
        """Why a membership attack does not decide, if it does not."""
        return say.confounded(m, self.blind) if m.name.startswith("membership") else ""

    @property
    def usable(self) -> list[Measurement]:
        """What was compared with retrained models, and with nothing else besides."""
        return [m for m in self.asked if not say.silence(m) and not self.confounded(m)]

    @property
    def telling(self) -> list[Measurement]:
        """What would have caught the original."""
        return [m for m in self.usable if not say.no_power(m)]

    @property
    def silence(self) -> list[str]:
        """Why nothing can be told, if nothing can."""
        if self.usable:
            return []
        doubts = self.doubts(lambda m: say.silence(m) or self.confounded(m))
        return [*doubts, *([say.needed(self.asked)] if len(self.asked) > 1 else [])]

    @property
    def no_power(self) -> list[str]:
        """Why passing would mean little, if it would."""
        return [] if self.telling else [say.no_power(m) for m in self.usable]

    @property
    def answers(self) -> list[str]:
        """Why nothing is left, and what had no part in saying so."""
        equal = [say.equal(m, m.comparison) for m in self.telling if m.comparison]
        aside = [m for m in self.asked if m not in self.telling]
        words = (say.silence(m) or self.confounded(m) or say.no_power(m) for m in aside)
        no_part = [f"this had no part in it: {word}" for word in words]
        attacks = [m for m in self.telling if m.name.startswith("membership")]
        sharper = any(m.name.startswith(SHARPER) for m in self.asked)
        unasked = [] if sharper else [say.unasked(m, SHARPER) for m in attacks]
        unsure = filter(None, (say.unsure(m, self.blind) for m in attacks))
        return [*equal, *unasked, *no_part, *unsure]


def deciding(evidence: Evidence) -> tuple[str, ...]:
    """The measurements that decide: for every request for samples, every class, every attribute.

    Each decides for itself, so that nothing that stayed hides behind something that left.
    """
    lingering = (f"{what}, {name}" for what, name in _of_attributes(evidence))
    rehearsed = [REHEARSAL] if _has(evidence, REHEARSAL) else []
    of_data = dict.fromkeys(name for names in _of_data(evidence) for name in names)
    return (*of_data, *rehearsed, *lingering)


def _of_data(evidence: Evidence) -> Iterator[tuple[str, ...]]:
    """For every question about samples and classes, the names of what can answer it."""
    targets, ids = evidence.provenance.targets, evidence.request_ids
    for target, name in zip(targets, (*ids, *("" for _ in targets)), strict=False):
        if target["kind"] == "samples":
            whose = f", request {name}" if len(targets) > 1 else ""
            sharper = [n for n in (f"{SHARPER}{whose}", SHARPER) if _has(evidence, n)]
            yield (PRIMARY["samples"] + whose, *sharper[:1])
    classes = sorted({k for target in targets for k in target.get("labels", ())})
    for label in classes:
        for names in ((PRIMARY["classes"],), BEHIND):  # the probe tells all that left at once
            alone = len(classes) == 1
            yield names if alone else tuple(n.replace("classes", f"class {label}") for n in names)


def _of_attributes(evidence: Evidence) -> tuple[tuple[str, str], ...]:
    targets = evidence.provenance.targets
    names = dict.fromkeys(target["name"] for target in targets if target["kind"] == "attribute")
    return tuple((what, name) for name in names for what in (LEAKS, RETURNS))


def _has(evidence: Evidence, name: str) -> bool:
    return any(m.name == name for m in evidence.measurements)


def judge(evidence: Evidence) -> Verdict:
    """Read the evidence by rules that were fixed beforehand."""
    guarded = [m for m in evidence.measurements if m.name in UTILITY and m.value is not None]
    right = [m for m in guarded if m.goal == "higher"]
    lost = [said for m in guarded if (said := say.loss_of_use(m, alone=not right))]
    word, reasons = _word(evidence)
    if not any(m.comparison or m.original for m in guarded):
        reasons = (*reasons, "whether usefulness was kept cannot be told from what was measured")
    return Verdict(word, bool(lost), (*reasons, *lost), evidence.provenance.tier)


def _word(evidence: Evidence) -> tuple[Word, tuple[str, ...]]:
    """Residual first; then all that keeps from an answer; equivalent only where nothing does."""
    questions = [_question(evidence, names) for names in _of_data(evidence)]
    left = [Remainder.of(evidence, *which) for which in _of_attributes(evidence)]
    if not questions and not left:
        return "inconclusive", ("the evidence names nothing that was to be forgotten",)
    rehearsal = evidence.measurement(REHEARSAL)
    odd = tuple(dict.fromkeys((*_odd(questions, evidence), *_too_good(evidence))))
    alike = say.alike(evidence.provenance.digests)
    found = () if alike else _caught(questions, rehearsal)
    caught = (*found, *(each.found for each in left if each.found))
    if caught:
        return "residual", (*caught, *odd)
    for doubts in (
        [[alike]],
        [*(q.silence for q in questions), [each.silence for each in left]],
        [odd],
        [*(q.doubts(say.false_alarm) for q in questions), [each.false_alarm for each in left]],
        [[each.unfair for each in left]],
        [*(q.no_power for q in questions), [each.no_power for each in left]],
        [*_too_wide(questions), [each.too_wide for each in left]],
    ):
        said = tuple(dict.fromkeys(doubt for some in doubts for doubt in some if doubt))
        if said:
            return "inconclusive", (*said, *(each.known for each in left if each.known))
    answers = dict.fromkeys(answer for q in questions for answer in q.answers)
    rehearsed = say.rehearsed(rehearsal)
    return "equivalent", (*answers, *rehearsed, *(each.gone for each in left))


def _question(evidence: Evidence, names: Sequence[str]) -> _Question:
    whose = names[0].partition(", request ")[1:]
    own, pooled = (evidence.measurement(name) for name in (BLIND + "".join(whose), BLIND))
    blind = pooled if own.value is None else own
    return _Question(tuple(evidence.measurement(name) for name in names), blind)


def _caught(questions: Sequence[_Question], rehearsal: Measurement) -> tuple[str, ...]:
    """Differences beyond chance and beyond the margin; a silent measurement counts as p = 1."""
    sound = {
        m.name: not q.confounded(m) and not say.false_alarm(m) for q in questions for m in q.asked
    }
    asked = {m.name: m for q in questions for m in q.asked}
    if rehearsal.comparison:
        asked[REHEARSAL], sound[REHEARSAL] = rehearsal, True
    heard = [m.comparison if sound[name] else None for name, m in asked.items()]
    adjusted = holm([c.p if c else 1.0 for c in heard])
    return tuple(
        say.residual(m, c, p) if m.target else say.accused(m, p)
        for m, c, p in zip(asked.values(), heard, adjusted, strict=True)
        if c and p < LEVEL and not c.inside
    )


def _odd(questions: Sequence[_Question], evidence: Evidence) -> Iterator[str]:
    """References that were trained on what they never saw, by how they answer."""
    seeds = evidence.provenance.reference_seeds
    for question in questions:
        yield from question.doubts(lambda m: say.trained_on_it(m, seeds))


def _too_good(evidence: Evidence) -> Iterator[str]:
    """Signs that the model saw what it is judged by."""
    said = (say.trained_on_test(evidence.measurement(name)) for name in ON_TEST)
    yield from filter(None, said)


def _too_wide(questions: Sequence[_Question]) -> Iterator[list[str]]:
    yield from ([say.too_wide(m) for m in q.telling] for q in questions)
