"""Return freed heap memory to the OS (malloc_trim); glibc keeps free memory between live blocks otherwise."""

import ctypes
import gc
from collections.abc import Callable
from typing import cast


def _trim() -> Callable[[int], int] | None:
    """Return glibc's `malloc_trim`; None with other C libraries, which retain less."""
    try:
        return cast(Callable[[int], int], ctypes.CDLL(None).malloc_trim)
    except AttributeError:
        return None


_give_back = _trim()


def give_back() -> None:
    """Return freed heap memory to the OS.

    Takes about 0.5 ms. The next allocations are slower, because they come from the OS again.
    """
    if _give_back is not None:
        _give_back(0)


def give_all_back() -> None:
    """Return freed heap memory and Python's free lists to the OS.

    A full collection empties the free lists, which hold up to 2,000 tuples of each length. It takes about 10 ms, in
    which no other thread of the process runs.
    """
    gc.collect()
    give_back()
