"""NVIDIA's driver without a GPU: a library that the real code loads, and a class that counts calls."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.settings import CHECKOUT
from triton_repo.backends.clip.gpu_clips.driver import DriverError

SOURCE = Path(__file__).with_name("cuda_library.c")
EXPORT = """
import sys
from tests.support.cuda_fake import FakeCuda
cuda = FakeCuda()
address = cuda.allocate(4096)
cuda.write(address, bytes(range(256)) * 16)
print(cuda.handle(address).hex(), flush=True)
sys.stdin.readline()
"""


def fake_library(folder: Path) -> Path:
    """Build the driver's library, which opens memory of FakeCuda; skip the test without a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    library = folder / "libcuda.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, SOURCE], check=True, timeout=60)
    return library


@contextmanager
def exporting() -> Iterator[tuple[bytes, subprocess.Popen[str]]]:
    """Start a process with 4096 bytes (0, 1, 2, ...); yields their handle and the process."""
    command = [sys.executable, "-c", EXPORT]
    process = subprocess.Popen(
        command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdin and process.stdout
    try:
        yield bytes.fromhex(process.stdout.readline()), process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


class FakeDriver:
    """`CudaDriver` that opens every handle at an address of its own, and none while `failing`."""

    def __init__(self) -> None:
        self.held: dict[int, tuple[int, bytes]] = {}
        self.opens = 0
        self.failing = ""

    def open(self, device: int, handle: bytes) -> int:
        if self.failing:
            raise DriverError(self.failing)
        self.opens += 1
        self.held[self.opens << 20] = device, handle
        return self.opens << 20

    def close(self, device: int, address: int) -> None:
        if self.held.get(address, (None, b""))[0] != device:
            raise DriverError("CUDA_ERROR_INVALID_VALUE of cuIpcCloseMemHandle")
        del self.held[address]
