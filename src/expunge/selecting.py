"""Which units of a network a sample's loss depends on, given each other.

The sample is perturbed many times. Every unit answers with a number each time, and so does the
loss; the units without which the loss cannot be told are those whose weights the sample shaped.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from expunge.algebra.dependence import foci
from expunge.errors import BadSetting, Diverged
from expunge.method import Case
from expunge.perturbing import Perturb
from expunge.units import Units, watched

Selecting = Literal["foci", "cheap", "random", "one"]

_PASS = 128  # samples in one pass: the answers of all layers are held at once
_GROUP = 8  # samples of a group that are perturbed together; more would only cost time


@dataclass(frozen=True, slots=True)
class Selector:
    """How units are chosen for a group of samples."""

    kind: Selecting
    perturb: Perturb
    count: int  # perturbations of every sample
    most: int  # units, at most
    jitter: float  # deviation of the noise on activations and loss that parts equal values

    def __post_init__(self) -> None:
        if self.count < 3:
            raise BadSetting(
                f"perturbations is {self.count}, and dependence cannot be seen in fewer than three",
                hint="use some hundreds.",
            )

    def choose(
        self, model: nn.Module, case: Case, units: Units, ids: Int[Tensor, " m"]
    ) -> list[int]:
        """Units that matter for these samples; none where their loss never moves."""
        if self.kind == "one":
            return [int(torch.randint(len(units), ()))]
        said, losses = self._asked(model, case, units, ids)
        if bool((losses == losses[0]).all()):
            return []
        most = 1 if self.kind == "cheap" else self.most
        found = foci(said, losses, max_features=most, jitter=self.jitter).selected
        return [*found] if self.kind != "random" else _as_many(units, found)

    @torch.no_grad()
    def _asked(
        self, model: nn.Module, case: Case, units: Units, ids: Int[Tensor, " m"]
    ) -> tuple[Float[Tensor, "n p"], Float[Tensor, " n"]]:
        """Activations and losses, perturbation by perturbation; means over a group's samples."""
        ids = ids[torch.randperm(len(ids))[:_GROUP].sort().values]
        share, said, losses = max(1, _PASS // len(ids)), [], []
        for start in range(0, self.count, share):
            rounds = min(share, self.count - start)
            batch = case.forget.take(ids.repeat(rounds))
            batch = case.task.with_inputs(batch, self.perturb(case.task.inputs(batch)))
            with watched(model, units) as calls:
                found = case.task.loss(model, batch)
            losses.append(found.view(rounds, len(ids)).mean(1))
            said.append(calls.activations().view(rounds, len(ids), -1).mean(1))
        together = torch.cat(losses)
        if not together.isfinite().all():
            raise Diverged(
                "the loss of a perturbed sample is not finite",
                hint="use a smaller deviation, or a perturb=... that the model can read.",
            )
        return torch.cat(said), together


def _as_many(units: Units, found: tuple[int, ...]) -> list[int]:
    """Units drawn at random, with as many parameters behind them as behind those found."""
    left, chosen = len(units.block(found)), []
    for unit in torch.randperm(len(units)).tolist():
        size = len(units.block([unit]))
        if size <= left:
            chosen.append(unit)
            left -= size
        if left == 0:
            break
    return chosen
