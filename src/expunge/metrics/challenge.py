"""The NeurIPS 2023 unlearning challenge's score, from many unlearned and many retrained models.

Triantafillou and others, Are We Making Progress in Unlearning?, 2024. Every forgotten sample gets
an ε, by the rule of one or two thresholds that best tells unlearned models from retrained ones by
its margin, and points for a small one. The score is the mean of points, times what is kept of the
accuracy.

The best of many rules is biased: models that cannot be told apart get 0.1 to 0.2 of the points, and
how many there are moves the score. So two numbers stand beside it that can be read: the quality
relative to that of retrained models among themselves, and lower bounds of ε, where the rule is
found on half of the models and tested on the others. Below 16 models of a kind there is none.

No pass is made: the snapshots of all models hold what is needed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.algebra.challenge import epsilon_bounds, quality, relative_quality
from expunge.ensembles import References
from expunge.errors import MissingInput
from expunge.metric import Measurement, Metric, Trial
from expunge.tasks import Kind

_HALVED = 4  # models: half of half of them must be some
_QUALITY, _SCORE = "challenge forgetting quality", "challenge score"
_RELATIVE, _BOUND = "challenge quality relative to retraining", "challenge ε, lower bound"


@dataclass(frozen=True)
class Challenge(Metric):
    """Forgetting quality by many models of either kind, as in the challenge, and relative to it."""

    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)

    fewest: int = 16  # models of either kind
    splits: int = 10  # halves of the retrained models, for what is relative
    rows: int = 500  # forgotten samples, at most

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        ours, theirs = trial.repeated, trial.compared
        if len(trial.after.forget) == 0:
            raise MissingInput("nobody left the training set, so there is nobody to tell apart")
        size = min(len(ours), len(theirs))
        if size < max(self.fewest, _HALVED):
            note = (
                f"{len(ours)} repeated and {len(theirs)} retrained models are too few; "
                f"{self.fewest} of each are needed"
            )
            yield Measurement(_QUALITY, None, "higher", status="insufficient", note=note)
            return
        u, r = (each.margins("forget", self.rows) for each in (ours, theirs))
        yield from self._scored(u[:size], r[:size], _kept(ours, theirs))
        yield self._relative(u, r)
        yield self._bound(u[:size], r[:size])

    def _scored(
        self, u: Float[Tensor, "k n"], r: Float[Tensor, "k n"], kept: float
    ) -> Iterator[Measurement]:
        found = quality(u, r)
        note = f"{len(u)} models of either kind; 0.1 to 0.2 where they cannot be told apart"
        yield Measurement(_QUALITY, found, "higher", n=u.shape[1], note=note)
        note = f"the quality, times {kept:.3f} of the retrained models' accuracy"
        yield Measurement(_SCORE, found * kept, "higher", n=u.shape[1], note=note)

    def _relative(self, u: Float[Tensor, "a n"], r: Float[Tensor, "b n"]) -> Measurement:
        found = relative_quality(u, r, splits=self.splits)
        half = min(len(u), len(r) // 2)
        if found is None:
            note = f"halves of {half} retrained models get no points among themselves: retrain more"
            return Measurement(_RELATIVE, None, "higher", status="insufficient", note=note)
        note = f"{half} models a side; 1 is as good as retraining"
        return Measurement(_RELATIVE, found, "higher", n=u.shape[1], note=note)

    def _bound(self, u: Float[Tensor, "k n"], r: Float[Tensor, "k n"]) -> Measurement:
        """The mean over samples, and beside it what halves of retrained models have."""
        found, half = epsilon_bounds(u, r), len(r) // 2
        among = epsilon_bounds(r[:half], r[half : 2 * half])
        above = (found > 0).double().mean().item()
        return Measurement(
            _BOUND,
            found.mean().item(),
            "lower",
            n=len(found),
            target=(among.mean().item(),),
            note=f"mean over samples; above 0 for {above:.0%} of them, at most {found.max():.2f}; "
            f"{len(u)} models of either kind can show {_most(len(u)):.2f}",
        )


def _kept(ours: References, theirs: References) -> float:
    """The accuracy on what stays and on the test set, each as a share of the retrained models'."""
    kept = 1.0
    for part in ("retain", "test"):
        own, usual = (
            sum(getattr(seen, part).accuracy for seen in each.snapshots) / len(each)
            for each in (ours, theirs)
        )
        if usual == 0:
            raise MissingInput(f"retrained models are never right on the {part} set")
        kept *= own / usual
    return kept


def _most(models: int) -> float:
    """The bound of models that are always told apart."""
    apart = torch.arange(models).double()[:, None]
    return epsilon_bounds(apart, apart + 2 * models).item()
