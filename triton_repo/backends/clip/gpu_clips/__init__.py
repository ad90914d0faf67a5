"""Clips that lie in the GPU memory of web workers.

A request names its clip by a reference instead of sending it. The model's process opens the worker's memory once,
through CUDA's IPC handle, and keeps it open while the worker lives. A handle that cannot be opened fails its own
request. The package imports nothing else of the project, because the Triton server sees only this folder.
"""

from .driver import CudaDriver
from .regions import REFERENCE, GpuClipError, GpuClips

__all__ = ["REFERENCE", "CudaDriver", "GpuClipError", "GpuClips"]
