"""Calls of NVIDIA's driver that open another process's GPU memory.

ctypes calls them, so that the backend needs no package besides torch. The names and the constants are those of cuda.h
(https://docs.nvidia.com/cuda/cuda-driver-api/).
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

LIBRARY = "libcuda.so.1"
HANDLE_BYTES = 64  # CU_IPC_HANDLE_SIZE
LAZY_PEER_ACCESS = 1  # CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS, the only flag that there is


class DriverError(Exception):
    """Failed call of the driver; the message begins with CUDA's name of the error."""


class _Handle(ctypes.Structure):
    """CUipcMemHandle, which the driver takes by value."""

    _fields_ = (("reserved", ctypes.c_ubyte * HANDLE_BYTES),)


class CudaDriver:
    """The installed driver. Any thread may use it.

    Every call runs in the primary context of its GPU, the one that torch uses, and may raise DriverError.

    Raises:
        DriverError: The driver is missing or does not start.
    """

    def __init__(self, library: str = LIBRARY) -> None:
        try:
            self._cuda = ctypes.CDLL(library)
        except OSError as error:
            raise DriverError(f"NVIDIA's driver cannot be loaded: {error}") from error
        self._contexts: dict[int, ctypes.c_void_p] = {}
        self._call("cuInit", ctypes.c_uint(0))

    def open(self, device: int, handle: bytes) -> int:
        """Open the allocation of a handle on the GPU with CUDA's number `device`; return its address here."""
        address = ctypes.c_uint64()
        with self._current(device):
            flags = ctypes.c_uint(LAZY_PEER_ACCESS)
            self._call("cuIpcOpenMemHandle_v2", ctypes.byref(address), _Handle.from_buffer_copy(handle), flags)
        return address.value

    def close(self, device: int, address: int) -> None:
        """Close what `open` returned."""
        with self._current(device):
            self._call("cuIpcCloseMemHandle", ctypes.c_uint64(address))

    @contextmanager
    def _current(self, device: int) -> Iterator[None]:
        """Make the GPU's primary context the thread's current one for a while."""
        if device not in self._contexts:
            number, context = ctypes.c_int(), ctypes.c_void_p()
            self._call("cuDeviceGet", ctypes.byref(number), ctypes.c_int(device))
            self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), number)
            self._contexts[device] = context
        self._call("cuCtxPushCurrent_v2", self._contexts[device])
        try:
            yield
        finally:
            self._call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))

    def _call(self, name: str, *arguments: object) -> None:
        status = getattr(self._cuda, name)(*arguments)
        if status != 0:
            raise DriverError(f"{self._name(status)} of {name}")

    def _name(self, status: int) -> str:
        text = ctypes.c_char_p()
        self._cuda.cuGetErrorName(ctypes.c_int(status), ctypes.byref(text))
        return (text.value or b"error %d" % status).decode()
