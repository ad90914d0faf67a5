"""Gives memory that was freed back to the system: glibc keeps what lies between pieces in use, and goes on asking."""

import ctypes
import gc
from collections.abc import Callable
from typing import cast


def _trim() -> Callable[[int], int] | None:
    """glibc's; other C libraries have none, and keep less."""
    try:
        return cast(Callable[[int], int], ctypes.CDLL(None).malloc_trim)
    except AttributeError:
        return None


_give_back = _trim()


def give_back() -> None:
    """Takes about half a millisecond; what is asked for next comes from the system again, which takes longer."""
    if _give_back is not None:
        _give_back(0)


def give_all_back() -> None:
    """The same, and what Python keeps: up to 2,000 free tuples of each length, which a whole collection empties.

    Takes some ten milliseconds, in which no other thread of the process runs.
    """
    gc.collect()
    give_back()
