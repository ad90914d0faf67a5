"""A fake GPU: `CudaRuntime` in the host's memory, with the errors of a real one.

Its memory is in unnamed files, so that other processes can open it by a handle, as on a GPU.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct

from app.shm.cuda_runtime import HANDLE_BYTES, CudaError

OUT_OF_MEMORY = "cudaErrorMemoryAllocation: out of memory"
NO_IPC = "cudaErrorNotSupported: operation not supported"
LOST = "cudaErrorDevicesUnavailable: CUDA-capable device(s) is/are busy or unavailable"
POLLS_OF_A_COPY = 3  # polls until a copy is complete: its source is read as late as possible


class FakeCuda:
    """A `CudaRuntime` whose copies happen when a caller finds them complete, and not before.

    `fail` names a method that fails from now on, with the words of the error; `lose` makes every one fail.
    """

    opened: dict[bytes, mmap.mmap] = {}  # by the handles that this process created

    def __init__(self, device: int = 0, memory: int = 1 << 30) -> None:
        self.device, self._memory = device, memory
        self._failing: dict[str, str] = {}
        self._blocks: dict[int, mmap.mmap] = {}
        self._files: dict[int, int] = {}
        self._foreign: list[mmap.mmap] = []
        self._pinned: dict[int, int] = {}
        self._copies: dict[int, tuple[int, int, int, int]] = {}
        self._events = 0
        self.copied = self.brought_back = 0  # bytes, from host to GPU, and the other way
        self.stuck = False  # copies never complete

    def fail(self, method: str, description: str) -> None:
        self._failing[method] = description

    def heal(self) -> None:
        self._failing.clear()

    def lose(self) -> None:
        for method in ("allocate", "free", "handle", "open", "pin", "unpin", "event", "copy", "over", "close"):
            self.fail(method, LOST)

    @property
    def held(self) -> list[str]:
        """Return the resources that were not released."""
        names = {"memory": self._blocks, "pinned": self._pinned, "event": range(self._events)}
        return [name for name, things in names.items() for _ in things]

    def _may(self, method: str) -> None:
        if description := self._failing.get(method):
            raise CudaError(description)

    def allocate(self, size: int) -> int:
        self._may("allocate")
        if size + sum(map(len, self._blocks.values())) > self._memory:
            raise CudaError(OUT_OF_MEMORY)
        file = os.memfd_create("gpu")
        os.ftruncate(file, size)
        block = mmap.mmap(file, size)
        address = _address(block)
        self._blocks[address], self._files[address] = block, file
        return address

    def free(self, address: int) -> None:
        self._may("free")
        block = self._blocks.pop(address)
        os.close(self._files.pop(address))
        for handle in [known for known, opened in self.opened.items() if opened is block]:
            del self.opened[handle]

    def handle(self, address: int) -> bytes:
        self._may("handle")
        block = self._blocks[address]
        handle = struct.pack("<QQQ", os.getpid(), self._files[address], len(block)).ljust(HANDLE_BYTES, b"\1")
        self.opened[handle] = self._blocks[address]
        return handle

    def open(self, handle: bytes) -> int:
        self._may("open")
        pid, file, size = struct.unpack_from("<QQQ", handle)
        if pid == os.getpid():
            raise CudaError("cudaErrorDeviceUninitialized: a process cannot open what it allocated")
        try:
            descriptor = os.open(f"/proc/{pid}/fd/{file}", os.O_RDWR)
        except OSError as error:
            raise CudaError("cudaErrorInvalidResourceHandle: invalid resource handle") from error
        block = mmap.mmap(descriptor, size)
        os.close(descriptor)
        self._foreign.append(block)
        return _address(block)

    def pin(self, address: int, size: int) -> None:
        self._may("pin")
        if address in self._pinned:
            raise CudaError("cudaErrorHostMemoryAlreadyRegistered: part or all of the requested memory range is ...")
        self._pinned[address] = size

    def unpin(self, address: int) -> None:
        self._may("unpin")
        del self._pinned[address]

    def event(self) -> int:
        self._may("event")
        self._events += 1
        return self._events - 1

    def copy(self, target: int, source: int, size: int, event: int) -> None:
        self._may("copy")
        host = source if self._on_gpu(target, size) else target
        assert any(at <= host and host + size <= at + length for at, length in self._pinned.items()), "not pinned"
        assert self._on_gpu(target, size) != self._on_gpu(source, size)
        self._copies[event] = (target, source, size, POLLS_OF_A_COPY)

    def is_complete(self, event: int) -> bool:
        self._may("over")
        if event not in self._copies:
            return True
        target, source, size, polls = self._copies.pop(event)
        if polls or self.stuck:
            self._copies[event] = (target, source, size, max(0, polls - 1))
            return False
        if self._on_gpu(target, size):
            self.write(target, ctypes.string_at(source, size))
        else:
            ctypes.memmove(target, source, size)
            self.brought_back += size
        return True

    def close(self) -> None:
        self._may("close")
        self._events = 0

    def write(self, address: int, data: bytes) -> None:
        base, block = self._block(address, len(data))
        block[address - base : address - base + len(data)] = data
        self.copied += len(data)

    def read(self, address: int, size: int) -> bytes:
        """Return the bytes on the GPU at `address`; only the fake has this."""
        base, block = self._block(address, size)
        return bytes(block[address - base : address - base + size])

    def _block(self, address: int, size: int) -> tuple[int, mmap.mmap]:
        for base, block in self._blocks.items():
            if base <= address and address + size <= base + len(block):
                return base, block
        raise CudaError("cudaErrorInvalidValue: invalid argument")

    def _on_gpu(self, address: int, size: int) -> bool:
        return any(base <= address and address + size <= base + len(block) for base, block in self._blocks.items())


def _address(block: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(block))
