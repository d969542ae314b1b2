"""How long something lasts, where not everybody was watched to the end.

Who was watched for so long without its happening is *censored*: it lasts longer than that, and
nobody knows how much. To count that length as the end would be too short, and to leave it out would
be worse. The product-limit estimate (Kaplan and Meier, Nonparametric Estimation from Incomplete
Observations, 1958) uses what is known: that it had not happened until then.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Curve = tuple[Float[Tensor, " t"], Float[Tensor, " t"]]
"""Moments at which it happened to somebody, and the share to whom it had not happened by then."""


def lasting(times: Float[Tensor, " n"], ended: Bool[Tensor, " n"]) -> Curve:
    """The share for whom it lasts longer, by the moments at which it ended for somebody."""
    moments = times[ended].double().unique()
    still = (times.double() >= moments[:, None]).sum(1)
    ends = (times[ended].double() == moments[:, None]).sum(1)
    return moments, (1 - ends / still.double()).cumprod(0)


def median(times: Float[Tensor, " n"], ended: Bool[Tensor, " n"]) -> float | None:
    """When it had ended for half; None if that lies beyond all that was watched."""
    moments, shares = lasting(times, ended)
    over = moments[shares <= 0.5 + 1e-12]
    return over[0].item() if len(over) else None


def restricted_mean(times: Float[Tensor, " n"], ended: Bool[Tensor, " n"], horizon: float) -> float:
    """How long it lasts on average, of which no more than the horizon counts.

    It is the area below the curve, and compares what was watched unequally long.
    """
    moments, shares = lasting(times, ended)
    inside = moments < horizon
    edges = torch.cat([torch.zeros(1), moments[inside], torch.tensor([horizon])]).double()
    heights = torch.cat([torch.ones(1).double(), shares[inside]])
    return float(edges.diff() @ heights)
