"""Noise that hides how far a model still is from the retrained optimum.

Who sees the model can hardly tell it from one that was retrained to the same distance and blurred
alike.
"""

from dataclasses import dataclass

from torch import nn

from expunge.algebra.gaussian import analytic_sigma
from expunge.algebra.noise import secret_normal
from expunge.retracing.path import Ordered


@dataclass(frozen=True, slots=True)
class Promise:
    """A distance that was declared beforehand, and how well it shall be hidden.

    What was measured must not decide, because it tells of the data.
    """

    radius: float
    epsilon: float
    delta: float

    def hide(self, ordered: Ordered, model: nn.Module, *, kept: bool) -> str:
        """Add noise to every number; say what it is worth, if the model is as near as declared."""
        # Two models, each so far from the same place, are at most twice as far apart.
        sigma = analytic_sigma(2 * self.radius, epsilon=self.epsilon, delta=self.delta)
        place = ordered.place(model)
        ordered.put(model, place + sigma * secret_normal(place))
        if not kept:
            return (
                f"heuristic noise, no guarantee (sigma {sigma:.3g}): the certificate is too large"
            )
        return (
            f"assumption_declared: ({self.epsilon}, {self.delta}) beside a model that was "
            f"retrained to a distance of {self.radius:.3g} from its optimum, by noise of sigma "
            f"{sigma:.3g} on every number of both, if a sample's loss is convex"
        )
