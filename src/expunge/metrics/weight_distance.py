"""How far the weights are from retrained ones.

Only meaningful where training has one solution, or where start and batch order are shared: two
retrained networks are usually as far from each other as from anything else. The distance between
references therefore stands beside the number.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from expunge.algebra.parameters import distance
from expunge.errors import MissingInput
from expunge.metric import Measurement, Metric, Trial


@dataclass(frozen=True)
class WeightDistance(Metric):
    """Distance to the retrained weights, as a share of the original's distance to them."""

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        models = [member.load() for member in trial.compared.members]
        before, after = trial.outcome.before, trial.outcome.after
        if _sizes(after) != _sizes(before):
            raise MissingInput("the method changed the shapes of the parameters")
        if any(_sizes(model) != _sizes(before) for model in models):
            raise MissingInput("the references have other parameters than the original")
        first = models[0]
        whole = distance(before, first)
        if whole == 0:
            raise MissingInput("the original and the first reference have the same weights")
        yield Measurement(
            "weight distance to the references",
            distance(after, first) / whole,
            "lower",
            n=1,
            target=tuple(distance(model, first) / whole for model in models[1:]),
            note="as a share of the original's distance; the references' is that to each other",
        )


def _sizes(model: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(p.shape) for p in model.parameters()]
