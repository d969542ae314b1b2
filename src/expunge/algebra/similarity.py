"""How alike two models see the same samples, whatever axes their features have.

Rotations, reflections and shifts of the features mean nothing to either index, and neither does
their scale; another linear map does.

Linear CKA (Kornblith, Norouzi, Lee and Hinton, Similarity of Neural Network Representations
Revisited, 2019) calls features of many numbers alike that have nothing in common, unless samples
are ten times as many. Here it is debiased: inner products of a sample with itself are left out, and
what is left is centred so that unrelated features have 0 on average (Song, Smola, Gretton, Bedo and
Borgwardt, Feature Selection via Dependence Maximization, 2012). A few samples that lie far out can
carry it all by themselves (Davari and others, 2023), which the second index, the distance after the
best rotation (orthogonal Procrustes), shows less.
"""

import torch
from jaxtyping import Float
from torch import Tensor

Form = Float[Tensor, "n _"]
"""How samples lie to each other: centred rows of unit size in all, on some axes or others."""


def form(x: Float[Tensor, "n d"]) -> Form:
    """The form of features; all zero where the rows do not differ.

    It has no more axes than samples: further ones are turned into these.
    """
    x = x.double() - x.double().mean(0)
    size = x.norm()
    x = x / size if size > 0 else torch.zeros_like(x)
    return x if x.shape[1] <= len(x) else torch.linalg.qr(x.T).R.T


def debiased_cka(one: Form, other: Form) -> float:
    """1 for the same but for axes, about 0 for unrelated features; four samples at least."""
    a, b = _without_bias(one), _without_bias(other)
    return float((a * b).sum() / (a.norm() * b.norm()))


def procrustes_distance(one: Form, other: Form) -> float:
    """Squared distance after the best rotation: 0 to 2."""
    overlap: Tensor = torch.linalg.svdvals(one.T @ other).sum()
    return max(0.0, 2 - 2 * overlap.item())


def _without_bias(x: Form) -> Float[Tensor, "n n"]:
    """Centred so that the products of two such matrices estimate their dependence without bias."""
    n, k = len(x), x @ x.T
    k = k - torch.diag(k.diagonal())
    rows = k.sum(1, keepdim=True) / (n - 2)
    centred = k - rows - rows.T + k.sum() / ((n - 1) * (n - 2))
    return centred - torch.diag(centred.diagonal())
