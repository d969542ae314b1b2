"""Critics: small networks that guess an attribute from features, and are never part of the model.

They see features without their history, and have an optimizer of their own. Several lie side by
side in one tensor, and one after another starts anew, so that features which deceive a critic meet
one that they never saw. What the class tells a critic knows from the start, and it has a last layer
for every class: what one class shows by a feature, another may show by its opposite.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.optim import AdamW

from expunge.algebra.information import Scalar
from expunge.detaching.attributes import Hidden
from expunge.detaching.surveying import Truth
from expunge.errors import BadSetting

Measure = Callable[[Tensor, Tensor, Tensor], Scalar]
"""What can be said of the answers about some samples, with their attributes and classes."""

_WIDTH = 128
_DECAY = 1e-2
_KEPT = 8  # batches that critics learn from: older features are those of another model
_FLAT = 1e-6  # share of the largest deviation; a feature that varies less says nothing


@dataclass(frozen=True, slots=True)
class Training:
    """How critics stay ahead of the features."""

    copies: int = 3  # critics of every attribute
    steps: int = 3  # of a critic, to each one of the model
    lr: float = 2e-3  # of Adam
    renew: int = 200  # steps of the model after which another critic starts anew; 0: never

    def __post_init__(self) -> None:
        """Refuse critics that would learn nothing: features need not hide from them."""
        if min(self.copies, self.steps) < 1 or self.lr <= 0 or self.renew < 0:
            raise BadSetting(
                f"{self.copies} critics, {self.steps} steps of each, learning rate {self.lr}, "
                f"renew = {self.renew}",
                hint="all must be positive; renew may be 0.",
            )


class Critics:
    """Several critics of one attribute."""

    def __init__(self, of: Hidden, like: Float[Tensor, "n d"], classes: int, how: Training) -> None:
        """Start with critics that know nothing but the class."""
        self._of, self._how = of, how
        self._sizes = [like.shape[1], _WIDTH, _WIDTH, classes * of.width]
        self.layers = [x.to(like.device).requires_grad_() for x in _fresh(self._sizes, how.copies)]
        self._optimizer = AdamW(self.layers, lr=how.lr, weight_decay=_DECAY, fused=True)
        self._met = 0  # steps of the model

    def surprises(
        self, x: Float[Tensor, "*s n d"], z: Tensor, y: Int[Tensor, "*s n"], *, frozen: bool = True
    ) -> Float[Tensor, " s"]:
        """What every critic has not learned yet, and what nobody can.

        Frozen critics pass slopes on to the features, and take none themselves. All are asked
        about the same samples, or each about its own.
        """
        return self._each(self._of.surprise, x, z, y, frozen=frozen)

    def bounds(
        self, x: Float[Tensor, "n d"], z: Shaped[Tensor, " n"], y: Int[Tensor, " n"]
    ) -> Float[Tensor, " s"]:
        """How much features tell beyond the class, at most, if a critic is right."""
        return self._each(self._of.bound, x, z, y, frozen=True)

    def learn(
        self, x: Float[Tensor, "n d"], z: Shaped[Tensor, " n"], y: Int[Tensor, " n"], size: int
    ) -> None:
        """Take some steps by likelihood, every critic on samples that it draws for itself."""
        for _ in range(self._how.steps):
            rows = torch.randint(len(x), (self._how.copies, size)).to(x.device)
            self.surprises(x[rows], z[rows], y[rows], frozen=False).sum().backward()
            self._descend()
        self._meet()

    def follow(self) -> None:
        """Take one step along the slopes that the loss of the model has left, if there are any."""
        if self.layers[0].grad is not None:
            self._descend()
            self._meet()

    def _each(
        self, measure: Measure, x: Tensor, z: Tensor, y: Tensor, *, frozen: bool
    ) -> Float[Tensor, " s"]:
        """What a measure says of the answers of every critic."""
        layers = [layer.detach() for layer in self.layers] if frozen else self.layers
        copies, width = self._how.copies, self._of.width
        x, z, y = x.expand(copies, -1, -1), z.expand(copies, -1), y.expand(copies, -1)
        for weight, bias in zip(layers[:-2:2], layers[1:-2:2], strict=True):
            x = torch.baddbmm(bias, x, weight).relu()
        told = torch.baddbmm(layers[-1], x, layers[-2]).unflatten(2, (-1, width))
        own = told.gather(2, y[:, :, None, None].expand(-1, -1, 1, width)).squeeze(2)
        return torch.stack([measure(*each) for each in zip(own, z, y, strict=True)])

    def _descend(self) -> None:
        self._optimizer.step()
        self._optimizer.zero_grad()

    def _meet(self) -> None:
        """Now and then one critic, each in its turn, forgets what it has learned."""
        self._met += 1
        if self._how.renew and self._met % self._how.renew == 0:
            self._renew(self._met // self._how.renew % self._how.copies)

    @torch.no_grad()
    def _renew(self, critic: int) -> None:
        for layer, new in zip(self.layers, _fresh(self._sizes, 1), strict=True):
            layer[critic] = new[0].to(layer)
            self._optimizer.state[layer]["exp_avg"][critic] = 0.0


@dataclass(slots=True, eq=False)
class Memory:
    """Features of the last few batches without their history, and what is true of the samples."""

    kept: deque[tuple[Tensor, Truth]] = field(default_factory=lambda: deque(maxlen=_KEPT))

    def add(self, x: Float[Tensor, "n d"], truth: Truth) -> None:
        """Remember a batch, and forget the oldest."""
        self.kept.append((x.clone(), truth))  # layers that work in place may overwrite features

    def all(self) -> tuple[Float[Tensor, "n d"], Truth]:
        """All that is remembered."""
        x, truths = zip(*self.kept, strict=True)
        z = zip(*(truth.z for truth in truths), strict=True)
        return torch.cat(x), Truth(tuple(map(torch.cat, z)), torch.cat([t.y for t in truths]))


def plain(x: Float[Tensor, "n d"], among: Float[Tensor, "m d"]) -> Float[Tensor, "n d"]:
    """Features about the mean of others, in deviations: to shrink them hides nothing."""
    scale, mean = torch.std_mean(among, 0, correction=0)
    return (x - mean) / torch.where(scale > _FLAT * scale.max(), scale, 1.0)


def _fresh(sizes: Sequence[int], copies: int) -> list[Float[Tensor, "s _ _"]]:
    """Layers that answer nothing yet."""
    layers: list[Tensor] = []
    for inputs, outputs in pairwise(sizes):
        layers += [torch.randn(copies, inputs, outputs) * (2 / inputs) ** 0.5]
        layers += [torch.zeros(copies, 1, outputs)]
    layers[-2].zero_()
    return layers
