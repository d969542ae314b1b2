"""Detachment from the start of training: a penalty for ``Fit``.

``Fit(task=penalty.task, penalty=penalty)`` trains a model whose features never learn to tell the
attribute. The task of the penalty is the given one, and remembers the features of every pass, so
that one pass is enough; with another task each step costs a second one forward. One penalty may
train any number of models, and learns about each from the start. A run that was interrupted goes on
with critics that start anew.
"""

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from expunge.accounting import as_json
from expunge.batching import Batches
from expunge.detaching.holding import Aim, Depth
from expunge.detaching.remembering import Remembering
from expunge.detaching.surveying import Condition, Survey, survey
from expunge.detaching.weighing import ramp
from expunge.method import Case
from expunge.request import Attribute
from expunge.splitting import Data, Part
from expunge.tasks import Batch, Task


@dataclass(slots=True, eq=False)
class _Course:
    """How far one model has come."""

    depth: Depth
    steps: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Penalty:
    """What is added to the loss of every batch, so that features do not tell an attribute."""

    task: Remembering
    survey: Survey
    aim: Aim
    rise: int  # steps until the attribute is pushed out at full strength
    courses: MutableMapping[nn.Module, _Course] = field(
        default_factory=WeakKeyDictionary, repr=False
    )

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        """What the features of the pass that this batch has just made are charged with."""
        if model not in self.courses:
            self.courses[model] = _Course(Depth(self.survey, self.aim))
        course, answer = self.courses[model], self.task.remembered(model, batch)
        course.steps += 1
        return course.depth.loss(answer.embedding, batch, ramp(course.steps - 1, self.rise))

    def describe(self) -> dict[str, Any]:
        """The settings that change what is learnt, as JSON."""
        names = [hidden.name for hidden in self.survey.attributes]
        inside = len(self.survey.alike)
        return {"names": names, "inside": inside, "rise": self.rise, "aim": as_json(self.aim)}


def penalty(
    train: Data,
    task: Task,
    names: Sequence[str],
    *,
    aim: Aim | None = None,
    condition_on: Condition = "task",
    rise: int = 500,
) -> Penalty:
    """A penalty for ``Fit``, from what all who train show about some attributes.

    Args:
        train: The training set: how often every group goes with every label is counted once.
        task: How to read it.
        names: The attributes that features must not tell.
        aim: Weights, estimator and critics; None takes the usual ones.
        condition_on: Whether features may tell what the label tells anyway.
        rise: Steps until the attributes are pushed out at full strength.
    """
    part = train if isinstance(train, Part) else Part.whole(train)
    nobody = Part(part.source, torch.zeros(0, dtype=torch.long))
    targets = tuple(Attribute(name) for name in names)
    case = Case(targets, Batches(nobody), Batches(part), None, task)
    return Penalty(Remembering(task), survey(case, condition_on), aim or Aim(), rise)
