"""What a tape must know of an optimizer to follow it, and what it refuses to follow."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parameter import is_lazy
from torch.optim import SGD, Adam, AdamW, Optimizer

from expunge.errors import HistoryDoesNotFit
from expunge.history.heading import Kind, Layout

_NUMBERS = ("lr", "momentum", "dampening", "nesterov", "weight_decay", "eps")


def kind_of(optimizer: Optimizer) -> Kind:
    """``sgd`` or ``adamw``; subclasses may step in another way, and are refused."""
    kind = _kind(optimizer)
    if kind is None:
        raise HistoryDoesNotFit(
            f"the steps of {type(optimizer).__name__} cannot be followed",
            hint="train with torch.optim.SGD or AdamW; pass the optimizer itself, not a wrapper.",
        )
    if any(group.get("maximize") for group in optimizer.param_groups):
        raise HistoryDoesNotFit(
            "the optimizer maximizes", hint="minimize the negative, without maximize=True."
        )
    return kind


def _kind(optimizer: Optimizer) -> Kind | None:
    if type(optimizer) is SGD:
        return "sgd"
    apart = all(group.get("decoupled_weight_decay") for group in optimizer.param_groups)
    return "adamw" if type(optimizer) is AdamW or (type(optimizer) is Adam and apart) else None


def layout_of(model: nn.Module, optimizer: Optimizer) -> Layout:
    """The names and shapes of what the optimizer moves, all of which must be the model's."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = [group["params"] for group in optimizer.param_groups]
    foreign = [p for group in groups for p in group if id(p) not in names]
    if foreign:
        raise HistoryDoesNotFit(
            f"the optimizer moves {len(foreign)} parameters that are not of the model, the first "
            f"of shape {tuple(foreign[0].shape)}",
            hint="record the model that holds them all, for example nn.ModuleList([a, b]).",
        )
    shapes = tuple(tuple(p.shape) for group in groups for p in group)
    return Layout(tuple(tuple(names[id(p)] for p in group) for group in groups), shapes)


def check_followable(model: nn.Module) -> None:
    """Refuse what cannot be kept, sparse gradients, and samples that other processes see."""
    if any(is_lazy(parameter) for parameter in model.parameters()):
        raise HistoryDoesNotFit(
            "the model has parameters without a shape yet", hint="pass one batch through it first."
        )
    odd = [name for name, value in model.state_dict().items() if not isinstance(value, Tensor)]
    if odd:
        raise HistoryDoesNotFit(
            f"{odd[0]!r} of the model's state is no tensor, and cannot be kept",
            hint="let get_extra_state return a tensor, or leave it out of the state dict.",
        )
    if any(getattr(module, "sparse", False) is True for module in model.modules()):
        raise HistoryDoesNotFit(
            "an embedding of the model has sparse gradients", hint="build it with sparse=False."
        )
    if distributed.is_available() and distributed.is_initialized():
        count = distributed.get_world_size()
        if count > 1:
            raise HistoryDoesNotFit(
                f"the model learns from what {count} processes read, and a tape hears but one",
                hint="record a run of a single process.",
            )


def new(optimizer: Optimizer) -> bool:
    """Whether it has made no step yet, which plain SGD does not tell."""
    groups = optimizer.param_groups
    return not optimizer.state and all(g.get("momentum") or "betas" in g for g in groups)


def check_same(layout: Layout, optimizer: Optimizer) -> None:
    """Refuse parameters that came or went after recording began."""
    counts = [len(group["params"]) for group in optimizer.param_groups]
    if counts != [len(group) for group in layout.groups]:
        raise HistoryDoesNotFit(
            f"the optimizer had groups of {[*map(len, layout.groups)]} parameters when recording "
            f"began, and now has {counts}",
            hint="end the tape before you add a group, and record anew.",
        )


def moved_by(optimizer: Optimizer) -> list[Tensor]:
    """All parameters of an optimizer, in the order of its groups."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def settings_of(optimizer: Optimizer) -> tuple[Mapping[str, float], ...]:
    """How every group of parameters is set at this moment."""
    return tuple(_numbers(group) for group in optimizer.param_groups)


def tune(optimizer: Optimizer, settings: Sequence[Mapping[str, float]]) -> None:
    """Set every group of parameters as `settings_of` found it."""
    for group, told in zip(optimizer.param_groups, settings, strict=True):
        group |= {name: told[name] for name in _NUMBERS if name in told}
        if "nesterov" in told:
            group["nesterov"] = bool(told["nesterov"])  # fused steps take no number for it
        if "beta1" in told:
            group["betas"] = (told["beta1"], told["beta2"])


def _numbers(group: Mapping[str, Any]) -> Mapping[str, float]:
    betas = {f"beta{place}": float(beta) for place, beta in enumerate(group.get("betas", ()), 1)}
    return {name: float(group[name]) for name in _NUMBERS if name in group} | betas


def gradient_of(optimizer: Optimizer, parameters: list[Tensor]) -> Tensor:
    """One vector of all gradients, zero where there is none.

    A fused optimizer is given gradients that a GradScaler scaled, and the scale beside them.
    """
    scale = getattr(optimizer, "grad_scale", None)
    pieces = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch.cat([piece.detach().reshape(-1) for piece in pieces]).float()
    return flat if scale is None else flat / scale


def skips(optimizer: Optimizer) -> bool:
    """Whether a fused optimizer was told by a GradScaler to leave this step out."""
    found = getattr(optimizer, "found_inf", None)
    return found is not None and bool(found)
