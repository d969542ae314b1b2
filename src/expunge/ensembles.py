"""Models to compare with, and models to attack with: values only.

`retraining` makes the first, `shadowing` the second.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from expunge.algebra.sampling import drawn
from expunge.observing import Observation, Snapshot
from expunge.remembering import Notebook
from expunge.storing import digest_tensors, digest_text
from expunge.tasks import Kind


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
    notebook: Notebook = field(default_factory=Notebook)  # what is asked of them again and again

    def __len__(self) -> int:
        return len(self.members)

    def about(self, ids: Int[Tensor, " k"]) -> "References":
        """The same with only these samples as the forget set."""
        named = tuple(replace(each, snapshot=each.snapshot.about(ids)) for each in self.members)
        return replace(self, members=named)

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


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Records that shadow models were asked about: first some of the training set, then others."""

    train_ids: Int[Tensor, " a"]  # positions in the training set
    test_ids: Int[Tensor, " b"]  # positions in the held-out set
    labels: Shaped[Tensor, "n *k"]
    width: tuple[int, ...]  # of one sample's answer; () where it is a single number
    kind: Kind = "classification"

    def __len__(self) -> int:
        return len(self.labels)

    def trained(self, ids: Int[Tensor, " m"]) -> Int[Tensor, " m"]:
        """Where these samples of the training set stand; -1 for those that were not asked about."""
        return _places(self.train_ids, ids)

    def held_out(self, ids: Int[Tensor, " m"]) -> Int[Tensor, " m"]:
        """The same for samples of the held-out set."""
        found = _places(self.test_ids, ids)
        return torch.where(found < 0, found, found + len(self.train_ids))


@dataclass(frozen=True, slots=True, eq=False)
class Shadow:
    """One model that was trained with some records of a pool, and without the others."""

    trained: Bool[Tensor, " n"]
    scores: Float[Tensor, " n"]  # how well it knows each record in the end
    original: Float[Tensor, " n"]  # and before it was unlearned, if it was
    likeliest: Float[Tensor, "n r"]  # the largest log-probabilities in the end
    seed: int
    seconds: float
    digest: str  # of its weights in the end


@dataclass(frozen=True, slots=True, eq=False)
class Shadows:
    """Many models of one recipe, whose records came and went; each is what might have been.

    Where a method is named, every model forgot what it had been trained with of the pool.
    """

    pool: Pool
    members: tuple[Shadow, ...]
    method: str = ""  # that each of them was unlearned with; empty: it was not
    retrained: tuple[Shadow, ...] = ()  # models that never saw the pool
    mirror: Shadow | None = None  # had the held-out ones been in, and the forgotten ones not

    def __len__(self) -> int:
        return len(self.members)

    @property
    def trained(self) -> Bool[Tensor, "k n"]:
        """Which model was trained with which record, be it forgotten afterwards or not."""
        return torch.stack([member.trained for member in self.members])

    @property
    def comes(self) -> Bool[Tensor, " n"]:
        """Which records came and went: some models were trained with them, and others were not."""
        return self.trained.any(0) & ~self.trained.all(0)

    @property
    def forgotten(self) -> Bool[Tensor, "k n"]:
        """Which model forgot which record."""
        return self.trained if self.method else torch.zeros_like(self.trained)

    @property
    def scores(self) -> Float[Tensor, "k n"]:
        """How well every model knows every record in the end."""
        return torch.stack([member.scores for member in self.members])

    @property
    def original(self) -> Float[Tensor, "k n"]:
        """How well it knew every record before it was unlearned."""
        return torch.stack([member.original for member in self.members])

    @property
    def likeliest(self) -> Float[Tensor, "k n r"]:
        """The largest log-probabilities that every model gives for every record."""
        return torch.stack([member.likeliest for member in self.members])

    @property
    def seconds(self) -> float:
        """How long all of them took."""
        return sum(each.seconds for each in (*self.members, *self.retrained))

    @property
    def digest(self) -> str:
        """Of all models and all that they answered."""
        mirror = () if self.mirror is None else (self.mirror,)
        each = (*self.members, *self.retrained, *mirror)
        return digest_text(self.method, *(text for s in each for text in (s.digest, _told(s))))


def _told(shadow: Shadow) -> str:
    return digest_tensors({"trained": shadow.trained, "scores": shadow.scores})


def _places(known: Int[Tensor, " n"], ids: Int[Tensor, " m"]) -> Int[Tensor, " m"]:
    if len(known) == 0:
        return torch.full_like(ids, -1)
    order = known.argsort()
    found = order[torch.searchsorted(known[order], ids).clamp_max(len(known) - 1)]
    return torch.where(known[found] == ids, found, -1)
