"""Models to compare with: values only; `retraining` makes them."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from expunge.algebra.sampling import drawn
from expunge.observing import Observation, Snapshot


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """One model that never saw the forget set."""

    load: Callable[[], nn.Module]
    snapshot: Snapshot
    seed: int
    seconds: float
    digest: str


@dataclass(frozen=True, slots=True, eq=False)
class References:
    """Several retrained models; they differ by their seeds."""

    members: tuple[Reference, ...]

    def __len__(self) -> int:
        return len(self.members)

    def about(self, ids: Int[Tensor, " k"]) -> "References":
        """The same with only these samples as the forget set."""
        return References(
            tuple(replace(each, snapshot=each.snapshot.about(ids)) for each in self.members)
        )

    def margins(self, part: str, most: int) -> Float[Tensor, "k n"]:
        """Every model's logits of the true labels' probabilities, for the same samples of a set."""
        found = []
        for seen in self.snapshots:
            asked: Observation = getattr(seen, part)
            found.append(asked.only(drawn(asked.ids, most)).phi)
        return torch.stack(found)

    @property
    def snapshots(self) -> tuple[Snapshot, ...]:
        """What each of them says."""
        return tuple(member.snapshot for member in self.members)

    @property
    def seconds(self) -> float:
        """How long retraining takes, on average."""
        return sum(member.seconds for member in self.members) / len(self.members)
