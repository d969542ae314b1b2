"""Closed-form heads: classifiers made of sums, from which samples are subtracted exactly.

Cao and Yang, "Towards Making Systems Forget with Machine Unlearning", 2015, keep a model as sums
over samples, so that to forget is to subtract. Here it is the head of a network: ridge regression
of the classes, linear discriminants, nearest centroids, naive Bayes with Gaussians, or nearest
neighbours, on the features before the last Linear. What differs: features are those of a network
that is held; samples are always read in the same blocks of the training set, so that what is
subtracted was added, bit for bit but for the rounding of double precision.

``prepare`` makes the model: it puts such a head in place of the last Linear. A model that was not
prepared gets one that is fitted to the retain set alone. Nearest neighbours keep the features of
all samples in the model, in their order; those of the forget set leave no gap. Who is in the head
the model knows in memory; its state leaves that out as soon as it was unlearned. A head that is
frozen is refused.

The head is exact; features that were learnt from the forget set know what they knew. It costs a
forward pass of the blocks that hold somebody who leaves, then microseconds for the sums, and a
system as large as the features for ridge and lda. A head that is no Linear is not found by
``layer="auto"``: for metrics of features, name the layer before it.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from expunge.algebra import tallies
from expunge.erasing.inserting import replaced
from expunge.errors import ModelDoesNotFit
from expunge.method import Case, Method
from expunge.reheading import found, parted, plain, read, silent
from expunge.splitting import Data, Part
from expunge.tasks import Kind, Task

Head = Literal["ridge", "lda", "centroid", "bayes", "neighbours"]


@dataclass(frozen=True)
class ClosedForm(Method):
    """Subtract samples from a head that is made of sums; exact, and nothing is trained."""

    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)
    reshapes: ClassVar[bool] = True

    kind: Head = "lda"  # of a head that is made; one that is there stays what it is
    shrink: float = 0.01  # of the mean variance, added to all, for ridge, lda and bayes
    near: int = 5  # neighbours that are asked

    def prepare(self, model: nn.Module, data: Data, *, task: Task) -> nn.Module:
        """The model with a head of sums in place of its last Linear, changed in place."""
        part = data if isinstance(data, Part) else Part.whole(data)
        old = plain(model, task, part.source)
        x, y = read(model, old, task, part.source, part.indices)
        head = _Sums(self, len(part.source), old.out_features, x.shape[1]).to(x.device)
        head.take_in(part.indices, x, y.long())
        return replaced(model, old, head)

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        head, source = found(model, _Sums), case.retain.part.source
        if head is None:
            case.report.note("the head was not one of sums: it is made of the retain set alone")
            return silent(self.prepare(model, case.retain.part, task=case.task))
        leaves, stays = parted(head.present, case)
        if not len(stays):
            raise ModelDoesNotFit("nobody would stay in the head", hint="delete the model instead.")
        if len(leaves):
            head.take_out(leaves, *read(model, head, case.task, source, leaves))
        case.report.note(
            f"{len(leaves):,} samples were taken out of {head.kind}, {len(stays):,} stay"
        )
        return silent(model)


class _Sums(nn.Module):
    """A head that knows of whom it is: a function of sums over them, or of their features."""

    private: ClassVar[tuple[str, ...]] = ("present",)
    grows: ClassVar[tuple[str, ...]] = ("rows", "labels")  # as long as there are samples in it
    present: Tensor
    rows: Tensor
    labels: Tensor
    square: Tensor
    linear: Tensor
    height: Tensor

    def __init__(self, how: ClosedForm, samples: int, classes: int, width: int) -> None:
        super().__init__()
        self.kind, self.shrink, self.near, self.classes = how.kind, how.shrink, how.near, classes
        self.register_buffer("present", torch.zeros(samples, dtype=torch.bool))
        none = torch.zeros(0, width, dtype=torch.double), torch.zeros(0, dtype=torch.long)
        if self.kind == "neighbours":
            self.register_buffer("rows", none[0])
            self.register_buffer("labels", none[1])
            return
        for name, value in tallies.tally(self.kind, *none, classes).items():
            self.register_buffer(name, value)
        for name, shape in (("square", (width, classes)), ("linear", (width, classes)),
                            ("height", (classes,))):  # fmt: skip
            self.register_buffer(name, torch.zeros(shape, dtype=torch.double))

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        rows = x.flatten(1).double()
        if self.kind == "neighbours":
            said = tallies.neighbourly(
                rows, self.rows, self.labels, near=self.near, classes=self.classes
            )
        else:
            solved = self.square, self.linear, self.height
            said = tallies.logits(rows, solved, self.get_buffer("counts") > 0)
        return said.to(x)

    def take_in(self, ids: Int[Tensor, " m"], x: Float[Tensor, "m d"], y: Tensor) -> None:
        """Add samples."""
        self._change(ids, x, y, 1)

    def take_out(self, ids: Int[Tensor, " m"], x: Float[Tensor, "m d"], y: Tensor) -> None:
        """Subtract samples."""
        self._change(ids, x, y, -1)

    def _change(self, ids: Tensor, x: Tensor, y: Tensor, sign: Literal[1, -1]) -> None:
        places, there = ids.to(self.present.device), self.present.nonzero().flatten()
        self.present[places] = sign > 0
        if self.kind == "neighbours":
            new = (x, y.long(), places) if sign > 0 else (x[:0], y[:0].long(), places[:0])
            stay = ~torch.isin(there, places)
            order = torch.cat([there[stay], new[2]]).argsort()
            self.rows = torch.cat([self.rows[stay], new[0]])[order]
            self.labels = torch.cat([self.labels[stay], new[1]])[order]
            return
        told = tallies.tally(self.kind, x, y.long(), self.classes)
        for name, value in told.items():
            self.get_buffer(name).add_(sign * value)
        now = {name: self.get_buffer(name) for name in told}
        found = tallies.solution(self.kind, now, self.shrink)
        for name, value in zip(("square", "linear", "height"), found, strict=True):
            self.get_buffer(name).copy_(value)
