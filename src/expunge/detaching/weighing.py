"""How much each term weighs: what to keep of the inputs, what of the task, and what must go."""

from dataclasses import dataclass
from math import tanh

from expunge.errors import BadSetting


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of three terms, each measured in what there is to know of it."""

    keep_x: float = 0.5  # of the inputs: the share of their variance that a decoder misses
    keep_y: float = 0.5  # of the task: its loss, as a share of that of who knows no inputs
    strength: float = 1.0  # of the attribute: what critics know, as a share of its entropy

    def __post_init__(self) -> None:
        """Refuse weights with which nothing would be learned."""
        if self.keep_y <= 0 or self.keep_x < 0 or self.strength < 0:
            raise BadSetting(
                f"keep_x = {self.keep_x}, keep_y = {self.keep_y}, strength = {self.strength}",
                hint="keep_y must be positive, and no weight negative.",
            )

    @classmethod
    def of_paper(cls, alpha: float, beta: float, gamma: float) -> "Weights":
        """The same from the paper's alpha, beta and gamma.

        There -alpha (1 - beta) I(h, x) - alpha beta I(h, y) - alpha (beta - gamma) I(h, z) is to be
        small. With gamma at beta the attribute is left alone, and below it is *kept*.
        """
        if not (alpha > 0 and 0 < beta < 1):
            raise BadSetting(
                f"alpha = {alpha}, beta = {beta}: inputs and task would not both be kept",
                hint="alpha must be positive, and beta lie between 0 and 1.",
            )
        if gamma <= beta:
            raise BadSetting(
                f"gamma = {gamma} is not above beta = {beta}: the attribute would "
                f"{'be left alone' if gamma == beta else 'be protected instead of removed'}",
                hint="the strength of the removal is alpha (gamma - beta): raise gamma.",
            )
        return cls(alpha * (1 - beta), alpha * beta, alpha * (gamma - beta))

    def at(self, depth: float) -> "Weights":
        """The weights at a share of the depth: early features keep inputs, late ones the rest."""
        return Weights((2 - depth) * self.keep_x, depth * self.keep_y, depth * self.strength)


def ramp(step: int, over: int) -> float:
    """The share of its strength with which an attribute is pushed out: nothing at first."""
    return tanh(5 * step / over) if step < over else 1.0
