"""Release of memory that OpenVINO holds and does not need once a model is compiled."""

import ctypes
from contextlib import suppress
from pathlib import Path

MADV_DONTNEED = 4


def release_weights_file(weights: Path) -> None:
    """Drop the pages of the mapped file of weights from this process, and return freed heap memory to the OS.

    Compiled models have copies of the weights, in the layout of their instructions. The mapping stays valid: the kernel
    reads pages that are used again from the file.
    """
    name = str(weights.resolve())
    with suppress(OSError, AttributeError):  # only Linux has these maps, and only glibc malloc_trim
        libc = ctypes.CDLL(None)
        for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
            addresses, access, *_, path = [*line.split(maxsplit=5), ""][:6]
            if path == name and "w" not in access:
                start, end = (int(address, 16) for address in addresses.split("-"))
                libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), MADV_DONTNEED)
        libc.malloc_trim(0)
