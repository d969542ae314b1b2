"""DeltaGrad: take a recorded run again, most of its gradients being told by a few of them.

Wu, Dobriban and Davidson, "DeltaGrad: Rapid Retraining of Machine Learning Models", 2020. Every
recorded step is taken again without the forget set. Its gradient where the new run stands is the
recorded one, and what moves so far have shown of the curvature, by L-BFGS; only that of the forget
set is really taken, and once in ``every`` steps (the paper's T0), and in the ``first`` ones (j0),
that of the whole batch. What differs: momentum, weight decay and schedules are followed as they
were recorded; pairs that show no curvature upwards are not remembered; a batch that leaves as a
whole is a step that is not made; and where answers are not affine in what learns, every gradient is
taken unless ``every`` is set. There, approximations were seen to end in numbers that are not
finite, and exact steps cost more than retraining.

Made for strongly convex losses. Elsewhere errors can grow, and a note says if they did. The history
must hold the gradients of SGD from the first step on, of a run without dropout, augmentation or
BatchNorm in training mode: ``expunge.record(..., keep=steps, gradients="fp32")``. It costs the
gradients of the forget set in every step, and of whole batches in one of ``every``: with 1, it is
the run itself without the forget set.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from expunge.algebra.lbfgs import Memory
from expunge.errors import BadSetting, HistoryDoesNotFit
from expunge.history import History, Step
from expunge.method import Case, Method, learning
from expunge.recording.pretending import pretended
from expunge.retracing.belonging import check_data, check_model, check_request
from expunge.retracing.path import Ordered, Window
from expunge.retracing.propagating import Road, carry, spoken
from expunge.retracing.replaying import absent
from expunge.retracing.settling import affine

_CONVEX = 5  # steps from one exact gradient to the next, where answers are affine in what learns


@dataclass(frozen=True)
class DeltaGrad(Method):
    """Take a recorded run again without the forget set, with most gradients approximated."""

    history: Path | str  # the folder that `expunge.record` or Fit(record=...) filled
    every: int | None = None  # steps from one exact gradient to the next; None: 5 or 1, by model
    first: int = 10  # steps at first that are exact
    pairs: int = 2  # of moves and changes that tell of the curvature

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        learning(model)
        if 0 in (self.every, self.pairs):
            raise BadSetting("every or pairs is 0", hint="they must be positive.")
        history = History.open(self.history)
        check_data(history, case)
        check_model(history, history.start(history.starts[0]), model)
        _check_followable(history)
        ordered = Ordered.of(history, model)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in ordered.names)
        window = Window.last(history, len(history.steps))
        gone = absent(case, history.size)
        check_request(window, case, gone)
        every = self.every or (_CONVEX if affine(model, case, ordered) else 1)
        case.report.settled({"every": every} if self.every is None else {})
        memory = Memory(every, self.first, self.pairs)
        road = Road(model, case, ordered, gone, "delta", memory=memory)
        factor = carry(road, window)
        case.report.note(spoken("delta", factor, tail=False))
        asked, whole = road.tally["gradients"], sum(map(len, map(_seen, window.steps)))
        case.report.note(
            f"{asked:,} gradients of samples in {len(window.steps):,} steps; the run took {whole:,}"
        )
        return model

    @classmethod
    def example(cls, folder: Path, model: nn.Module, case: Case) -> "DeltaGrad":
        """Record a few steps that hardly move the contract suite's toy."""
        data, to = case.retain.part.source, folder / "history"
        return cls(pretended(model, data, case.task, to, lr=1e-6, gradients="fp32", mode=False))


def _seen(step: Step) -> Tensor:
    return torch.cat(step.ids)


def _check_followable(history: History) -> None:
    """Refuse a run whose steps are not those of SGD on the data as they are, from the first on."""
    unmet = {
        "it was not trained by SGD": history.optimizer == "sgd",
        "it keeps no gradients": history.gradients is not None,
        "it was trained with augmentation or a penalty": not history.beside,
        "it does not begin with the first step": history.steps[0].number == 0,
    }
    why = [text for text, holds in unmet.items() if not holds]
    if why:
        raise HistoryDoesNotFit(
            f"history {history.folder} cannot be followed: {'; '.join(why)}",
            hint='record with gradients="fp32" and keep as large as the run, or use mini.',
        )
