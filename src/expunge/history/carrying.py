"""Carry an optimizer's state into a file of tensors, and back."""

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from expunge.accounting import as_json

_MARK = "optimizer."


def tensors_of(optimizer: Optimizer) -> dict[str, Tensor]:
    """What an optimizer remembers of every parameter, one tensor a name."""
    return {
        f"{_MARK}{place}.{key}": value
        for place, state in optimizer.state_dict()["state"].items()
        for key, value in state.items()
        if isinstance(value, Tensor)
    }


def state_of(tensors: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """The state that `tensors_of` told, by the place of every parameter."""
    found: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith(_MARK):
            _, place, key = name.split(".", 2)
            found.setdefault(int(place), {})[key] = value
    return found


def groups_as_text(optimizer: Optimizer) -> str:
    """The settings of every group of parameters."""
    return json.dumps([_plain(group) for group in optimizer.state_dict()["param_groups"]])


def groups_of(text: str) -> list[dict[str, Any]]:
    """The settings that `groups_as_text` told, as a state dict holds them."""
    groups: list[dict[str, Any]] = json.loads(text)
    return [{**g, "betas": tuple(g["betas"])} if "betas" in g else g for g in groups]


def restore(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Load a state dict, every buffer in its parameter's memory order."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    buffers = {
        place: {key: _laid_out(value, parameters[place]) for key, value in kept.items()}
        for place, kept in state["state"].items()
    }
    optimizer.load_state_dict({"state": buffers, "param_groups": state["param_groups"]})


def _laid_out(value: Tensor, like: Tensor) -> Tensor:
    # Fused steps take a parameter and its buffers to lie alike in memory.
    return torch.empty_like(like).copy_(value) if value.shape == like.shape else value


def _plain(group: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value.tolist() if isinstance(value, Tensor) else as_json(value)
        for key, value in group.items()
    }
