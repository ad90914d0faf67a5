"""Compilation of the kernel for the GPU that is there, by NVRTC, the compiler library that comes with torch.

Not by `torch.cuda._compile_kernel`, which looks for an installed CUDA toolkit.
"""

import ctypes
from pathlib import Path
from typing import Any

import torch

SOURCE = Path(__file__).with_name("kernel.cu")
NAME = "depthwise"
LIBRARIES = ("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so")


def compile_kernel(kernel: tuple[int, int, int], stride: int) -> Any:
    """Return the kernel for these sizes on the current GPU, to be called with grid, block and arguments.

    Raises:
        RuntimeError: It cannot be compiled or loaded.
    """
    major, minor = torch.cuda.get_device_capability()
    binary = compile_binary(f"sm_{major}{minor}", definitions(kernel, stride))
    try:
        from torch.cuda._utils import _cuda_load_module

        kernels: Any = _cuda_load_module(binary, [NAME])
    except (ImportError, OSError) as error:  # private to torch: another version may not have it
        raise RuntimeError(f"torch {torch.__version__} does not load kernels: {error}") from error
    return kernels[NAME]


def definitions(kernel: tuple[int, int, int], stride: int) -> list[str]:
    """Return the compiler's options for a convolution's sizes."""
    names = ("KT", "KH", "KW", "STRIDE")
    return [f"-D{name}={size}" for name, size in zip(names, (*kernel, stride), strict=True)]


def compile_binary(architecture: str, options: list[str]) -> bytes:
    """Return the machine code for an architecture, such as sm_90; no GPU is needed.

    Raises:
        RuntimeError: NVRTC is missing, or refuses the source.
    """
    nvrtc = _library()
    program = ctypes.c_void_p()
    _call(nvrtc, "nvrtcCreateProgram", ctypes.byref(program), SOURCE.read_bytes(), b"depthwise.cu", 0, None, None)
    try:
        arguments = [f"--gpu-architecture={architecture}".encode(), *(option.encode() for option in options)]
        array = (ctypes.c_char_p * len(arguments))(*arguments)
        if nvrtc.nvrtcCompileProgram(program, len(arguments), array) != 0:
            log = _read(nvrtc, program, "nvrtcGetProgramLog", "nvrtcGetProgramLogSize")
            raise RuntimeError(f"the depthwise kernel is not compiled: {log.decode(errors='replace')[:300]}")
        return _read(nvrtc, program, "nvrtcGetCUBIN", "nvrtcGetCUBINSize")
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _library() -> ctypes.CDLL:
    for name in LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise RuntimeError(f"none of {', '.join(LIBRARIES)} can be loaded")


def _read(nvrtc: ctypes.CDLL, program: ctypes.c_void_p, read: str, measure: str) -> bytes:
    size = ctypes.c_size_t()
    _call(nvrtc, measure, program, ctypes.byref(size))
    content = ctypes.create_string_buffer(size.value)
    _call(nvrtc, read, program, content)
    return content.raw


def _call(nvrtc: ctypes.CDLL, name: str, *arguments: object) -> None:
    status = getattr(nvrtc, name)(*arguments)
    if status != 0:
        raise RuntimeError(f"{name} returned {status}")
