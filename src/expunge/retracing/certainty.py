"""What is certain of a model on its way: how far off doing nothing was, and how far it still is.

The certificate bounds the distance to the retrained optimum from above. From below, doing nothing
was off by at least as far as the model has moved, less what is left.
"""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from expunge.retracing.settling import Objective

_RESTLESS = 0.1  # of the retained loss's slope: so steep is everybody's where a run still moves


@dataclass(slots=True, eq=False)
class Certainty:
    """The certificate of doing nothing, and what has happened since."""

    objective: Objective
    unsure: str  # why there is no certificate; empty: there is one
    before: float | None  # the certificate of doing nothing
    unrest: float  # how steep everybody's loss still was, beside that of who stays
    end: Float[Tensor, " k"]  # where the original stands

    @classmethod
    def of(cls, objective: Objective, unsure: str) -> "Certainty":
        """Ask while the model still stands where the run ended."""
        before = objective.certified()
        unrest = objective.unrest() if before else 0.0
        return cls(objective, unsure, before, unrest, objective.place)

    def lose(self, why: str) -> None:
        """From now on nothing is certain."""
        self.unsure, self.before = self.unsure or why, None

    def moved(self) -> float:
        """How far the model is from where it was."""
        return float((self.objective.place - self.end).norm())

    def goal(self, tolerance: float, radius: float | None) -> float:
        """The certificate to reach here, such that what is left is at most so much of the way."""
        return radius or tolerance / (1 + tolerance) * self.moved()

    def settle(self, steps: int, tolerance: float, radius: float | None) -> bool:
        """Polish, say what is certain then, and return whether it is what was asked."""
        report: Any = self.objective.case.report
        if self.before is None:
            report.note(f"no certificate exists: {self.unsure}")
            return False
        report.trace("certificate", 0, self.before)
        if steps and self.unrest > _RESTLESS:
            report.note(
                "the run was not at rest: polish also closes what it left open, which a retraining "
                "of as many steps would not; polish=0 leaves that"
            )
        left = self.objective.settle(steps, lambda: self.goal(tolerance, radius))
        moved, goal = self.moved(), self.goal(tolerance, radius)
        report.note(
            f"the retrained optimum is at most {left:.3g} away; it was "
            f"{max(moved - left, 0.0):.3g} to {min(moved + left, self.before):.3g} away before"
        )
        if left > goal:
            report.note(f"polish ended before it reached a certificate of {goal:.3g}")
        return left <= goal
