"""Train several models at once as one stack: every tensor has one row a model.

Small networks spend more time between operations than within them. A stack makes one operation of
as many as there are models, and each row learns what it would have learnt by itself: the same
start, the same batches in the same order, the same steps.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from expunge.batching import Batches, is_resident
from expunge.errors import Diverged
from expunge.fitting import Fit
from expunge.observing import device_of
from expunge.precision import half
from expunge.recipe import Recipe
from expunge.seeding import seeded
from expunge.splitting import Part, rooted
from expunge.stack import Stack
from expunge.tasks import Batch
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
    stack, length = Stack.of(models, fit.task), steps(fit, parts[0])
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
