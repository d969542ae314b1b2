"""Run a method safely: check, copy, seed, time, and look at what came back."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import fields
from functools import partial
from math import isfinite

import torch
from torch import Tensor, nn

from expunge.batching import Batches
from expunge.errors import (
    BadSetting,
    BatchUnreadable,
    BrokenPromise,
    Diverged,
    ExpungeError,
    ModelDoesNotFit,
    TargetMismatch,
)
from expunge.method import Case, Method, Report
from expunge.observing import BATCH, device_of, observe
from expunge.outcome import Outcome
from expunge.precision import bf16_pays, half, laid_out
from expunge.progress import Progress, quiet
from expunge.request import Attribute
from expunge.seeding import seeded
from expunge.splitting import Part, Split
from expunge.staying import stayed
from expunge.tasks import Task
from expunge.tasks.asking import out_of_memory

__all__ = ["seeded", "unlearn", "warm"]


def unlearn(
    model: nn.Module,
    split: Split,
    method: Method,
    *,
    task: Task,
    seed: int = 0,
    progress: Progress = quiet,
) -> Outcome:
    """Apply ``method`` to a copy of ``model``; the original is never touched.

    The same seed gives the same weights, bit for bit on a CPU.
    """
    _check_method(method, split, task)
    after, device = _copied(model), device_of(model)
    report, halved = Report(progress), method.half and bf16_pays(after)
    with seeded(seed), torch.enable_grad(), half(after, enabled=halved):
        case = _case(split, task, device, report)
        warm()
        ask = partial(_asked, after, case)
        with _blaming(model, split, task), laid_out(after, ask, enabled=halved):
            start = time.perf_counter()
            after = _model(method.forget(after.eval(), case), method).eval()
            seconds = time.perf_counter() - start
    _check_result(model, after, method, len(report.traces.get("loss", ())))
    with seeded(seed):  # data with random transforms draw numbers
        for note in stayed(model, after, case.forget, len(split.retain.source), task=task):
            report.note(note)
    return Outcome(
        model, after, split, task, method, seed, seconds, tuple(report.notes), report.traces
    )


def warm() -> None:
    """Let torch import its compiler, as it does with the first optimizer of a process.

    That second belongs to no method, and would make the first one look slow.
    """
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)


def _asked(model: nn.Module, case: Case) -> None:
    ids = torch.cat([case.retain.part.indices, case.forget.part.indices])[:2]
    case.task.answer(model, case.retain.take(ids))


@contextmanager
def _blaming(model: nn.Module, split: Split, task: Task) -> Iterator[None]:
    """Where work fails, look whether the original and the data fit each other at all.

    Methods end in many ways on samples that are not finite, or not like those of training; the
    advice belongs to the data then. What else goes wrong is the method's own.
    """
    try:
        yield
    except (RuntimeError, IndexError, Diverged, ModelDoesNotFit) as why:
        if not out_of_memory(why) and (fault := _misfit(deepcopy(model), split, task)):
            raise fault from why
        raise


def _misfit(model: nn.Module, split: Split, task: Task) -> ExpungeError | None:
    """What a model cannot be asked about these data; None if it can, or nobody knows."""
    try:
        for part in (split.forget, split.retain):
            observe(model, Batches(part, BATCH, device=device_of(model)), task)
    except (BatchUnreadable, Diverged) as fault:
        return fault
    except (RuntimeError, OSError, ValueError, LookupError):  # what failed before is the news
        return None
    return None


def _case(split: Split, task: Task, device: torch.device, report: Report) -> Case:
    def batches(part: Part) -> Batches:
        return Batches(part, shuffle=True, device=device)

    aside = None if split.validation is None else batches(split.validation)
    for target in split.targets:
        if isinstance(target, Attribute):
            task.attribute(batches(split.retain).take(split.retain.indices[:1]), target.name)
    return Case(split.targets, batches(split.forget), batches(split.retain), aside, task, report)


def _check_method(method: Method, split: Split, task: Task) -> None:
    name = type(method).__name__
    for request in split.requests:
        if not isinstance(request.target, method.handles):
            kinds = " or ".join(kind.__name__ for kind in method.handles)
            raise TargetMismatch(
                f"{name} removes {kinds}, "
                f"but request {request.id} targets {type(request.target).__name__}",
                hint="run `expunge methods` to see which method handles what.",
            )
    _check_settings(method)
    if task.kind not in method.tasks:
        raise TargetMismatch(
            f"{name} serves {' and '.join(method.tasks)}, but the task is {task.kind}",
            hint="run `expunge methods` to see which method handles what.",
        )


def _check_settings(method: Method) -> None:
    for setting in fields(method):
        value = getattr(method, setting.name)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if number and not (isfinite(value) and value >= 0):
            raise BadSetting(
                f"{type(method).__name__} got {setting.name} = {value}",
                hint="numbers in settings are finite and not negative.",
            )
        for part in value if isinstance(value, tuple) else ():
            if isinstance(part, Method):
                _check_settings(part)


def _copied(model: nn.Module) -> nn.Module:
    broken = _not_finite(model)
    if broken:
        raise ModelDoesNotFit(
            f"the original model is not finite: {broken}",
            hint="load a checkpoint from before the training run diverged.",
        )
    try:
        copied = deepcopy(model)
    except (RuntimeError, TypeError) as why:
        raise ModelDoesNotFit(
            f"the model cannot be copied: {why}",
            hint="remove tensors with a gradient history, files and locks from its attributes; use "
            "torch.nn.utils.parametrizations.weight_norm for the older weight_norm.",
        ) from why
    stuck = [name for name, value in copied.named_parameters() if not value.is_leaf]
    if stuck:
        raise ModelDoesNotFit(
            f"a copy of the {type(model).__name__} cannot learn: its parameter {stuck[0]!r} hangs "
            f"on the original's",
            hint="pass the eager model, which torch.jit has not compiled yet.",
        )
    return copied


def _check_result(before: nn.Module, after: nn.Module, method: Method, steps: int) -> None:
    broken = _not_finite(after)
    if broken:
        raise Diverged(
            f"{type(method).__name__} left weights that are not finite after step {steps}: "
            f"{broken}; the original model is untouched",
            hint="use a smaller learning rate, or fewer steps.",
        )
    if method.reshapes:
        return
    wanted, found = _shapes(before), _shapes(after)
    if wanted != found:
        odd = min(wanted.items() ^ found.items())[0]
        raise BrokenPromise(
            f"{type(method).__name__} changed the parameter {odd!r} in name or shape",
            hint="a method that must do so says `reshapes = True`.",
        )
    learning = {name: p.requires_grad for name, p in before.named_parameters()}
    for name, parameter in after.named_parameters():
        parameter.requires_grad_(learning[name])


def _model(returned: object, method: Method) -> nn.Module:
    if isinstance(returned, nn.Module):
        return returned
    raise BrokenPromise(
        f"{type(method).__name__} returned {type(returned).__name__} instead of a model",
        hint="end its `forget` with `return model`.",
    )


def _not_finite(model: nn.Module) -> str:
    for name, value in _tensors(model).items():
        if value.is_floating_point() and not value.isfinite().all():
            return name
    return ""


def _shapes(model: nn.Module) -> dict[str, tuple[tuple[int, ...], bool]]:
    """Every shape, and whether it is learnt under this name: of tied ones the first alone is."""
    learnt = {name for name, _ in model.named_parameters()}
    return {name: (tuple(x.shape), name in learnt) for name, x in _tensors(model).items()}


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """The state dict without what some layers keep beside their tensors."""
    state = model.state_dict().items()
    return {name: value for name, value in state if isinstance(value, Tensor)}
