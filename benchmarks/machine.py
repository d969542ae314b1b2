"""What was computed on. Where bf16 pays, networks are trained and asked in it."""

import os
import platform
from collections.abc import Mapping

import torch

_CAN: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
_TOLD = ("avx512_f", "avx512_bf16", "amx_bf16")  # what decides about speed, where it is there

MACHINE = ", ".join(
    [
        f"{_CAN.get('cpu_name', 'a processor')} ({platform.machine()})",
        *(name.upper() for name in _TOLD if _CAN.get(name)),
        f"{os.cpu_count()} cores",
    ]
)
