"""LEACE: the smallest edit of the features after which no affine probe reads an attribute.

Belrose, Schneider-Joseph, Ravfogel, Cotterell, Raff and Biderman, "LEACE: Perfect Linear Concept
Erasure in Closed Form", 2023. An affine layer is put where the task reads features. What differs:
by itself it looks inside each class of the task, so that what a label tells about the attribute
may stay, and the task need not pay for it; several attributes, of groups or numbers, go at once;
answers may be missing; features that hardly ever vary are held at their means, where a trace of
the attribute would be all that they show; and the linear head, where it reads these features, is
fitted again.

The promise is exact and narrow. It holds for the samples that were seen, at this one layer, for
probes that are affine: an attribute that features code by a parity survives, and what lies before
the layer knows all that it knew. Each class takes as many directions as it has groups, less one,
whether a group there has a thousand members or one; ``condition_on="nothing"`` takes no more than
one class would, and leaves what each class tells in a way of its own.

Features of samples that a network knows by heart are unlike those of others, and what is erased
on them is not all that others show. ``views`` shows every sample as training never did.

It costs one forward pass of every retained sample, and no gradient of the model.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from expunge.algebra.erasure import erase
from expunge.erasing import Plan, Views, take_out
from expunge.method import Case, Method
from expunge.request import Attribute, Target


@dataclass(frozen=True)
class Leace(Method):
    """Erase attributes from the features in closed form, moving them as little as can be."""

    handles: ClassVar[tuple[type[Target], ...]] = (Attribute,)
    reshapes: ClassVar[bool] = True

    condition_on: Literal["task", "nothing"] = "task"  # task: inside each class of it
    rare: int = 20  # samples; features that fewer make vary, and less than 5%, are held
    refit: bool = True  # the linear head, on the erased features of all retained samples
    l2: float = 1e-3  # penalty on its weights, for features of a mean variance of one
    views: Views | None = None  # shows batches as training did not: mirrored, say; None: as it did

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        penalty = self.l2 if self.refit else None
        plan = Plan(erase, self.condition_on == "task", self.rare, penalty, self.views)
        return take_out(model, case, plan)
