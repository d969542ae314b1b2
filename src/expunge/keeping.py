"""Keep the memory that one step has freed for the next one, in large pages.

The C library of Linux gives blocks of 32 MB and more back to the system as soon as they are free.
Training asks for blocks of the same sizes a moment later, and the system clears every page before
it hands it out: for networks with large activations that is up to half of a processor's time.
Small pages can cost a few percent more, for the processor looks up where each of them lies; large
ones are given only where memory is free in one piece.
"""

import ctypes
import os
import sys

_TRIM, _TOP_PAD, _MMAP = -1, -2, -3
"""What malloc.h of the GNU library calls M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_THRESHOLD."""

_NEVER, _ROOM, _LARGE = -1, 2**28, 2**30
"""When free memory is given back; how much is asked for at once; what is always asked for anew."""

_OF_TORCH = ("THP_MEM_ALLOC_ENABLE", "1")  # read with its first tensor
LARGE_PAGES = dict([_OF_TORCH, ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")])
"""The environment of a process that is to ask for large pages: torch, and the C library."""


def keep_freed() -> bool:
    """From now on this process keeps what it frees; False: its C library cannot be told so.

    It is for programs that train. Such a process never holds less than at its most; where blocks of
    many sizes lie among each other, it comes to hold more than it ever used at once. Its large
    tensors come to lie in large pages if it has made none so far: its environment says so.
    """
    if sys.platform != "linux":
        return False
    os.environ.setdefault(*_OF_TORCH)
    tell = getattr(ctypes.CDLL(None), "mallopt", None)
    if tell is None:
        return False
    settings = ((_TRIM, _NEVER), (_TOP_PAD, _ROOM), (_MMAP, _LARGE))
    return all(tell(name, value) for name, value in settings)
