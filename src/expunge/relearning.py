"""Train copies of a network to tell an attribute, as whoever holds its weights can.

A copy gets a new head, on its features or on what an earlier layer says. It starts from the
frequencies of groups in every class, and is stopped where it is best for samples to choose by.

What it learns does not depend on the scale of anything. The head reads numbers of one size; weights
that are far larger or smaller than usual are moved by steps of their own size; half precision is
widened.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import log
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from expunge.algebra.guessing import Asked, hedge, mixed, price
from expunge.errors import MissingInput
from expunge.observing import BATCH, device_of
from expunge.probing import Finding, Question
from expunge.representing import FEATURES, drawing, rows_of, thawed, watched
from expunge.reserving import Reserve
from expunge.tasks import Batch, Task
from expunge.tasks.reading import mapped

_LOOK = 10  # steps between two looks at the samples to choose by
_HEAD = 10.0  # how much faster the new head learns than the network below it
_EPS = 1e-8  # of Adam
_USUAL = 8.0  # times larger or smaller than one, a layer's weights are stepped as any others
_HALF = (torch.float16, torch.bfloat16)


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a copy is trained."""

    steps: int
    batch: int
    lr: float


@dataclass(frozen=True, slots=True, eq=False)
class Attacker:
    """What an attacker knows, whichever model is attacked."""

    task: Task
    held: Reserve
    question: Question
    pace: Pace
    bets: Float[Tensor, "n k"]  # nats, by the class alone
    chosen: Asked
    scored: Asked

    @classmethod
    def of(cls, task: Task, held: Reserve, question: Question, pace: Pace) -> "Attacker":
        """Whoever asks this question of held-out samples."""
        nothing = torch.zeros(len(held), 1)
        bets = question.everyone(nothing).bets * log(2)
        _, chosen, scored = question.asked(nothing)
        return cls(task, held, question, pace, bets, chosen, scored)

    def found(self, model: nn.Module, rows: Int[Tensor, " m"], place: str = FEATURES) -> Finding:
        """What a copy finds that learnt from these samples, with a head at this place."""
        with drawing(), torch.enable_grad():
            thief = self._thief(model, place)
            self._train(thief, rows)
            chosen, scored = (self._said(thief, some) for some in self.question.ways[1:])
        told = mixed(scored, self.scored, hedge(chosen, self.chosen))
        return Finding("fine-tuning", told, self.scored, self.question.whose, self._price(chosen))

    def reached(self, model: nn.Module, layers: Sequence[str], place: str = FEATURES) -> int | None:
        """The first of these layers whose weights slopes reach from a place; None: no one's."""
        with drawing(), torch.enable_grad():
            thief = self._thief(model, place).train()
            modules = dict(thief.encoder.named_modules())
            own = [[*modules[name].parameters(recurse=False)] for name in layers]
            told = thief.standard(self._batch(thief, self.question.ways[0][:BATCH]))
            if not told.requires_grad:
                return None
            some = (told * torch.randn_like(told)).sum()  # a plain sum a normalising layer hides
            flat = [p for each in own for p in each if p.requires_grad]
            slopes = torch.autograd.grad(some, flat, allow_unused=True) if flat else ()
        moved = {id(p) for p, s in zip(flat, slopes, strict=True) if s is not None and s.any()}
        return next((k for k, each in enumerate(own) if any(id(p) in moved for p in each)), None)

    def _train(self, thief: "_Thief", rows: Int[Tensor, " m"]) -> None:
        """Learn from these samples, and go back to where the samples to choose by cost least."""
        head = {"params": [*thief.head.parameters()], "lr": _HEAD * self.pace.lr}
        optimizer = Adam([*_groups(thief.encoder, self.pace.lr), head], lr=self.pace.lr, eps=_EPS)
        kept, least = _state(thief), self._costs(thief)
        for step in range(1, self.pace.steps + 1):
            some = rows[torch.randperm(len(rows))[: self.pace.batch]].sort().values
            thief.train()
            told = self._logits(thief, some)
            optimizer.zero_grad()
            F.cross_entropy(told, self.question.z[some].to(told.device)).backward()
            optimizer.step()
            if step % _LOOK:
                continue
            now = self._costs(thief)
            if now < least:
                kept, least = _state(thief), now
        thief.load_state_dict(kept)

    def _costs(self, thief: "_Thief") -> float:
        return self._price(self._said(thief, self.question.ways[1]))

    def _price(self, told: Float[Tensor, "m k"]) -> float:
        """What the samples to choose by still cost, in bits."""
        return price(lambda _: mixed(told, self.chosen, hedge(told, self.chosen)), self.chosen)

    @torch.no_grad()
    def _said(self, thief: "_Thief", rows: Int[Tensor, " m"]) -> Float[Tensor, "m k"]:
        """Log2-probabilities of every group."""
        thief.eval()
        told = [self._logits(thief, some).double().cpu() for some in rows.split(BATCH)]
        return torch.cat(told).log_softmax(1) / log(2)

    def _logits(self, thief: "_Thief", rows: Int[Tensor, " m"]) -> Float[Tensor, "m k"]:
        told: Tensor = thief(self._batch(thief, rows))
        return told + self.bets[rows].to(told)

    def _batch(self, thief: nn.Module, rows: Int[Tensor, " m"]) -> Batch:
        batch = self.held.take(rows, device_of(thief), self.task)
        x, narrow = self.task.inputs(batch), list[bool]()
        wide = mapped(x, partial(_widened, narrow))
        return self.task.with_inputs(batch, wide) if narrow else batch

    def _thief(self, model: nn.Module, place: str) -> "_Thief":
        encoder = thawed(model)
        _widen(encoder)
        batch = self._batch(encoder, self.question.ways[0][:BATCH])
        with torch.no_grad():
            features = self._first(encoder.eval(), batch, place)
        return _Thief(encoder, self.task, place, features, self.bets.shape[1])

    def _first(self, encoder: nn.Module, batch: Batch, place: str) -> Float[Tensor, "n d"]:
        try:
            return _read(encoder, self.task, batch, place)
        except RuntimeError as why:
            raise MissingInput(f"a copy cannot be trained in single precision: {why}") from why


