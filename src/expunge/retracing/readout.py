"""What the only learning layer of a model reads, where its outputs are the model's answers.

Its inputs do not change while it learns: they are read once, and from then on gradients, and
products with the curvature, are products of matrices. A guess at the inverse curvature comes with
them, from which conjugate gradients need a few rounds where they would need a hundred.
"""

from dataclasses import dataclass
from functools import cached_property, reduce

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd import grad
from torch.nn import functional as F

from expunge.algebra import kronecker
from expunge.algebra.curvature import Product
from expunge.errors import ExpungeError
from expunge.method import Case
from expunge.retracing.path import Ordered
from expunge.stepping import Saying
from expunge.tasks import Batch, Classification, MultiLabel, Regression, Task

_PASS = 2**19  # numbers of one product of matrices: they stay in the processor's cache
_WIDEST = 2048  # inputs of a layer whose moments are decomposed; beyond, that takes seconds
_SOME = 2**23  # numbers behind the guess
_MOST = 2**29  # numbers to hold
_SAME = 1e-4  # of the largest logit: other kernels round otherwise

Vector = Float[Tensor, " k"]
Weights = Float[Tensor, "c d"]
Rows = Float[Tensor, "_ d"]


@dataclass(frozen=True, eq=False)
class Readout:
    """A linear layer, what it reads of some samples, and a batch that knows their labels."""

    model: nn.Module
    layer: nn.Linear
    ordered: Ordered
    task: Task
    rows: tuple[Rows, ...]  # in chunks, with a last column of ones for the bias, if any
    batch: Batch  # of all samples, without inputs

    @classmethod
    def of(
        cls, model: nn.Module, case: Case, ordered: Ordered, ids: Int[Tensor, " n"]
    ) -> "Readout | None":
        """Read the samples; None for any other model, or for too many numbers."""
        layer, rows, batches = _layer(model, ordered), [], []
        if layer is None or layer.in_features > _WIDEST or len(ids) * layer.in_features > _MOST:
            return None
        for some in ids.sort().values.split(max(1, _PASS // layer.in_features)):
            batch = case.retain.take(some)
            read = _read(model, layer, case.task, batch)
            if read is None:
                return None
            rows.append(read)
            batches.append(_bare(case.task, batch, read))
        if any(batch is None for batch in batches):
            return None
        return cls(model, layer, ordered, case.task, tuple(rows), reduce(case.task.join, batches))

    @property
    def count(self) -> int:
        """How many samples were read."""
        return sum(map(len, self.rows))

    def gradient(self) -> Vector:
        """The gradient of the mean loss, in double precision."""
        w = self._weights.double()  # a certificate must not rest on roundings
        return self._summed(self._slope(w)[1], w)

    def bend(self, *, rough: bool, ridge: float) -> tuple[Product, Product]:
        """What multiplies by the curvature here, and by nearly its inverse with a ridge.

        Roughly is in fp32.
        """
        w = self._weights.float() if rough else self._weights
        logits, slope = self._slope(w, twice=True)

        def bent(shift: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
            return grad(slope, logits, shift, retain_graph=True)[0]

        units = torch.eye(len(w)).to(logits)
        mean = torch.stack([bent(unit.expand_as(logits)).sum(0) for unit in units])
        guess = kronecker.inverse(kronecker.spectrum(mean), self._moments, ridge)
        return (
            lambda v: self._summed(bent(self._said(self._matrix(v).to(w))), w).to(v),
            lambda v: self._vector(guess(self._matrix(v))),
        )

    @cached_property
    def _moments(self) -> kronecker.Spectrum:
        rows = torch.cat([rows.float() for rows in self.rows[: _SOME // _PASS]])
        return kronecker.spectrum(rows.mT @ rows / len(rows))

    def _slope(
        self, w: Weights, *, twice: bool = False
    ) -> tuple[Float[Tensor, "n c"], Float[Tensor, "n c"]]:
        """Logits, and the gradient of the mean loss in them."""
        with torch.enable_grad():
            logits = self._said(w).requires_grad_()
            loss = self.task.loss(Saying(logits), self.batch).mean()
            return logits, grad(loss, logits, create_graph=twice)[0]

    def _said(self, w: Weights) -> Float[Tensor, "n c"]:
        """What weights make of the rows; this way round is faster."""
        return torch.cat([w @ rows.to(w).mT for rows in self.rows], 1).mT

    def _summed(self, slope: Float[Tensor, "n c"], w: Weights) -> Vector:
        """A gradient in the logits as one in the weights."""
        total, parts = torch.zeros_like(w), slope.detach().split([*map(len, self.rows)])
        for part, rows in zip(parts, self.rows, strict=True):
            total.addmm_(part.mT, rows.to(w))
        return self._vector(total)

    @property
    def _weights(self) -> Weights:
        return self._matrix(self.ordered.place(self.model))

    def _matrix(self, v: Vector) -> Weights:
        """Weights, and a last column for the bias, in whatever order the optimizer had them."""
        pieces = v.split([len(at) for at in self.ordered.block.positions.values()])
        named = zip(self.ordered.names, pieces, strict=True)
        columns = sorted(named, key=lambda pair: pair[0].endswith("bias"))
        return torch.cat([piece.view(self.layer.out_features, -1) for _, piece in columns], 1)

    def _vector(self, m: Weights) -> Vector:
        weight, bias = m[:, : self.layer.in_features], m[:, self.layer.in_features :]
        parts = [bias if name.endswith("bias") else weight for name in self.ordered.names]
        return torch.cat([part.flatten() for part in parts])


def _layer(model: nn.Module, ordered: Ordered) -> nn.Linear | None:
    """The linear layer whose weight, and bias if it has one, are all that learns."""
    names = {name.rpartition(".")[0] for name in ordered.names}
    found = model.get_submodule(names.pop()) if len(names) == 1 else None
    if type(found) is not nn.Linear:  # a subclass may calculate what it likes
        return None
    own = {"weight"} if found.bias is None else {"weight", "bias"}
    learns = {name.rpartition(".")[2] for name in ordered.names}
    return found if learns == own else None


@torch.no_grad()
def _read(model: nn.Module, layer: nn.Linear, task: Task, batch: Batch) -> Rows | None:
    """What the layer reads, if it is asked once and its outputs are the answers."""
    seen: list[tuple[Tensor, ...]] = []
    with layer.register_forward_pre_hook(lambda _, x: seen.append(x)):
        logits = task.answer(model, batch).logits
    if [len(x) for x in seen] != [1] or logits.ndim != 2:
        return None
    rows = seen[0][0].flatten(1)
    if rows.shape != (len(logits), layer.in_features) or not _close(layer, rows, logits):
        return None
    coarse = rows.float()
    rows = coarse if torch.equal(coarse.to(rows), rows) else rows  # nothing is lost
    return rows if layer.bias is None else F.pad(rows, (0, 1), value=1.0)


def _close(layer: nn.Linear, rows: Float[Tensor, "n i"], logits: Float[Tensor, "n c"]) -> bool:
    """Whether the layer makes these logits of these rows, and nobody changed either."""
    apart = (F.linear(rows, layer.weight, layer.bias) - logits).abs().max()
    return bool(apart <= _SAME * logits.abs().max())


def _bare(task: Task, batch: Batch, rows: Rows) -> Batch | None:
    """The batch without its inputs; None if the labels went with them."""
    if type(task) not in (Classification, MultiLabel, Regression):
        return None
    if not isinstance(task.inputs(batch), Tensor):
        return None
    try:
        bare = task.with_inputs(batch, rows[:, :0])
        same = torch.equal(task.labels(bare), task.labels(batch))
    except (ExpungeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
        return None
    return bare if same else None
