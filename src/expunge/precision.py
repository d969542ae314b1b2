"""How passes are computed: in half precision, channels last, where that saves time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from expunge.observing import device_of, evaluating
from expunge.seeding import seeded


def bf16_pays(model: nn.Module) -> bool:
    """Whether half precision saves time: on a GPU, or for wide layers on a CPU with AMX.

    Others compute in it too, and take longer than in full: told to use no more than AVX-512's bf16,
    a processor with AMX took 1.3 times as long for a ResNet-18, and 2.8 times with AVX-512 alone.
    """
    kind = device_of(model).type
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    wide = any(_wide(module) for module in model.modules())
    if kind != "cpu" or not wide or not torch.backends.mkldnn.is_available():
        return False
    return bool(torch.cpu._is_amx_tile_supported())  # noqa: SLF001 - no public name before 2.13


def _wide(module: nn.Module) -> bool:
    # Where casts cost more than they save: layers of 128 units took longer, of 256 hardly less.
    if isinstance(module, nn.Linear):
        return min(module.in_features, module.out_features) >= 384
    return isinstance(module, nn.Conv2d) and module.out_channels >= 16


def channels_last(model: nn.Module, ask: Callable[[], object] = lambda: None) -> nn.Module:
    """Lay the weights of convolutions out as fast ones read them; their values stay as they are.

    One such layer is enough: what it answers has the same order, and so on through the model. Where
    a layer does not bear that, or the model cannot be asked then, because it views what a
    convolution answers as rows, say, all stay as they are.
    """
    if all(_bears(module) for module in model.modules()):
        kernels = _kernels(model)
        _lay(kernels, torch.channels_last)
        try:
            with seeded(0), torch.no_grad(), evaluating(model):
                ask()
        except (RuntimeError, IndexError, TypeError):  # who cannot be asked either way will say so
            _lay(kernels, torch.contiguous_format)
    return model


@contextmanager
def laid_out(
    model: nn.Module, ask: Callable[[], object], *, enabled: bool = True
) -> Iterator[None]:
    """The same for a while; whoever gets the model afterwards finds it as it was."""
    kernels = _kernels(model) if enabled else []
    if enabled:
        channels_last(model, ask)
    try:
        yield
    finally:
        _lay(kernels, torch.contiguous_format)


def _kernels(model: nn.Module) -> list[nn.Parameter]:
    """Weights that could lie otherwise."""
    modules = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    weights = [p for m in modules for p in m.parameters(recurse=False) if p.ndim == 4]
    return [weight for weight in weights if weight.is_contiguous()]


def _lay(weights: list[nn.Parameter], order: torch.memory_format) -> None:
    for weight in weights:
        weight.data = weight.data.contiguous(memory_format=order)


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
