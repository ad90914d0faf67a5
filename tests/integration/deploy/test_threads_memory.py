"""Freed memory is not kept by glibc's caches of living threads."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from deploy.stack.launch import MALLOC_LIMITS

THREADS, SIZES, PIECES = 32, range(24, 1032, 16), 7  # what glibc's malloc caches per thread by default
EVERYTHING = THREADS * PIECES * sum(SIZES)  # bytes
IN_USE = 7  # the place of uordblks among the ten numbers of struct mallinfo2

PROGRAM = f"""
import ctypes, threading

libc = ctypes.CDLL("libc.so.6")
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]


class MallocInfo(ctypes.Structure):
    _fields_ = [("numbers", ctypes.c_size_t * 10)]


def in_use():
    libc.mallinfo2.restype = MallocInfo
    return libc.mallinfo2().numbers[{IN_USE}]


def work(done, ends):
    pieces = [libc.malloc(size) for size in {SIZES!r} for _ in range({PIECES})]
    for piece in pieces:
        libc.free(piece)
    pieces.clear()
    done.wait()
    ends.wait()


done, ends = threading.Barrier({THREADS} + 1), threading.Event()
threads = [threading.Thread(target=work, args=(done, ends)) for _ in range({THREADS})]
before = in_use()
for thread in threads:
    thread.start()
done.wait()
print(in_use() - before)
ends.set()
"""


def kept(environment: dict[str, str]) -> int:
    """Return the bytes in use after threads have freed all of theirs."""
    clean = {name: value for name, value in os.environ.items() if name not in MALLOC_LIMITS}
    command = [sys.executable, "-c", PROGRAM]
    return int(subprocess.run(command, env=clean | environment, check=True, capture_output=True, timeout=30).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_threads_keep_no_freed_memory() -> None:
    assert kept(MALLOC_LIMITS) < EVERYTHING / 20 < EVERYTHING / 2 < kept({})
