"""Whether a history belongs to a model, to its data, to the request and to the task.

A history of another run would take out of the model what was never in it.
"""

from collections.abc import Mapping
from math import prod

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from expunge.errors import HistoryDoesNotFit
from expunge.history import History, Start
from expunge.history.heading import CHANGED
from expunge.method import Case
from expunge.retracing.path import Window
from expunge.storing import digest_tensors

_CLOSE = 0.05  # of a gradient's length: bf16, and other kernels, are no other loss
_ROUNDING = 1e-5  # where a run has come to rest, this is all that is left

_AGAIN = "pass the model, and the training set, that the history was recorded with."


def check_model(history: History, start: Start, model: nn.Module) -> None:
    """Refuse a history of another model: by its shapes, and by the weights that it ended with."""
    recorded, present = _shapes(start.model), _shapes(model.state_dict())
    if recorded != present:
        differ = min(name for name, _ in recorded.items() ^ present.items())
        raise HistoryDoesNotFit(
            f"history {history.folder} recorded {_told(recorded)}, the model has {_told(present)}; "
            f"they differ in {differ!r}",
            hint=_unwrapped(model),
        )
    learnt = _shapes(dict(model.named_parameters()))
    odd = [name for name, shape in history.shapes.items() if learnt.get(name) != shape]
    if odd:
        raise HistoryDoesNotFit(
            f"history {history.folder} recorded {odd[0]!r} of {history.shapes[odd[0]]}, "
            f"the model has {learnt.get(odd[0], 'none')}",
            hint=_unwrapped(model),
        )
    if history.ended == CHANGED:
        raise HistoryDoesNotFit(
            f"weights were changed after the last step that history {history.folder} recorded",
            hint="record again, and load other weights only after the tape is closed.",
        )
    if history.ended not in (None, digest_tensors(model.state_dict())):
        raise HistoryDoesNotFit(
            f"the model has other weights than those that history {history.folder} ended with",
            hint="pass the model as it was when the tape was closed, before anything changed it.",
        )


def check_rules(history: History, *, augmented: bool) -> None:
    """Refuse to go over steps again as if the data had been seen as they are."""
    if "augment" in history.beside and not augmented:
        raise HistoryDoesNotFit(
            f"the run of history {history.folder} was trained with augmentation",
            hint="pass the same function: Mini(..., augment=...).",
        )


def check_data(history: History, case: Case) -> None:
    """Refuse a history without a step, or of another dataset."""
    if not len(history.steps):
        raise HistoryDoesNotFit(
            f"history {history.folder} ends before its first step",
            hint="record again, and read batches from tape.watch(loader).",
        )
    size = len(case.retain.part.source)
    if size != history.size:
        raise HistoryDoesNotFit(
            f"history {history.folder} was recorded on {history.size:,} samples, "
            f"the training set has {size:,}",
            hint=_AGAIN,
        )


def check_request(
    window: Window, case: Case, gone: Bool[Tensor, " n"], *, whole: bool = False
) -> None:
    """Refuse a window that never saw the forget set; say if it saw only some of it.

    ``whole`` means that what lies before the window is accounted for, too.
    """
    seen = torch.zeros_like(gone)
    for step in window.inside:
        seen[torch.cat(step.ids)] = True
    missed, count = int((gone & ~seen).sum()), int(gone.sum())
    if whole or not missed:
        return
    if missed == count:
        raise HistoryDoesNotFit(
            f"none of the {count:,} forget samples is in the last {len(window.inside):,} steps: "
            f"what they did to the model was done before, and these steps cannot undo it",
            hint="record with a larger keep, at least one epoch long, or retrain; what was purged "
            "from the history is in none of its steps, either.",
        )
    case.report.note(
        f"{missed:,} of {count:,} forget samples are in no step of the window: what they did "
        f"before it is only damped"
    )


def check_gradient(
    recorded: Float[Tensor, " k"], computed: Float[Tensor, " k"], *, step: int
) -> None:
    """Refuse a task whose loss is not the one that was trained."""
    length = float(recorded.norm())
    apart = float((recorded - computed).norm())
    if apart <= _CLOSE * length + _ROUNDING:
        return
    raise HistoryDoesNotFit(
        f"at step {step} the task's loss has a gradient of length {float(computed.norm()):.3g}, "
        f"the recorded one has {length:.3g}, and they are {apart:.3g} apart",
        hint="use the loss that was trained, as a mean over the batch; random augmentation, "
        'dropout and BatchNorm can be followed by mode="replay" alone.',
    )


def check_end(ended: Float[Tensor, " k"], begun: Float[Tensor, " k"], model: Tensor) -> None:
    """Refuse a path that does not lead to the model."""
    apart, far = float((ended - model).norm()), float((ended - begun).norm())
    if apart <= _CLOSE * far + _ROUNDING * (1 + float(model.norm())):
        return
    raise HistoryDoesNotFit(
        f"the recorded steps end {apart:.3g} from the model, on a path of {far:.3g}",
        hint="pass the model as it was after the last recorded step.",
    )


def _unwrapped(model: nn.Module) -> str:
    for mark, inner in (("_orig_mod.", "model._orig_mod"), ("module.", "model.module")):
        if any(name.startswith(mark) for name, _ in model.named_parameters()):
            return f"pass the model inside the wrapper: {inner}."
    return _AGAIN


def _shapes(tensors: Mapping[str, object]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(x.shape) for name, x in tensors.items() if isinstance(x, Tensor)}


def _told(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return f"{len(shapes)} tensors of {sum(map(prod, shapes.values())):,} numbers"
