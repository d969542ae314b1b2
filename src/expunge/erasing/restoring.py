"""Put erasures where a file of weights says that they were, so that a fresh model can be filled.

What code builds has no erasures: they came later. Their names tell the place and the side.
"""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from expunge.algebra.erasure import Map
from expunge.erasing.inserting import ErasedInput, ErasedOutput, Erasure, replaced

_ERASURE = re.compile(r"(?:(.+)\.)?(before|after)\.matrix")
_KINDS = {"before": ErasedInput, "after": ErasedOutput}


def restored(model: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """The model with the erasures that these weights name; load them into it afterwards."""
    for name in sorted(tensors, key=lambda each: each.count(".")):  # the outer before the inner
        found, matrix = _ERASURE.fullmatch(name), tensors[name]
        if found is None or matrix.ndim != 2 or name in model.state_dict():
            continue
        layers: dict[str, nn.Module] = dict(model.named_modules(remove_duplicate=False))
        layer = layers.get(found[1] or "")
        if layer is not None:
            erasure = Erasure(Map(matrix, matrix.new_zeros(len(matrix))), matrix.device)
            model = replaced(model, layer, _KINDS[found[2]](layer, erasure))
    return model
