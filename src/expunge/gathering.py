"""Gather the models that an audit of a tier compares with: retrained, shadows, repeated.

What cannot be had is no fault of an audit: why it is missing is told instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from expunge.ensembles import References, Shadows
from expunge.errors import ExpungeError, MissingInput
from expunge.evidence import Tier
from expunge.metric import Measurement
from expunge.outcome import Outcome
from expunge.progress import Progress, quiet
from expunge.recipe import Recipe
from expunge.rehearsal import Rehearsal
from expunge.repeating import repeat
from expunge.retraining import retrain
from expunge.shadowing import shadow_of
from expunge.tiers import PAIRS, REFERENCES, REPEATS, RETRAINED, SHARPER


@dataclass(frozen=True, slots=True, eq=False)
class Company:
    """What an outcome is compared with; None where there is none of it."""

    references: References | None = None
    shadows: Shadows | None = None
    repeats: References | None = None
    rehearsal: Rehearsal | None = None
    missing: tuple[Measurement, ...] = ()  # what cannot be measured without the others, and why


@dataclass(frozen=True, slots=True, eq=False)
class Means:
    """What models may be made with: a recipe, as many of them as a tier has, and a cache."""

    recipe: Recipe
    tier: Tier
    seeds: int | Sequence[int] | None = None  # of references; None: as many as the tier has
    cache: str | Path | None = None  # None: nothing is kept

    @property
    def wanted(self) -> int | Sequence[int]:
        """How many references, or which."""
        return REFERENCES[self.tier] if self.seeds is None else self.seeds


def gather(
    outcome: Outcome, means: Means, given: Company, *, progress: Progress = quiet
) -> Company:
    """Make what a tier needs and was not given."""
    if not len(outcome.split.forget):
        return given
    if given.references is None and means.wanted:
        references = retrain(
            outcome.split,
            means.recipe,
            task=outcome.task,
            seeds=means.wanted,
            cache=means.cache,
            progress=progress,
        )
        given = replace(given, references=references)
    if outcome.split.kind != "samples":  # of a class nobody asks which of its samples were known
        return given
    return _repeated(outcome, means, _shadowed(outcome, means, given, progress), progress)


def _shadowed(outcome: Outcome, means: Means, given: Company, progress: Progress) -> Company:
    if given.shadows is not None or not PAIRS[means.tier]:
        return given
    try:
        shadows = _shadows(outcome, means, progress)
    except ExpungeError as why:  # too few samples, say, or a method that fails on other halves
        return replace(given, missing=(*given.missing, Measurement.missing(SHARPER, why.fact)))
    return replace(given, shadows=shadows)


def _shadows(outcome: Outcome, means: Means, progress: Progress) -> Shadows:
    if outcome.method is None:
        raise MissingInput(
            "somebody else unlearned this model, and did not say how, so no shadow model can be "
            "unlearned in the same way"
        )
    return shadow_of(
        outcome,
        means.recipe,
        count=2 * PAIRS[means.tier],
        retrained=RETRAINED[means.tier],
        mirror=means.tier == "strict",
        cache=means.cache,
        progress=progress,
    )


def _repeated(outcome: Outcome, means: Means, given: Company, progress: Progress) -> Company:
    count = REPEATS[means.tier]
    if given.repeats is not None or not count or outcome.method is None:
        return given
    try:
        repeats = repeat(outcome, means.recipe, seeds=count, cache=means.cache, progress=progress)
    except ExpungeError as why:  # a method that fails on another original, say
        told = Measurement.missing("repeated unlearning", why.fact)
        return replace(given, missing=(*given.missing, told))
    return replace(given, repeats=repeats)
