"""Keep the memory that one step has freed for the next one.

The C library of Linux gives blocks of 32 MB and more back to the system as soon as they are free.
Training asks for blocks of the same sizes a moment later, and the system clears every page before
it hands it out: for networks with large activations that is a third of a processor's time.
"""

import ctypes
import sys

_TRIM, _TOP_PAD, _MMAP = -1, -2, -3
"""What malloc.h of the GNU library calls M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_THRESHOLD."""

_LARGE = (2**30, 2**25)
"""From which size on a block is given back at once: as much as this release of it allows."""


def keep_freed() -> bool:
    """From now on this process keeps what it frees; False: its C library cannot be told so.

    It is for programs that train. What such a process held at its most, it holds until it ends.
    """
    if sys.platform != "linux":
        return False
    tell = getattr(ctypes.CDLL(None), "mallopt", None)
    if tell is None:
        return False
    kept = tell(_TRIM, 2**31 - 1) and tell(_TOP_PAD, 2**28)
    return bool(kept and any(tell(_MMAP, size) for size in _LARGE))
