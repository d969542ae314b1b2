"""How alike two models see the same samples, whatever axes their features have.

Both indices compare the samples' inner products, so that rotations, reflections and shifts of the
features mean nothing, and neither does their scale; another linear map does.

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

Gram = Float[Tensor, "n n"]
"""Inner products of all samples with each other."""


def gram(x: Float[Tensor, "n d"]) -> Gram:
    """Inner products of centred rows, of trace one; all zero where the rows do not differ."""
    x = x.double() - x.double().mean(0)
    size = x.square().sum()
    return x @ x.T / size if size > 0 else torch.zeros(len(x), len(x), dtype=torch.double)


def debiased_cka(one: Gram, other: Gram) -> float:
    """1 for the same but for axes, about 0 for unrelated features; four samples at least."""
    a, b = _without_bias(one), _without_bias(other)
    return float((a * b).sum() / (a.norm() * b.norm()))


def procrustes_distance(one: Gram, other: Gram) -> float:
    """Squared distance of features of unit size after the best rotation: 0 to 2."""
    overlap: Tensor = torch.linalg.svdvals(_root(one).T @ _root(other)).sum()
    return max(0.0, 2 - 2 * overlap.item())


def _without_bias(k: Gram) -> Gram:
    """Centred so that the products of two such matrices estimate their dependence without bias."""
    n = len(k)
    k = k - torch.diag(k.diagonal())
    rows = k.sum(1, keepdim=True) / (n - 2)
    centred = k - rows - rows.T + k.sum() / ((n - 1) * (n - 2))
    return centred - torch.diag(centred.diagonal())


def _root(k: Gram) -> Gram:
    """Rows whose inner products these are."""
    values, vectors = torch.linalg.eigh(k)
    root: Tensor = vectors * values.clamp_min(0).sqrt()
    return root
