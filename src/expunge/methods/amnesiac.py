"""Amnesiac: take back every recorded step whose batch held a forgotten sample.

Graves, Nagisetty and Ganesh, "Amnesiac Machine Learning", 2021. The updates of those batches are
subtracted from the weights, with all that their other samples did, and epochs on the retain set
repair the loss. What differs: updates are not stored but retraced from a history, from where it
begins, from its gradients, and from how the optimizer was set; BatchNorm statistics are averaged
anew over retained samples.

Later steps answered to what is taken back, and still do: this equals retraining in no way. Where
forgotten samples lie in most batches, most of the training goes, and repairing is retraining. A
note says how many steps those were. Steps before the history begins cannot be taken back.

It needs a history of SGD with gradients: `record(..., gradients="fp32", keep=...)`. It costs no
pass but those of the repair: one forward and backward pass of the retain set an epoch. It handles
samples and classes, in any task.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from torch import nn

from expunge.descending import Descent, epochs, mean_loss
from expunge.errors import HistoryDoesNotFit
from expunge.history import History
from expunge.method import Case, Method
from expunge.recording.pretending import pretended
from expunge.retracing.belonging import check_data, check_model, check_request
from expunge.retracing.path import Ordered, Window, retrace
from expunge.retracing.renewing import live, renew
from expunge.retracing.replaying import absent


@dataclass(frozen=True)
class Amnesiac(Method):
    """Subtract the recorded updates of batches that held forgotten samples, and repair."""

    half: ClassVar[bool] = True

    history: Path | str  # the folder that `expunge.record` or Fit(record=...) filled
    repair: int = 5  # passes over the retain set, afterwards
    lr: float = 0.05  # learning rate of SGD in the repair, constant
    momentum: float = 0.9  # of SGD
    weight_decay: float = 5e-4  # pull of every weight towards zero

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        history = History.open(self.history)
        check_data(history, case)
        if history.optimizer != "sgd" or history.gradients is None:
            raise HistoryDoesNotFit(
                f"history {history.folder} is of {history.optimizer}, "
                f"with gradients={history.gradients or 'none'}: its updates cannot be told",
                hint='record SGD with gradients="fp32", or use mini, which can replay.',
            )
        window = Window.last(history, len(history.steps))
        check_model(history, window.start, model)
        check_request(window, case, absent(case, history.size))
        norms = live(model, window.start.model)
        _subtract(model, case, history, window)
        renew(model, norms, case.retain, case.task)
        if self.repair:
            descent = Descent.of(
                model, case, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay
            )
            epochs(descent, self.repair, mean_loss(model.train(), case))
        return model

    @classmethod
    def example(cls, folder: Path, model: nn.Module, case: Case) -> "Amnesiac":
        """Record a few steps that lead to the contract suite's toy."""
        data, to = case.retain.part.source, folder / "history"
        return cls(pretended(model, data, case.task, to, gradients="fp32"))


def _subtract(model: nn.Module, case: Case, history: History, window: Window) -> None:
    """Take the updates of every batch that held somebody who leaves off the weights."""
    gone, ordered = absent(case, history.size), Ordered.of(history, model)
    place, taken = ordered.place(model), 0
    for passed in retrace(window, ordered, place.clone()):
        if gone[passed.ids].any():
            place, taken = place - (passed.after.place - passed.before.place), taken + 1
    ordered.put(model, place)
    case.report.note(f"{taken:,} of {len(window.steps):,} recorded steps were taken back")
