"""How far what one network says is from what another says."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def divergence(
    known: Float[Tensor, "n c"], said: Float[Tensor, "n c"], *, heat: float = 1.0
) -> Float[Tensor, " n"]:
    """Kullback-Leibler divergence of the softmax of ``said`` from that of ``known``, in nats.

    Logits are divided by ``heat``, and the result multiplied by its square, so that gradients keep
    their scale.
    """
    told, true = (x.float().div(heat).log_softmax(1) for x in (said, known))
    return heat**2 * F.kl_div(told, true, reduction="none", log_target=True).sum(1)
