"""Mean projection: remove the directions in which the means of an attribute's groups differ.

An orthogonal projection, older than any paper that could be named for it, and the plain rival of
LEACE: the layer, the notes and the promise are the same, and so are the settings. Only the map is
another. It removes the differences as they are, without regard to how the features vary, so that
it takes as many directions and moves the samples farther; nothing else is asked of the data than
means, which few samples already tell.

It costs one forward pass of every retained sample, and no gradient of the model.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from expunge.algebra.erasure import project
from expunge.erasing import Plan, Views, take_out
from expunge.method import Case, Method
from expunge.request import Attribute, Target


@dataclass(frozen=True)
class MeanProjection(Method):
    """Project the features along the differences between the means of an attribute's groups."""

    handles: ClassVar[tuple[type[Target], ...]] = (Attribute,)
    reshapes: ClassVar[bool] = True

    condition_on: Literal["task", "nothing"] = "task"  # task: inside each class of it
    rare: int = 20  # samples; features that fewer make vary, and less than 5%, are held
    refit: bool = True  # the linear head, on the projected features of all retained samples
    l2: float = 1e-3  # penalty on its weights, for features of a mean variance of one
    views: Views | None = None  # shows batches as training did not: mirrored, say; None: as it did

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        penalty = self.l2 if self.refit else None
        plan = Plan(project, self.condition_on == "task", self.rare, penalty, self.views)
        return take_out(model, case, plan)
