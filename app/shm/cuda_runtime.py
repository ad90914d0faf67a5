"""The few calls of CUDA's runtime that slots on a GPU need; the names of cuda-python stay in this file.

Addresses, streams and events are plain numbers here, so that a fake can stand in for the GPU (tests/support/cuda_fake.py).
Nothing of CUDA survives a fork: a runtime is made by the process that uses it.
"""

import ctypes
from typing import Any, Protocol

HANDLE_BYTES = 64  # CUDA_IPC_HANDLE_SIZE


class CudaError(Exception):
    """A call of CUDA's runtime failed; the message begins with CUDA's own name for the error."""


class CudaRuntime(Protocol):
    """One GPU as one process sees it; every method raises CudaError, also for a GPU that was lost meanwhile."""

    device: int  # CUDA's number, which Triton must know the same GPU by

    def allocate(self, size: int) -> int:
        """Address of `size` bytes on the GPU."""

    def free(self, address: int) -> None:
        """Gives them back; undefined while another process still has them open."""

    def handle(self, address: int) -> bytes:
        """HANDLE_BYTES by which another process of this machine can open the allocation that begins at `address`."""

    def open(self, handle: bytes) -> int:
        """Address in this process of what another one has allocated, until this process ends."""

    def pin(self, address: int, size: int) -> None:
        """Locks host memory in its place, without which no copy from or to it is asynchronous."""

    def unpin(self, address: int) -> None: ...

    def event(self) -> int:
        """Something to know the end of a copy by."""

    def copy(self, target: int, source: int, size: int, event: int) -> None:
        """Begins to copy between host and GPU and returns at once; `event` belongs to this copy until it is over."""

    def over(self, event: int) -> bool:
        """Whether the copy that `event` belongs to is done."""

    def close(self) -> None:
        """Gives back the stream and the events, after the last copy."""


class CudaBindings:
    """`CudaRuntime` on a GPU, by cuda-python (https://nvidia.github.io/cuda-python/cuda-bindings/)."""

    def __init__(self, device: int) -> None:
        try:
            from cuda.bindings import runtime
        except ImportError as error:
            raise CudaError(f"cuda-python is not installed ({error}): pip install 'clipstack[cuda]'") from error
        self._cuda, self.device = runtime, device
        self._not_ready = runtime.cudaError_t.cudaErrorNotReady
        count = self._call(runtime.cudaGetDeviceCount)
        if device >= count:
            raise CudaError(f"there is no GPU {device} here: CUDA sees {count}")
        self._on_device(runtime.cudaFree, 0)  # makes the context now, and not in the first request
        # One that does not wait for the default stream; nothing here uses that one.
        self._stream = self._on_device(runtime.cudaStreamCreateWithFlags, runtime.cudaStreamNonBlocking)
        self._events: list[Any] = []

    def _call(self, function: Any, *arguments: object) -> Any:
        status, *answer = function(*arguments)
        if status != self._cuda.cudaError_t.cudaSuccess:
            raise CudaError(self._words(status))
        return answer[0] if answer else None

    def _on_device(self, function: Any, *arguments: object) -> Any:
        """A thread has a current GPU of its own, and `close` comes from another thread than the rest."""
        self._call(self._cuda.cudaSetDevice, self.device)
        return self._call(function, *arguments)

    def _words(self, status: Any) -> str:
        name, words = self._cuda.cudaGetErrorName(status)[1], self._cuda.cudaGetErrorString(status)[1]
        return f"{name.decode()}: {words.decode()}"

    def allocate(self, size: int) -> int:
        return int(self._on_device(self._cuda.cudaMalloc, size))

    def free(self, address: int) -> None:
        self._on_device(self._cuda.cudaFree, address)

    def handle(self, address: int) -> bytes:
        made = self._on_device(self._cuda.cudaIpcGetMemHandle, address)
        return ctypes.string_at(made.getPtr(), HANDLE_BYTES)

    def open(self, handle: bytes) -> int:
        told = self._cuda.cudaIpcMemHandle_t()
        ctypes.memmove(told.getPtr(), handle, HANDLE_BYTES)
        return int(self._on_device(self._cuda.cudaIpcOpenMemHandle, told, self._cuda.cudaIpcMemLazyEnablePeerAccess))

    def pin(self, address: int, size: int) -> None:
        self._on_device(self._cuda.cudaHostRegister, address, size, self._cuda.cudaHostRegisterDefault)

    def unpin(self, address: int) -> None:
        self._on_device(self._cuda.cudaHostUnregister, address)

    def event(self) -> int:
        # Without a time in it an event costs less to record and to ask.
        self._events.append(self._on_device(self._cuda.cudaEventCreateWithFlags, self._cuda.cudaEventDisableTiming))
        return len(self._events) - 1

    def copy(self, target: int, source: int, size: int, event: int) -> None:
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDefault  # the addresses tell
        self._on_device(self._cuda.cudaMemcpyAsync, target, source, size, kind, self._stream)
        self._call(self._cuda.cudaEventRecord, self._events[event], self._stream)

    def over(self, event: int) -> bool:
        (status,) = self._cuda.cudaEventQuery(self._events[event])
        if status == self._not_ready:
            return False
        if status != self._cuda.cudaError_t.cudaSuccess:
            raise CudaError(self._words(status))
        return True

    def close(self) -> None:
        while self._events:
            self._on_device(self._cuda.cudaEventDestroy, self._events.pop())
        self._on_device(self._cuda.cudaStreamDestroy, self._stream)
