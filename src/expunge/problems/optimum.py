"""Linear classifiers at the one place where their penalised loss is least.

Newton's method. Its systems are solved by conjugate gradients, preconditioned by the product of
two small matrices: the second moment of the rows, and the mean curvature of the classes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from expunge.accounting import as_json
from expunge.batching import Batches
from expunge.errors import BadSetting, Diverged, ModelDoesNotFit
from expunge.observing import device_of
from expunge.splitting import Part
from expunge.tasks import Classification, Task

Weights = Float[Tensor, "c d"]
_STEPS, _TURNS = 100, 500  # of Newton's method, and of conjugate gradients within each


@dataclass(frozen=True)
class Optimum:
    """Train a model's only linear layer to its optimum. Call it like the ``fit`` of a recipe.

    What is least there is the mean cross-entropy, plus half of ``l2`` times the squared length of
    all weights and biases. No chance is involved, and the start does not matter.
    """

    l2: float = 0.01
    tolerance: float = 1e-9  # length of the gradient; divided by l2, it bounds what is left to go
    task: Task = field(default_factory=Classification)

    @torch.no_grad()
    def __call__(self, model: nn.Module, dataset: Dataset[Any]) -> nn.Module:
        """Train ``model`` in place and return it in eval mode."""
        if not self.l2 > 0:
            raise BadSetting(
                f"l2 is {self.l2}, and without a penalty there may be no optimum",
                hint="give an l2 above zero.",
            )
        head, model = _head(model), model.eval()
        parameters = [*head.parameters()]
        columns = [p.reshape(len(p), -1) for p in parameters]
        rows, labels = self._read(model, dataset)
        rows = F.pad(rows, (0, len(parameters) - 1), value=1.0)  # the bias is a weight of ones
        start = torch.cat(columns, 1).double()
        found = minimum(Landscape(rows, labels, self.l2), start, self.tolerance)
        for p, share in zip(parameters, found.split([c.shape[1] for c in columns], 1), strict=True):
            p.copy_(share.view_as(p))
        return model

    def describe(self) -> dict[str, Any]:
        """The settings as JSON."""
        return {f.name: as_json(getattr(self, f.name)) for f in fields(self)}

    def _read(
        self, model: nn.Module, dataset: Dataset[Any]
    ) -> tuple[Float[Tensor, "n d"], Int[Tensor, " n"]]:
        part = dataset if isinstance(dataset, Part) else Part.whole(dataset)  # type: ignore[arg-type]
        rows, labels = [], []
        for batch in Batches(part, 4096, device=device_of(model)):
            rows.append(self.task.answer(model, batch).embedding)
            labels.append(self.task.labels(batch))
        if all(bool(some.isfinite().all()) for some in rows):
            return torch.cat(rows), torch.cat(labels)
        raise Diverged(
            "the linear layer is to read numbers that are not finite",
            hint="look for them in the data, or in the layers before it.",
        )


@dataclass(frozen=True, slots=True, eq=False)
class Landscape:
    """The penalised loss of linear classifiers of these rows, as a function of their weights."""

    rows: Float[Tensor, "n d"]
    labels: Int[Tensor, " n"]
    l2: float

    def height(self, w: Weights) -> float:
        """The loss itself."""
        logits = self.rows.double() @ w.T
        return float(F.cross_entropy(logits, self.labels) + self.l2 / 2 * w.square().sum())

    def look(self, w: Weights) -> tuple[Weights, Float[Tensor, "n c"]]:
        """The gradient, and the chances that the classifier gives every class."""
        rows = self.rows.double()
        chances = (rows @ w.T).softmax(1)
        wrong = chances - F.one_hot(self.labels, len(w))
        return wrong.T @ rows / len(rows) + self.l2 * w, chances


def minimum(land: Landscape, w: Weights, tolerance: float) -> Weights:
    """Where the gradient is no longer than ``tolerance``, by Newton's method from ``w``."""
    coarse = land.rows.float()  # a direction needs few digits; only the gradient needs them all
    moment = (coarse.T @ coarse / len(coarse)).double()
    spectrum = torch.linalg.eigh(moment)
    length = float("inf")
    for _ in range(_STEPS):
        gradient, chances = land.look(w)
        length = float(gradient.norm())
        if length <= tolerance:
            return w
        flatten = preconditioner(spectrum, chances, land.l2)
        bend = curvature(coarse, chances.float(), land.l2)
        w = _descended(land, w, solved(bend, gradient, flatten, min(0.1, length**0.5)))
    raise BadSetting(
        f"the gradient is still {length:.1e} long after {_STEPS} steps of Newton's method, "
        f"and tolerance={tolerance:.1e}",
        hint="raise the tolerance, or l2.",
    )


def curvature(
    rows: Float[Tensor, "n d"], chances: Float[Tensor, "n c"], l2: float
) -> Callable[[Weights], Weights]:
    """The product of the Hessian with a direction, in the precision of the rows."""

    def bend(direction: Weights) -> Weights:
        shift = rows @ direction.to(rows).T
        turned = chances * (shift - (chances * shift).sum(1, keepdim=True))
        return (turned.T @ rows / len(rows)).double() + l2 * direction

    return bend


def preconditioner(
    spectrum: tuple[Float[Tensor, " d"], Float[Tensor, "d d"]],
    chances: Float[Tensor, "n c"],
    l2: float,
) -> Callable[[Weights], Weights]:
    """The inverse of what the Hessian would be if chances did not depend on rows."""
    moments, q = spectrum
    mean = chances.mean(0).diag() - chances.T @ chances / len(chances)
    bends, u = torch.linalg.eigh(mean)
    height = bends.clamp(min=0)[:, None] * moments.clamp(min=0) + l2
    return lambda w: u @ ((u.T @ w @ q) / height) @ q.T


def solved(
    bend: Callable[[Weights], Weights],
    b: Weights,
    flatten: Callable[[Weights], Weights],
    precision: float,
) -> Weights:
    """Solve ``bend(x) = b`` by preconditioned conjugate gradients, to a share of b's length."""
    x, r, z = torch.zeros_like(b), b, flatten(b)
    p = z
    for _ in range(_TURNS):
        bent = bend(p)
        ahead = (r * z).sum()
        step = ahead / (p * bent).sum()
        x, r = x + step * p, r - step * bent
        if float(r.norm()) <= precision * float(b.norm()):
            break
        z = flatten(r)
        p = z + (r * z).sum() / ahead * p
    return x


def _descended(land: Landscape, w: Weights, step: Weights) -> Weights:
    """A step back along ``step``, halved until it does not lead uphill."""
    height = land.height(w) * (1 + 1e-12)  # rounding may look like a hill
    while land.height(w - step) > height and float(step.norm()) > 0:
        step = step / 2
    return w - step


def _head(model: nn.Module) -> nn.Linear:
    found = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if len(found) == 1:
        return found[0]
    raise ModelDoesNotFit(
        f"an optimum is found for one linear layer, but the model has {len(found)}",
        hint="train this model by Fit.",
    )
