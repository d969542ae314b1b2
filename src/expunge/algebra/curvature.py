"""Curvature of a loss over a block of parameters, and steps that divide by it.

Products come from differentiating twice, so nothing of the block's size squared is made unless it
is asked for. Every solver adds the damping λ to the diagonal, calculates in double precision, and
says how much of the right-hand side its solution misses.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import grad
from torch.nn.attention import SDPBackend, sdpa_kernel

from expunge.algebra.parameters import Block
from expunge.errors import BadSetting

Product = Callable[[Float[Tensor, " k"]], Float[Tensor, " k"]]
"""A symmetric matrix, known by what it does to a vector."""

Loss = Callable[[], Float[Tensor, ""]]
"""Computes a loss, with a graph of its own at every call."""

Linearised = tuple[Float[Tensor, "n c"], Callable[[Tensor], Tensor]]
"""Logits with their graph, and the product with every sample's Hessian of the loss in them."""

Term = Callable[[Sequence[Tensor], Sequence[Tensor]], Sequence[Tensor]]
"""One summand of a product: from parameters and a direction in them to what it becomes."""

_COPIES = 3  # a matrix, its damped copy and their factor
_CLEARLY = 1e-3  # of the largest eigenvalue; what is less negative is rounding


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """A damped solution, how much of the right-hand side it misses, and what it took."""

    x: Float[Tensor, " k"]
    residual: float  # length of b - (A + λI)x as a share of that of b
    rounds: int  # of conjugate gradients; a direct solver takes none
    upwards: bool = True  # False: a direction curves downwards, and x may lead the wrong way


def hessian(losses: Sequence[Loss], parameters: Mapping[str, Tensor], block: Block) -> Product:
    """The product with the Hessian of the sum of these losses.

    Each product computes every loss anew, so that one graph is held at a time.
    """
    return _product([partial(_bend, loss) for loss in losses], parameters, block)


def gauss_newton(
    answers: Sequence[Callable[[], Linearised]], parameters: Mapping[str, Tensor], block: Block
) -> Product:
    """The product with the Hessian of a loss whose model is taken as linear: Jᵀ H J, summed.

    J is the Jacobian of the logits, H the Hessian of the loss in them. It is never indefinite
    where H is not.
    """
    return _product([partial(_stretch, answer) for answer in answers], parameters, block)


def in_logits(
    loss: Callable[[Tensor], Float[Tensor, " n"]], logits: Float[Tensor, "n c"]
) -> Float[Tensor, "n c c"]:
    """Hessian of every sample's loss in its own logits."""
    with torch.enable_grad():
        place = logits.detach().requires_grad_()
        (slope,) = grad(loss(place).sum(), place, create_graph=True)
        units = torch.eye(slope.shape[1]).to(slope)
        return torch.stack([_pull([slope], [place], [e.expand_as(slope)])[0] for e in units], 1)


def root(hessians: Float[Tensor, "n c c"]) -> Float[Tensor, "n c c"]:
    """Square matrices S with S Sᵀ = H, for Hessians that bend upwards in every direction."""
    values, vectors = torch.linalg.eigh(hessians.double())
    # A sure answer's Hessian is as small as the rounding of its largest terms, whatever its sign.
    rounding = _CLEARLY * values.max() + 8 * torch.finfo(hessians.dtype).eps
    if values.min() < -rounding:
        raise BadSetting(
            f"the loss bends down in its logits: an eigenvalue is {values.min().item():.2g}, "
            f"the largest {values.max().item():.2g}",
            hint="take the full Hessian, which may be indefinite, or a convex loss.",
        )
    halves: Tensor = vectors * values.clamp_min(0).sqrt()[:, None]
    return halves.to(hessians)


def explicit(product: Product, size: int, *, like: Tensor) -> Float[Tensor, "k k"]:
    """The matrix behind a product, one column at a time."""
    check_memory(size)
    matrix = like.new_empty(size, size)
    for i in range(size):
        unit = like.new_zeros(size)
        unit[i] = 1
        matrix[i] = product(unit)
    return (matrix + matrix.T) / 2


