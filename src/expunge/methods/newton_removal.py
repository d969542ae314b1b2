"""Newton removal: a certified deletion from a linear head on features that are held.

Guo, Goldstein, Hannun and van der Maaten, "Certified Data Removal from Machine Learning Models",
2020. The head is the optimum of an objective to which a random linear term was added. One Newton
step takes samples out of it, and a bound tells how long a gradient it can leave; as long as all
bounds together stay below σε/√(2 log(1.5/δ)), nobody who sees the head's weights alone can tell
them from those of one that was fitted without them, but for ε and δ. What differs: the bound is
taken from the Taylor remainder of every row, with the steepest change that the logistic loss has,
1/(6√3), in place of 1/4; it holds for rows of any length, and adds what the first fit and the
solver leave. Several classes are one regression each, and their gradients count as one vector.

``prepare`` makes the model: it puts such a head in place of the last Linear. A model that was not
prepared gets one that is fitted to the retain set alone, which is exact, and dear once. So does one
whose budget is spent: that retraining is told in a note, or refused with ``spent="refuse"``.

Who is in the head, and what is spent, the model knows in memory; its state leaves both out as soon
as it was unlearned, for they would tell who left.

It certifies the head, and refuses one that is frozen. Features that were learnt from the same
samples know what they knew; take them from other data, or train them with differential privacy. The
perturbation is drawn from the seed of the run unless it is ``secret``; without that, nothing is
promised.

It costs a forward pass of the training set, and for every few samples that leave together and
each class a system as large as the features.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from expunge.algebra.gaussian import check
from expunge.algebra.noise import secret_normal
from expunge.algebra.removal import Loss, Rows, allowed, fitted, without
from expunge.erasing.inserting import replaced
from expunge.errors import BadSetting
from expunge.method import Case, Method
from expunge.reheading import found, free, parted, plain, read, silent
from expunge.splitting import Data, Part
from expunge.tasks import Kind, Task


@dataclass(frozen=True)
class NewtonRemoval(Method):
    """Take samples out of a linear head by one Newton step, within a certified budget."""

    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)
    reshapes: ClassVar[bool] = True

    loss: Loss = "logistic"  # of every class against the others; ridge: squared errors
    l2: float = 0.1  # the objective: mean loss + l2/2 · |w|², and the perturbation
    sigma: float = 10.0  # deviation of the perturbation of the summed gradient
    at_once: int = 10  # samples in one step: the bound grows with their square; 0: all
    epsilon: float = 1.0  # what the budget promises
    delta: float = 1e-5  # the same
    spent: Literal["refit", "refuse"] = "refit"  # what to do when the budget does not suffice
    secret: bool = False  # draw what nobody can draw again; then no two runs are the same

    def prepare(self, model: nn.Module, data: Data, *, task: Task) -> nn.Module:
        """The model with a certified head in place of its last Linear; its features are held.

        The model is changed in place. Torch's global generator is drawn from.
        """
        check(self.epsilon, self.delta)
        part = data if isinstance(data, Part) else Part.whole(data)
        head = found(model, _Certified)
        old = free(head) if head else plain(model, task, part.source)
        return self._fit(model, old, part, task)

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        check(self.epsilon, self.delta)
        return silent(self._removed(model, case))

    def _removed(self, model: nn.Module, case: Case) -> nn.Module:
        head = found(model, _Certified)
        if head is None:
            case.report.note("the head was not certified: it is fitted to the retain set alone")
            return self._fit(
                model, plain(model, case.task, case.retain.part.source), case.retain.part, case.task
            )
        leaves, stays = parted(free(head).present, case)
        if not len(leaves):
            case.report.note("nothing to do: none of the forget set is in the head")
            return model
        source, most = case.retain.part.source, self._most(head)
        w, used = self._without(model, head, case, leaves, stays)
        if float(used.norm()) > most:
            return self._spent(model, head, case, Part(source, stays), float(used.norm()))
        head.hold(w, used, leaves)
        but = "" if self.secret else ", and if the perturbation were secret: a seed is not"
        case.report.note(
            f"certified: gradients of {used.norm():.3g} at most, of {most:.3g} that are hidden at "
            f"epsilon={self.epsilon} and delta={self.delta}, if no feature was learnt from these "
            f"samples{but}"
        )
        return model

    def _without(
        self, model: nn.Module, head: "_Certified", case: Case, leaves: Tensor, stays: Tensor
    ) -> tuple[Float[Tensor, "e c"], Float[Tensor, " c"]]:
        """The head after a few samples left at a time, and what that has spent in all."""
        ids = torch.cat([leaves, stays])
        x, labels = read(model, head, case.task, case.retain.part.source, ids)
        y, w, used, gone = head.targets(labels), head.w, head.spent, 0
        for some in leaves.split(self.at_once or len(leaves)):
            here, gone = slice(gone, gone + len(some)), gone + len(some)
            w, bound = without(head.rows(x[gone:], y[gone:]), head.rows(x[here], y[here]), w)
            used = used + bound
        return w, used

    def _most(self, head: "_Certified") -> float:
        return allowed(float(head.terms[1]), epsilon=self.epsilon, delta=self.delta)

    def _spent(
        self, model: nn.Module, head: "_Certified", case: Case, part: Part, used: float
    ) -> nn.Module:
        fact = f"retrain required: gradients of {used:.3g} could be left, of {self._most(head):.3g}"
        if self.spent == "refuse":
            raise BadSetting(
                fact, hint='use spent="refit", a larger sigma or l2 at first, or a larger epsilon.'
            )
        case.report.note(f"{fact}; the head was fitted again to those who stay")
        return self._fit(model, head, part, case.task)

    def _fit(self, model: nn.Module, old: nn.Linear, part: Part, task: Task) -> nn.Module:
        x, labels = read(model, old, task, part.source, part.indices)
        head = _Certified(self, old, part)
        rows = head.rows(x, head.targets(labels))
        b = torch.zeros_like(head.w)
        b = self.sigma * (secret_normal(b) if self.secret else torch.randn(b.shape).to(b))
        w, left = fitted(rows, b)
        head.hold(w, left, part.indices[:0])
        return replaced(model, old, head)


class _Certified(nn.Linear):
    """A linear head that knows of whom it is, and what of its budget is spent.

    The perturbation is not kept: beside the weights, it would give away what it hides.
    """

    private: ClassVar[tuple[str, ...]] = ("present", "spent")
    present: Tensor
    spent: Tensor
    terms: Tensor

    def __init__(self, how: NewtonRemoval, old: nn.Linear, part: Part) -> None:
        super().__init__(
            old.in_features, old.out_features, device=old.weight.device, dtype=torch.double
        )
        self.requires_grad_(old.weight.requires_grad)
        present = torch.zeros(len(part.source), dtype=torch.bool)
        present[part.indices] = True
        terms = torch.tensor([how.l2, how.sigma, float(how.loss == "ridge")], dtype=torch.double)
        self.register_buffer("present", present.to(old.weight.device))
        self.register_buffer("spent", self.weight.new_zeros(old.out_features))
        self.register_buffer("terms", terms.to(old.weight.device))

    def forward(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n c"]:
        return super().forward(x.double()).to(x)

    @property
    def w(self) -> Float[Tensor, "e c"]:
        """The weights of every output, its bias last."""
        return torch.cat([self.weight.detach().T, self.bias.detach()[None]])

    @torch.no_grad()
    def hold(self, w: Float[Tensor, "e c"], spent: Float[Tensor, " c"], leaves: Tensor) -> None:
        """Take these weights, what they have spent, and the absence of these samples."""
        self.weight.copy_(w[:-1].T)
        self.bias.copy_(w[-1])
        self.spent.copy_(spent)
        self.present[leaves.to(self.present.device)] = False

    def rows(self, x: Float[Tensor, "n d"], y: Float[Tensor, "n c"]) -> Rows:
        """Samples under the objective that this head is the optimum of."""
        loss: Loss = "ridge" if bool(self.terms[2]) else "logistic"
        return Rows(F.pad(x, (0, 1), value=1.0), y, loss, float(self.terms[0]))

    def targets(self, labels: Shaped[Tensor, " n"]) -> Float[Tensor, "n c"]:
        """One for a sample's own class, and minus one for the others."""
        return 2 * F.one_hot(labels.long(), self.out_features).double() - 1
