"""The curvature of a linear layer, nearly: against the matrix written out."""

import torch

from expunge.algebra.kronecker import inverse, spectrum

C, D = 3, 5


def square(size, seed):
    half = torch.randn(size, size, generator=torch.Generator().manual_seed(seed)).double()
    return half @ half.T


def guess(outputs, inputs, ridge):
    return inverse(spectrum(outputs), spectrum(inputs), ridge)


def test_the_product_is_that_with_the_inverse_of_the_whole_matrix():
    outputs, inputs, ridge = square(C, 0), square(D, 1), 0.3
    whole = torch.kron(outputs, inputs) + ridge * torch.eye(C * D).double()
    weights = torch.randn(C, D, generator=torch.Generator().manual_seed(2)).double()
    wanted = torch.linalg.solve(whole, weights.flatten()).view(C, D)
    torch.testing.assert_close(guess(outputs, inputs, ridge)(weights), wanted)


def test_what_rounding_made_negative_counts_as_nothing():
    outputs = torch.diag(torch.tensor([1.0, -1e-9, 0.0])).double()
    found = guess(outputs, square(D, 1), 0.5)(torch.ones(C, D).double())
    torch.testing.assert_close(found[1:], torch.full((2, D), 2.0).double())
