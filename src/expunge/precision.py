"""How passes are computed: channels last, and in half precision where that saves time."""

import torch
from torch import nn

from expunge.observing import device_of


def bf16_pays(model: nn.Module) -> bool:
    """Whether half precision saves time: on a GPU, or for convolutions on a CPU that has it."""
    kind = device_of(model).type
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    wide = any(isinstance(m, nn.Conv2d) and m.out_channels >= 16 for m in model.modules())
    if kind != "cpu" or not wide or not torch.backends.mkldnn.is_available():
        return False
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001 - no public name


def channels_last(model: nn.Module) -> nn.Module:
    """Lay the weights of convolutions out as fast ones read them; their values stay as they are.

    One such layer is enough: what it answers has the same order, and so on through the model. Where
    a layer does not bear that, all stay as they are.
    """
    if not all(_bears(module) for module in model.modules()):
        return model
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model


def _bears(module: nn.Module) -> bool:
    """Torch 2.13 on a CPU writes past its memory on the way back through some convolutions.

    Those of one pixel that leave pixels out, on channels that do not come in eights.
    """
    if not isinstance(module, nn.Conv2d) or max(module.kernel_size) > 1:
        return True
    return max(module.stride) == 1 or module.in_channels % 8 == 0


def half(model: nn.Module, *, enabled: bool = True) -> torch.autocast:
    """Compute in bf16 what bears it. Weights are cast at every use: they change between steps."""
    return torch.autocast(
        device_of(model).type, torch.bfloat16, enabled=enabled, cache_enabled=False
    )
