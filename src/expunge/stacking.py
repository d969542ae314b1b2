"""Train several models at once as one stack: every tensor has one row a model.

Small networks spend more time between operations than within them. A stack makes one operation of
as many as there are models, and each row learns what it would have learnt by itself: the same
start, the same batches in the same order, the same steps. Chance that is drawn within a step, as
dropout draws it, cannot be shared out like that, and buffers that a step changes would leak from
one model to the next; such models do not stack.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, vmap

from expunge.batching import Batches, is_resident
from expunge.errors import Diverged
from expunge.fitting import Fit
from expunge.observing import device_of
from expunge.precision import half
from expunge.recipe import Recipe
from expunge.seeding import seeded
from expunge.splitting import Part, rooted
from expunge.tasks import Batch, Task
from expunge.tasks.reading import mapped


def stackable(recipe: Recipe, part: Part) -> bool:
    """Whether models of a recipe may be trained as a stack, as far as that shows before trying."""
    fit = recipe.fit
    if not isinstance(fit, Fit) or fit.augment is not None or fit.penalty is not None:
        return False
    root, _ = rooted(part, part.indices[:0])
    with seeded(0):
        model = recipe.build()
    plain = all(p.is_floating_point() for p in model.parameters())
    unchanged = not [*model.buffers()]
    full = not fit.halves(model) or device_of(model).type == "cuda"
    return is_resident(root) and plain and unchanged and full


def stacked(
    recipe: Recipe, fit: Fit, parts: Sequence[Part], seeds: Sequence[int]
) -> list[nn.Module]:
    """Train a model a part, all of them at once; each by its own seed.

    All parts are of one dataset, and make as many steps.
    """
    fresh = [_fresh(recipe, seed) for seed in seeds]
    models, chances = [model for model, _ in fresh], [chance for _, chance in fresh]
    batches = Batches(parts[0], device=device_of(models[0]))
    stack, length = _Stack.of(models, fit.task), steps(fit, parts[0])
    optimizer = fit.stepping([*stack.learning.values()])
    halved = fit.halves(models[0])
    with torch.enable_grad():
        for epoch in range(fit.epochs):
            for step, (ids, weights) in enumerate(_orders(parts, chances, length)):
                share = (epoch * length + step) / (fit.epochs * length)
                for group in optimizer.param_groups:
                    group["lr"] = fit.rate(share)
                with half(models[0], enabled=halved):
                    losses = stack.losses(_rows(batches, ids), weights.to(batches.device))
                _check(losses, share)
                optimizer.zero_grad()
                losses.sum().backward()
                optimizer.step()
    return stack.apart(models)


def steps(fit: Fit, part: Part) -> int:
    """How many steps an epoch has."""
    return len(Batches(part, fit.batch))


class _Asked(nn.Module):
    """A model under the eyes of a task: a batch goes in, and a loss a sample comes out."""

    def __init__(self, model: nn.Module, task: Task) -> None:
        super().__init__()
        self.model, self.task = model, task

    def forward(self, batch: Batch, weights: Float[Tensor, " b"]) -> Float[Tensor, ""]:
        return (self.task.loss(self.model, batch) * weights).sum()


class _Stack(NamedTuple):
    """Parameters of several models, those that learn and those that stay; and who asks them.

    Matrices rest transposed, because that is how they are multiplied: else every step would copy
    their gradients once.
    """

    learning: dict[str, Tensor]
    staying: dict[str, Tensor]
    asked: _Asked

    @classmethod
    def of(cls, models: Sequence[nn.Module], task: Task) -> "_Stack":
        learning, staying = {}, {}
        for name, first in models[0].named_parameters():
            rows = torch.stack([_turned(m.get_parameter(name).detach(), 2) for m in models])
            if first.requires_grad:
                learning[name] = rows.contiguous().requires_grad_()
            else:
                staying[name] = rows
        return cls(learning, staying, _Asked(models[0].train(), task))

    def losses(self, batch: Batch, weights: Float[Tensor, "k b"]) -> Float[Tensor, " k"]:
        """The mean loss of every model on its own rows of a batch."""
        rows = {f"model.{n}": _turned(v, 3) for n, v in (self.learning | self.staying).items()}

        def one(parameters: dict[str, Tensor], batch: Batch, weights: Tensor) -> Any:
            return functional_call(self.asked, parameters, (batch, weights))

        losses: Tensor = vmap(one)(rows, batch, weights)
        return losses

    @torch.no_grad()
    def apart(self, models: Sequence[nn.Module]) -> list[nn.Module]:
        """Give every model its own row."""
        for name, rows in self.learning.items():
            for model, row in zip(models, _turned(rows, 3), strict=True):
                model.get_parameter(name).copy_(row)
        return [model.eval() for model in models]


def _turned(value: Tensor, axes: int) -> Tensor:
    """Transpose what has so many axes: a matrix has two, a stack of matrices three."""
    return value.mT if value.ndim == axes else value


def _fresh(recipe: Recipe, seed: int) -> tuple[nn.Module, torch.Generator]:
    """A model as its seed starts it, and the chance that would have shuffled its batches."""
    with seeded(seed):
        model = recipe.build()
        return model, torch.Generator().set_state(torch.get_rng_state())


def _orders(
    parts: Sequence[Part], chances: Sequence[torch.Generator], length: int
) -> Iterator[tuple[Int[Tensor, "k b"], Float[Tensor, "k b"]]]:
    """An epoch's batches: who is in the batch of every model, and how much each one counts."""
    shuffled = [
        part.indices[torch.randperm(len(part), generator=chance)].tensor_split(length)
        for part, chance in zip(parts, chances, strict=True)
    ]
    for chunks in zip(*shuffled, strict=True):
        sizes = torch.tensor([len(chunk) for chunk in chunks])
        ids = nn.utils.rnn.pad_sequence(
            [*chunks], batch_first=True, padding_value=int(chunks[0][0])
        )
        counts = torch.arange(ids.shape[1]) < sizes[:, None]
        yield ids, counts / sizes[:, None]


def _rows(batches: Batches, ids: Int[Tensor, "k b"]) -> Batch:
    """The samples of every model, a row of the batch each."""
    return mapped(batches.take(ids.flatten()), lambda leaf: leaf.unflatten(0, ids.shape))


def _check(losses: Float[Tensor, " k"], share: float) -> None:
    if not losses.isfinite().all():
        raise Diverged(
            f"training: the loss of one of {len(losses)} models is not finite "
            f"after {share:.0%} of the run",
            hint="use a smaller learning rate.",
        )
