"""What the only learning layer of a model reads, where its outputs are the model's answers.

Its inputs do not change while it learns: they are read once, and from then on gradients, and
products with the curvature, are products of matrices. A guess at the inverse curvature comes with
them, from which conjugate gradients need a few rounds where they would need a hundred.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd import grad
from torch.nn import functional as F

from expunge.algebra import kronecker, lengths
from expunge.algebra.contraction import Scale
from expunge.algebra.curvature import Product
from expunge.errors import ExpungeError
from expunge.method import Case
from expunge.retracing.path import Ordered
from expunge.stepping import Saying
from expunge.tasks import Batch, Classification, MultiLabel, Regression, Task

_PASS = 2**20  # numbers of one product of matrices: they stay in the processor's cache
_WIDEST = 2048  # inputs of a layer whose moments are decomposed; beyond, that takes seconds
_MOST = 2**29  # numbers to hold
_FEW = 8  # pages behind guesses
_SAME = 1e-4  # of the largest logit: other kernels round otherwise

Vector = Float[Tensor, " k"]
Weights = Float[Tensor, "c d"]
Rows = Float[Tensor, "_ d"]


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """What the layer reads of some samples, and a batch that knows their labels."""

    rows: Rows  # with a last column of ones for the bias, if any
    batch: Batch  # without inputs

    def __len__(self) -> int:
        return len(self.rows)

    def said(self, w: Weights) -> Float[Tensor, "_ c"]:
        """What weights make of the rows; this way round is faster."""
        return (w @ self.rows.to(w).mT).mT


@dataclass(frozen=True, eq=False)
class Readout:
    """A linear layer, and pages of what it reads of some samples, in random order.

    Every page is turned once for a gradient or a product: what it takes is to read them all.
    """

    model: nn.Module
    layer: nn.Linear
    ordered: Ordered
    task: Task
    pages: tuple[Page, ...]

    @classmethod
    def of(
        cls, model: nn.Module, case: Case, ordered: Ordered, ids: Int[Tensor, " n"]
    ) -> "Readout | None":
        """Read the samples; None for any other model, or for too many numbers."""
        layer, pages = _layer(model, ordered), []
        if layer is None or layer.in_features > _WIDEST or len(ids) * layer.in_features > _MOST:
            return None
        order = torch.randperm(len(ids))  # so that the first pages are like all
        for some in ids[order].split(max(1, _PASS // layer.in_features)):
            page = _read(model, layer, case.task, case.retain.take(some))
            if page is None:
                return None
            pages.append(page)
        return cls(model, layer, ordered, case.task, tuple(pages))

    @property
    def count(self) -> int:
        """How many samples were read."""
        return sum(map(len, self.pages))

    def gradient(self) -> Vector:
        """The gradient of the mean loss, in double precision."""
        w = self._weights.double()  # a certificate must not rest on roundings
        return self._pulled(w, (self._slope(page, w)[1] for page in self.pages))

    def bend(self, *, rough: bool, ridge: float) -> tuple[Product, Product]:
        """What multiplies by the curvature here, and by nearly its inverse with a ridge.

        Roughly is in fp32.
        """
        w = self._weights.float() if rough else self._weights
        bends = [_bend(*self._slope(page, w, twice=True)) for page in self.pages]
        few = bends[:_FEW]
        units = torch.eye(len(w)).to(w)
        mean = torch.stack([torch.cat([bent(unit) for bent in few]).sum(0) for unit in units])
        mean *= self.count / sum(map(len, self.pages[:_FEW]))
        guess = kronecker.inverse(kronecker.spectrum(mean), self._moments, ridge)

        def product(v: Vector) -> Vector:
            m, pairs = self._matrix(v).to(w), zip(bends, self.pages, strict=True)
            return self._pulled(w, (bent(page.said(m)) for bent, page in pairs)).to(v)

        return product, lambda v: self._vector(guess(self._matrix(v)))

    def stride(self, step: Vector, slope: Vector, decay: Scale) -> Vector:
        """The same step, each answer at the length of its own that leaves the least loss.

        A class that leaves altogether has far to go, where Newton's method, which takes the loss
        for a parabola, would go one logit at a time. A few samples tell how the loss bends on the
        way; how it begins is known from all of them, by its ``slope``.
        """
        w, along = self._weights.double(), self._matrix(step).double()
        pull = self._matrix(torch.as_tensor(decay).to(step).expand_as(step))
        few = [(page.said(w), page.said(along), page.batch) for page in self.pages[:_FEW]]

        def left(s: Float[Tensor, " c"]) -> Float[Tensor, ""]:
            losses = [self.task.loss(Saying(z - s * change), batch) for z, change, batch in few]
            return torch.cat(losses).mean() + (pull * (w - s[:, None] * along).square()).sum() / 2

        begins = -(self._matrix(slope) * along).sum(1)
        return self._vector(lengths.best(left, begins)[:, None] * along).to(step)

    @cached_property
    def _moments(self) -> kronecker.Spectrum:
        rows = torch.cat([page.rows.float() for page in self.pages[:_FEW]])
        return kronecker.spectrum(rows.mT @ rows / len(rows))

    def _slope(
        self, page: Page, w: Weights, *, twice: bool = False
    ) -> tuple[Float[Tensor, "_ c"], Float[Tensor, "_ c"]]:
        """Logits of a page, and the gradient of its share of the mean loss in them."""
        with torch.enable_grad():
            logits = page.said(w).requires_grad_()
            loss = self.task.loss(Saying(logits), page.batch).sum() / self.count
            return logits, grad(loss, logits, create_graph=twice)[0]

    def _pulled(self, w: Weights, slopes: Iterable[Float[Tensor, "_ c"]]) -> Vector:
        """Gradients in the logits, page by page, as one in the weights."""
        total = torch.zeros_like(w)
        for slope, page in zip(slopes, self.pages, strict=True):
            total.addmm_(slope.detach().mT, page.rows.to(w))
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
def _read(model: nn.Module, layer: nn.Linear, task: Task, batch: Batch) -> Page | None:
    """What the layer reads, if it is asked once and its outputs are the answers."""
    seen: list[tuple[Tensor, ...]] = []
    with layer.register_forward_pre_hook(lambda _, x: seen.append(x)):
        logits = task.answer(model, batch).logits
    if [len(x) for x in seen] != [1] or logits.ndim != 2:
        return None
    rows = seen[0][0].flatten(1)
    if rows.shape != (len(logits), layer.in_features) or not _close(layer, rows, logits):
        return None
    bare = _bare(task, batch, rows)
    if bare is None:
        return None
    coarse = rows.float()
    rows = coarse if torch.equal(coarse.to(rows), rows) else rows  # nothing is lost
    return Page(rows if layer.bias is None else F.pad(rows, (0, 1), value=1.0), bare)


def _bend(
    logits: Float[Tensor, "n c"], slope: Float[Tensor, "n c"]
) -> Callable[[Tensor], Float[Tensor, "n c"]]:
    """How the slope changes with a shift of the logits."""
    return lambda shift: grad(slope, logits, shift.expand_as(logits), retain_graph=True)[0]


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
