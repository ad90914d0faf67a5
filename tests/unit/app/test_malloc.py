"""Freed heap memory is returned to the system."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from app.malloc import collect_and_trim, trim

PIECE, PIECES, EVERY = 4096, 10_000, 64  # size in bytes, count, and one of EVERY stays allocated
KEPT = 1000


def resident_mib() -> float:
    """Return the private resident memory of this process in MiB."""
    result = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(result.split()[1]) / 1024


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library, which has nothing to give back")
def test_freed_heap_memory_is_returned() -> None:
    pieces = [bytes(PIECE) for _ in range(PIECES)]
    stay = pieces[::EVERY]
    pieces.clear()
    full = resident_mib()
    trim()
    assert full - resident_mib() > 0.5 * PIECE * PIECES / 2**20
    assert {len(piece) for piece in stay} == {PIECE}


def test_free_lists_of_tuples_are_returned() -> None:
    def kept() -> int:
        """Return the allocated blocks while no tuple of the test lives."""
        return sys.getallocatedblocks()

    collect_and_trim()
    before = kept()
    for _ in range(KEPT):
        tuple(number for number in range(7))  # allocated for ten, shrunk to seven
    grown = kept() - before
    collect_and_trim()
    assert grown > KEPT / 2 > kept() - before