def conjugate_gradients(
    product: Product,
    b: Float[Tensor, " k"],
    *,
    damping: float,
    rounds: int = 50,
    tolerance: float = 1e-4,
    preconditioner: Product | None = None,
) -> Solution:
    """Solve by products alone; one more than the rounds is taken, for the true residual.

    It ends early where a direction curves downwards, with the best solution so far: a residual
    above the tolerance tells. ``preconditioner`` is the product with a guess at the inverse.
    """

    def damped(v: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
        return product(v.to(b)).double() + damping * v

    def eased(v: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
        return v if preconditioner is None else preconditioner(v.to(b)).double()

    rest, done = b.double(), 0
    least, x = rest.norm(), torch.zeros_like(rest)
    goal, best, step, upwards = tolerance * least, x, eased(rest), True
    power = rest @ step
    while done < rounds and rest.norm() > goal:
        pulled, done = damped(step), done + 1
        upwards = bool(step @ pulled > 0)
        if not upwards:
            break
        length = power / (step @ pulled)
        x, rest = x + length * step, rest - length * pulled
        if rest.norm() < least:
            least, best = rest.norm(), x
        steep = eased(rest)
        power, last = rest @ steep, power
        step = steep + power / last * step
    return Solution(best.to(b), _missed(b.double() - damped(best), b), done, upwards)


def dense(matrix: Float[Tensor, "k k"], b: Float[Tensor, " k"], *, damping: float) -> Solution:
    """Solve with a symmetric matrix, by Cholesky where that is possible."""
    damped = matrix.to(torch.double, copy=True)
    damped.diagonal().add_(damping)
    x, upwards = _solved(damped, b.double())
    return Solution(x.to(b), _missed(b.double() - damped @ x, b), 0, upwards)


def woodbury(
    rows: Float[Tensor, "m k"],
    b: Float[Tensor, " k"],
    *,
    damping: float,
    signs: Float[Tensor, " m"] | None = None,
) -> Solution:
    """Solve with λI + Rᵀ diag(signs) R on its smaller side, in O(k m + m³) where m < k.

    The signs may be any weights; without them all are one.
    """
    weights = rows.new_ones(len(rows)) if signs is None else signs
    r = rows.to(torch.double, copy=True).mul_(weights.double().abs().sqrt()[:, None])
    sign = torch.where(weights < 0, -1.0, 1.0).to(r)
    if len(r) >= r.shape[1]:
        return dense(r.T * sign @ r, b, damping=damping)
    if not damping:
        raise BadSetting("without damping, few rows are singular", hint="use a larger damping.")
    wanted = b.double()
    inner = r @ r.T + (damping * sign).diag()
    y, upwards = _solved(inner, r @ wanted)
    if bool((sign < 0).any()):  # as many go up in the small matrix as there are positive signs
        upwards = bool((torch.linalg.eigvalsh(inner) > 0).sum() == (sign > 0).sum())
    x = (wanted - r.T @ y) / damping
    missed = _missed(wanted - damping * x - r.T @ (sign * (r @ x)), b)
    return Solution(x.to(b), missed, 0, upwards)


def check_memory(size: int) -> None:
    """Refuse to make a matrix that this machine cannot hold, before it is made."""
    needed, there = _COPIES * 8 * size**2, _memory()
    if needed > there:
        raise BadSetting(
            f"the curvature of a block of {size:,} parameters takes {needed / 2**30:,.1f} GiB, "
            f"and this machine has {there / 2**30:,.1f} GiB",
            hint="choose fewer units, or a solver that needs products alone.",
        )


def _memory() -> float:
    """Bytes in this machine, free or not: what only caches files is given up when needed."""
    if not hasattr(os, "sysconf"):  # Windows does not say
        return torch.inf
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def _product(terms: Sequence[Term], parameters: Mapping[str, Tensor], block: Block) -> Product:
    inputs = {name: parameters[name] for name in block.positions}

    def product(v: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
        along, total = block.scatter(v, inputs), torch.zeros_like(v)
        # The fused kernels of attention have no second derivative.
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            for term in terms:
                found = term([*inputs.values()], [*along.values()])
                total += block.gather(dict(zip(inputs, found, strict=True))).to(v)
        return total

    return product


def _bend(loss: Loss, inputs: Sequence[Tensor], along: Sequence[Tensor]) -> Sequence[Tensor]:
    """How the gradient of a loss changes along a direction."""
    slopes = grad(loss(), inputs, create_graph=True, materialize_grads=True)
    return _pull(slopes, inputs, along)


def _stretch(
    answer: Callable[[], Linearised], inputs: Sequence[Tensor], along: Sequence[Tensor]
) -> Sequence[Tensor]:
    """Jᵀ H J times a direction. A pull back is linear, and its own pull back is J."""
    logits, times = answer()
    weights = torch.zeros_like(logits, requires_grad=True)
    back = grad(logits, inputs, weights, create_graph=True, materialize_grads=True)
    (moved,) = _pull(back, [weights], along)
    return _pull([logits], inputs, [times(moved)])


def _pull(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], weights: Sequence[Tensor]
) -> Sequence[Tensor]:
    """Gradients of weighted outputs; zero where an output depends on no input."""
    pairs = [pair for pair in zip(outputs, weights, strict=True) if pair[0].requires_grad]
    if not pairs:
        return [torch.zeros_like(x) for x in inputs]
    live, weight = zip(*pairs, strict=True)
    return grad(live, inputs, weight, retain_graph=True, materialize_grads=True)


def _solved(
    matrix: Float[Tensor, "k k"], b: Float[Tensor, " k"]
) -> tuple[Float[Tensor, " k"], bool]:
    """The solution by Cholesky, or by LU where the matrix is not positive definite; and which."""
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if not failed:
        return torch.cholesky_solve(b[:, None], factor).squeeze(1), True
    found = torch.linalg.solve_ex(matrix, b)
    if found.info:
        raise BadSetting("the damped curvature is singular", hint="use a larger damping.")
    return found.result, False


def _missed(rest: Float[Tensor, " k"], b: Float[Tensor, " k"]) -> float:
    length = b.double().norm().item()
    return rest.norm().item() / length if length else 0.0
