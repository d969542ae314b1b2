"""Whether a model is as often right as it says.

Of the answers given with 80 % confidence, four fifths should be right. The expected calibration
error sorts answers into bins of equal width by their confidence, and takes the distance between
mean confidence and accuracy of every bin, by its share of the answers. It has a floor above zero
even for a model that says the truth, as bins have few samples; Brier's score and the log-loss have
no bins, and are smallest for who says the truth.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expunge.algebra.resampling import stratified
from expunge.algebra.statistics import Interval


class Reliability(NamedTuple):
    """What was said and what was true, in every bin that has an answer."""

    confidence: Float[Tensor, " b"]
    accuracy: Float[Tensor, " b"]
    share: Float[Tensor, " b"]

    @property
    def error(self) -> float:
        """The expected calibration error."""
        return float((self.share * (self.confidence - self.accuracy).abs()).sum())


def reliability(p: Float[Tensor, "n c"], labels: Int[Tensor, " n"], bins: int) -> Reliability:
    """How right the likeliest classes are, by how likely they are said to be."""
    said, right, inside = _binned(p, labels, bins)
    counts = inside.sum(0)
    met = counts > 0
    mean, accuracy = ((each @ inside)[met] / counts[met] for each in (said, right))
    return Reliability(mean, accuracy, counts[met] / len(p))


def calibration_error(p: Float[Tensor, "n c"], labels: Int[Tensor, " n"], bins: int) -> Interval:
    """The expected calibration error, and where it lies.

    Samples drawn again stray from those at hand as these do from all, and so does the error, which
    grows by it. Its interval is therefore turned over: as far below as drawn again it lies above.
    """
    said, right, inside = _binned(p, labels, bins)
    apart = (said - right)[:, None] * inside
    found = stratified(lambda weights: (weights @ apart).abs().sum(1) / len(p), len(p))
    low, high = 2 * found.value - found.high, 2 * found.value - found.low
    return Interval(found.value, min(found.value, max(0.0, low)), max(found.value, high))


def brier(p: Float[Tensor, "n c"], labels: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Squared distance of every answer from the truth: 0 to 2."""
    truth = torch.zeros_like(p).scatter(1, labels[:, None], 1.0)
    return (p - truth).double().square().sum(1)


def _binned(
    p: Float[Tensor, "n c"], labels: Int[Tensor, " n"], bins: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Confidence, hits, and a column of zeros and ones for every bin."""
    confidence, said = p.double().max(1)
    at = (confidence * bins).ceil().long().clamp(1, bins) - 1
    inside = torch.zeros(len(p), bins).double().scatter(1, at[:, None], 1.0)
    return confidence, (said == labels).double(), inside
