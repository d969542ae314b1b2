"""Warm restart: train again on what remains, from an early model that the original run kept.

The plainest use of checkpoints, without a paper of its own. A model that was kept before any step
saw a forgotten sample knows nothing of them, so training it on the retain set is as exact as
retraining, and cheaper by what that model has learnt already. The latest such model is taken. One
that has seen the forgotten is refused, unless ``knowing`` is set: what it took from them then only
fades, as in fine-tuning.

It costs what training by the recipe costs, times ``share``: one forward and backward pass of the
retain set an epoch. The history needs no gradients; record it with ``keep`` as long as the run, and
``every`` for models on the way. It handles samples and classes, in any task.
"""

from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

import torch
from torch import nn

from expunge.errors import BadSetting, HistoryDoesNotFit
from expunge.fitting import Fit, untaped
from expunge.history import History
from expunge.method import Case, Method
from expunge.recipe import Recipe
from expunge.recording.pretending import pretended
from expunge.retracing.belonging import check_data, check_model
from expunge.retracing.replaying import absent


@dataclass(frozen=True)
class WarmRestart(Method):
    """Go back to a recorded model that had not seen the forget set, and train it on the rest."""

    history: Path | str  # the folder that `expunge.record` or Fit(record=...) filled
    recipe: Recipe  # how the original was trained
    share: float = 0.5  # of the epochs of a Fit; another fit runs as it is
    knowing: bool = False  # take the earliest model kept, even if it has seen the forget set

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        history = History.open(self.history)
        check_data(history, case)
        number = _innocent(history, case)
        if number is None and not self.knowing:
            raise HistoryDoesNotFit(
                f"every model that history {history.folder} keeps has seen forgotten samples, or "
                f"may have: the first was kept before step {history.starts[0]}",
                hint="record from the first step on, with keep as long as the run; or set "
                "knowing=true, and audit what is left. SGD without momentum does not tell whether "
                "it had made a step before.",
            )
        if number is None:
            case.report.note("the start had seen forgotten samples: what it knew was only damped")
        start = history.start(history.starts[0] if number is None else number)
        check_model(history, start, model)
        model.load_state_dict(start.model)
        case.report.note(f"restarted from the model before step {start.number:,}")
        return self._shortened().fit(model, case.retain.part)

    def _shortened(self) -> Recipe:
        recipe = untaped(self.recipe)
        if not 0 < self.share <= 1:
            raise BadSetting(f"share is {self.share}", hint="it lies above 0, and is 1 at most.")
        if not isinstance(recipe.fit, Fit):
            return recipe
        count = ceil(self.share * recipe.fit.epochs)
        return replace(recipe, fit=replace(recipe.fit, epochs=count))

    @classmethod
    def example(cls, folder: Path, model: nn.Module, case: Case) -> "WarmRestart":
        """Record two steps on the contract suite's toy that end with its weights."""
        data, to = case.retain.part.source, folder / "history"
        made = pretended(model, data, case.task, to, batch=60, lr=0.1, momentum=0.5)
        return cls(made, Recipe(lambda: model, Fit(epochs=2, task=case.task)))


def _innocent(history: History, case: Case) -> int | None:
    """The latest model kept before any step saw a forgotten sample; None if none is sure."""
    if not history.whole:
        return None
    gone = absent(case, history.size)
    first = next((s.number for s in history.steps if gone[torch.cat(s.ids)].any()), torch.inf)
    return max(number for number in history.starts if number <= first)
