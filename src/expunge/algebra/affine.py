"""Linear layers and convolutions: what each output says, and what each sample asks of its weights.

An output is one row of a linear layer or one channel of a convolution. Both kinds are the same
here: at every position of a sample, a row of the weight is multiplied by a window of what went in.
"""

from collections.abc import Sequence
from typing import TypeGuard

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

Convolution = nn.Conv1d | nn.Conv2d
Affine = nn.Linear | Convolution

_MOST = 2**28  # bytes of windows and slopes that are held at once


def is_affine(module: nn.Module) -> TypeGuard[Affine]:
    """Whether a layer is of these kinds and computes what they do, nothing of its own."""
    kinds = [kind for kind in (nn.Linear, nn.Conv1d, nn.Conv2d) if isinstance(module, kind)]
    return bool(kinds) and all(
        getattr(type(module), work, None) is getattr(kinds[0], work, None)
        for work in ("forward", "_conv_forward")
    )


def means(module: Affine, out: Tensor) -> Float[Tensor, "n u"]:
    """What every output says about a sample on average; no row if there is no axis of samples."""
    if out.ndim < (2 if isinstance(module, nn.Linear) else module.weight.ndim):
        return out.new_zeros(0, len(module.weight))
    return _by_position(module, out).mean(1, dtype=exact(out))


def gradients(
    module: Affine, x: Tensor, slopes: Sequence[Tensor], rows: Int[Tensor, " u"], *, bias: bool
) -> Float[Tensor, "n c k"]:
    """Gradients of every sample's numbers for some rows of the weight, then of the bias.

    ``x`` is what went in, ``slopes`` how each of the numbers changes with what came out, and
    ``rows`` ascend. What went in is laid out in windows once for all numbers.
    """
    positions = slopes[0][0].numel() // len(module.weight)
    width = module.weight[0].numel() + len(rows) * len(slopes)
    most = max(1, _MOST // (positions * width * exact(module.weight).itemsize))
    found = []
    for start in range(0, len(x), most):
        some = [_by_position(module, s[start : start + most])[:, :, rows] for s in slopes]
        chosen = torch.stack(some, 2).to(exact(module.weight))
        products = _products(module, x[start : start + most].to(chosen), chosen, rows)
        found.append(torch.cat([products, chosen.sum(1)], 2) if bias else products)
    return torch.cat(found)


def exact(like: Tensor) -> torch.dtype:
    """Where sums of such numbers are taken: in single precision at least."""
    return torch.promote_types(like.dtype, torch.float32)


def _by_position(module: Affine, out: Tensor) -> Float[Tensor, "n t u"]:
    """All positions in one axis, and what the outputs say there in the last."""
    out = out if isinstance(module, nn.Linear) else out.movedim(1, -1)
    return out.reshape(len(out), -1, out.shape[-1])


def _products(
    module: Affine, x: Tensor, slopes: Float[Tensor, "n t c u"], rows: Int[Tensor, " u"]
) -> Float[Tensor, "n c k"]:
    """Slopes times windows, added up over positions, for one group of channels after another."""
    if isinstance(module, nn.Linear):
        return _product(slopes, _by_position(module, x))
    group, inputs = rows // (len(module.weight) // module.groups), x.chunk(module.groups, 1)
    found = [
        _product(slopes[..., group == one], _windows(module, inputs[one]))
        for one in group.unique().tolist()
    ]
    return torch.cat(found, 2)


def _product(
    slopes: Float[Tensor, "n t c u"], windows: Float[Tensor, "n t w"]
) -> Float[Tensor, "n c k"]:
    products: Tensor = slopes.flatten(2).mT @ windows
    return products.view(len(slopes), slopes.shape[2], -1)


def _windows(module: Convolution, x: Tensor) -> Float[Tensor, "n t w"]:
    """What a row of the weight is multiplied by at every position, in the order of that row."""
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    x, axes = F.pad(x, _margins(module), mode), len(module.kernel_size)
    looks = zip(module.kernel_size, module.stride, module.dilation, strict=True)
    for axis, (size, step, apart) in enumerate(looks, 2):
        x = x.unfold(axis, apart * (size - 1) + 1, step)[..., ::apart]
    return x.movedim(1, axes + 1).flatten(axes + 1).flatten(1, axes)


def _margins(module: Convolution) -> list[int]:
    """How much is put before and after every axis, the last axis first."""
    if not isinstance(module.padding, str):
        return [side for width in reversed(module.padding) for side in (width, width)]
    same = module.padding == "same"
    looks = zip(module.kernel_size, module.dilation, strict=True)
    missing = [same * apart * (size - 1) for size, apart in looks]
    return [side for width in reversed(missing) for side in (width // 2, width - width // 2)]
