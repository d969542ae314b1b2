"""What every parameter is worth to some samples: mean squared or absolute gradients, one by one.

The gradients are those of each sample by itself, not of batches, whose squares would tell of the
size of a batch. They are taken for many samples at once: by products, where all layers are plain,
and by torch.func in chunks that fit memory for any other model.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from expunge.batching import Batches
from expunge.errors import ModelDoesNotFit
from expunge.singling import Layers, separable, singled
from expunge.tasks import Batch
from expunge.tasks.reading import mapped

Score = Callable[[nn.Module, Batch], Float[Tensor, " k"]]
"""Numbers to differentiate: of every sample one, or of a batch of one sample several."""

_NUMBERS = 2**25  # that gradients of one chunk hold at most
_MOST = 512  # samples of a chunk
_OTHERS = 8  # samples that one is scored among
_ALIKE = 1e-3  # how far the score of a sample may lie from what it is among others


@dataclass(frozen=True, slots=True, eq=False)
class Worth:
    """Sums over samples, for every parameter that may learn."""

    sums: Mapping[str, Float[Tensor, "..."]]
    count: int

    def plus(self, other: "Worth") -> "Worth":
        """The same for the samples of both."""
        both = {name: value + other.sums[name] for name, value in self.sums.items()}
        return Worth(both, self.count + other.count)

    @property
    def means(self) -> dict[str, Float[Tensor, "..."]]:
        """What a parameter is worth to a sample on average."""
        return {name: value / self.count for name, value in self.sums.items()}


def worth(
    model: nn.Module,
    batches: Batches,
    score: Score,
    *,
    power: Literal[1, 2] = 2,
    numbers: int = 1,
    most: int = 0,
) -> Worth:
    """Add up what gradients of a score are to this power, over samples and its numbers.

    The model must answer each sample by itself, as it does in evaluation mode.

    Args:
        model: Whose parameters are valued: those that may learn.
        batches: The samples, and where the model is.
        score: What is differentiated.
        power: 2 for squares, 1 for absolute values.
        numbers: How many numbers the score has.
        most: Samples that are asked, at most; drawn at random, they stand for all. 0: all.
    """
    asked, count = _some(batches.part.indices, most), len(batches.part)
    nothing = {n: torch.zeros_like(p) for n, p in model.named_parameters() if p.requires_grad}
    if not len(asked) or not nothing:
        return Worth(nothing, count)
    layers = separable(model) if numbers == 1 else None
    sums = None
    if layers is not None:
        sums = _by_products(model, layers, batches, asked=asked, score=score, power=power)
    if sums is None:
        sums = _by_mapping(model, batches, asked=asked, score=score, power=power, numbers=numbers)
    share = count / len(asked)
    return Worth({name: value * share for name, value in sums.items()}, count)


def _by_products(
    model: nn.Module,
    layers: Layers,
    batches: Batches,
    *,
    asked: Int[Tensor, " m"],
    score: Score,
    power: int,
) -> dict[str, Tensor] | None:
    """One pass backwards for many samples at once; None: this model does not bear it."""
    sums = {n: p.detach().double() * 0 for n, p in model.named_parameters() if p.requires_grad}
    vouched = False
    for ids in asked.split(_MOST):
        scores = partial(score, model, batches.take(ids))
        found = singled(model, layers, scores, count=len(ids), power=power)
        if found is None or not (vouched or _alone(model, batches, ids, score=score)):
            return None
        vouched = True
        sums = {name: sums[name] + value.double() for name, value in found.items()}
    return sums


@torch.no_grad()
def _alone(model: nn.Module, batches: Batches, ids: Int[Tensor, " n"], *, score: Score) -> bool:
    """Whether the first sample scores by itself what it scores among a few others."""
    among, alone = (score(model, batches.take(ids[:count])) for count in (_OTHERS, 1))
    return bool(torch.allclose(among[:1], alone, rtol=_ALIKE, atol=_ALIKE))


def _by_mapping(
    model: nn.Module,
    batches: Batches,
    *,
    asked: Int[Tensor, " m"],
    score: Score,
    power: int,
    numbers: int,
) -> dict[str, Tensor]:
    """For any model that torch.func can run: every sample has gradients of its own."""
    learning = {f"model.{n}": p.detach() for n, p in model.named_parameters() if p.requires_grad}
    scored, sums = _Scored(model, score), {n: p.double() * 0 for n, p in learning.items()}
    size = _NUMBERS // (numbers * max(1, sum(prod(p.shape) for p in learning.values())))
    for ids in asked.split(max(1, min(_MOST, size))):
        found = _each(scored, learning, batches.take(ids), len(ids), power)
        sums = {name: sums[name] + value.double() for name, value in found.items()}
    return {name.removeprefix("model."): value for name, value in sums.items()}


def _some(ids: Int[Tensor, " n"], most: int) -> Int[Tensor, " m"]:
    return ids[torch.randperm(len(ids))[:most].sort().values] if 0 < most < len(ids) else ids


class _Scored(nn.Module):
    """A model with its score for an answer, so that parameters can be lent to both."""

    def __init__(self, model: nn.Module, score: Score) -> None:
        super().__init__()
        self.model, self.score = model, score

    def forward(self, batch: Batch) -> Float[Tensor, " k"]:
        return self.score(self.model, batch).reshape(-1)


def _each(
    scored: _Scored, learning: Mapping[str, Tensor], batch: Batch, count: int, power: int
) -> dict[str, Float[Tensor, "..."]]:
    """Powers of every sample's gradients, added up."""
    rows: list[Tensor] = []
    mapped(batch, lambda leaf: rows.append(leaf) if _is_rows(leaf, count) else None)

    def powers(*sample: Tensor) -> dict[str, Tensor]:
        left = iter(sample)
        alone = mapped(batch, lambda leaf: next(left)[None] if _is_rows(leaf, count) else leaf)
        slopes = jacrev(lambda p: functional_call(scored, p, (alone,)))(dict(learning))
        return {name: slope.abs().pow(power).sum(0) for name, slope in slopes.items()}

    try:
        with sdpa_kernel(SDPBackend.MATH):
            found = vmap(powers)(*rows)
    except RuntimeError as why:
        raise ModelDoesNotFit(
            f"gradients of single samples cannot be taken for this model: {why}",
            hint="vmap of torch.func must be able to run it: no .item(), no branch on its numbers.",
        ) from why
    return {name: value.sum(0) for name, value in found.items()}


def _is_rows(leaf: Any, count: int) -> bool:
    return isinstance(leaf, Tensor) and leaf.ndim > 0 and len(leaf) == count