class _Thief(nn.Module):
    """A copy of a network, with a new head on its features that names groups."""

    mean: Tensor
    scale: Tensor

    def __init__(
        self, encoder: nn.Module, task: Task, place: str, seen: Tensor, groups: int
    ) -> None:
        """Take a copy, and features to scale by; the head knows nothing yet."""
        super().__init__()
        self.encoder, self._task, self._place = encoder, task, place
        self.head = nn.Linear(seen.shape[1], groups).to(seen)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("mean", seen.mean(0))
        self.register_buffer("scale", _scale(seen))

    def standard(self, batch: Batch) -> Float[Tensor, "n d"]:
        """What the head reads: numbers of one size."""
        features = _read(self.encoder, self._task, batch, self._place)
        return (features - self.mean) / self.scale

    def forward(self, batch: Batch) -> Float[Tensor, "n k"]:
        """A logit for every group, besides the bets."""
        told: Tensor = self.head(self.standard(batch))
        return told


def _read(model: nn.Module, task: Task, batch: Batch, place: str) -> Float[Tensor, "n d"]:
    if place == FEATURES:
        return task.answer(model, batch).embedding
    with watched(model, [place]) as there:
        size = len(task.answer(model, batch).logits)
    return rows_of(there[place], size, place)


def _scale(seen: Float[Tensor, "n d"]) -> Float[Tensor, " d"]:
    """Deviations of features, times what makes steps of Adam move logits by so much."""
    unit = 2.0 ** seen.abs().max().clamp_min(torch.finfo(seen.dtype).tiny).log2().floor()
    scale = (seen / unit).std(0, correction=0)  # else squares of what is tiny would be zero
    moving = scale[scale > 0]
    # What hardly moves must not be blown up; nor may one huge feature hide all the others.
    least = min(scale.mean().item() / 100, moving.median().item() if len(moving) else 0.0)
    scale = scale.clamp_min(least) * unit * len(scale) ** 0.5
    return torch.where(scale > 0, scale, 1.0)


def _groups(encoder: nn.Module, lr: float) -> Iterator[dict[str, Any]]:
    """Weights by how long their steps are: a layer of unusual size has steps of that size.

    Adam then takes the same way as if the layer were of size one and its output were scaled.
    """
    by: dict[float, dict[Tensor, None]] = {}
    for module in encoder.modules():
        own = [p for p in module.parameters(recurse=False) if p.requires_grad]
        size = max((_size(module, p) for p in own), default=0.0)
        size = 1.0 if not size or 1 / _USUAL <= size <= _USUAL else size
        by.setdefault(size, {}).update(dict.fromkeys(own))
    for size, those in by.items():
        yield {"params": [*those], "lr": lr * size, "eps": _EPS / size}


@torch.no_grad()
def _size(module: nn.Module, weights: Tensor) -> float:
    """The length of what makes one unit, on average; of layers that are learnt it is near one."""
    alone = weights.ndim < 2 or isinstance(module, (nn.Embedding, nn.EmbeddingBag))
    rows = weights.reshape(-1, 1) if alone else weights.flatten(1)
    most = rows.abs().max().item() if rows.numel() else 0.0
    return 0.0 if not most else (rows / most).norm(dim=1).square().mean().sqrt().item() * most


def _widen(model: nn.Module) -> None:
    """Take half precision for single: it holds neither small slopes nor small steps."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.dtype in _HALF:
            tensor.data = tensor.data.float()


def _widened(narrow: list[bool], leaf: Any) -> Any:
    """The leaf in single precision at least; what was narrow is counted."""
    if not isinstance(leaf, Tensor) or leaf.dtype not in _HALF:
        return leaf
    narrow.append(True)
    return leaf.float()


def _state(thief: _Thief) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in thief.state_dict().items()}
