"""Films of any size: a short one, and a part that players skip."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

MARK_BYTES = 16
BLOCK_BYTES = 1 << 20


def write_large_film(path: Path, film: bytes, size: int) -> Path:
    """Write an MP4 of `size` bytes: `film`, then a `free` box in which every block of 1 MiB is another."""
    rest = size - len(film) - 8
    with path.open("wb") as file:
        file.write(film + struct.pack(">I4s", rest + 8, b"free"))
        for number in range(-(-rest // BLOCK_BYTES)):
            block = f"{number:>{MARK_BYTES}}".encode() * (BLOCK_BYTES // MARK_BYTES)
            file.write(block[: rest - number * BLOCK_BYTES])
    return path


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
