"""Depthwise convolution as a function of tensors: the kernel on a GPU, torch's own operators on a CPU."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv3d

from .compiler import compile_kernel

NONE, SILU, RELU = range(3)  # as kernel.cu numbers them
ACTIVATIONS: dict[int, Callable[[Tensor], Tensor]] = {SILU: torch.nn.functional.silu, RELU: torch.relu}
THREADS = 128  # of a block
ACROSS = 4  # outputs along the width of one thread
BUSY_THREADS = 512  # of a multiprocessor: with fewer, clips are cut into shorter spans of frames
LEAST_SPAN = 4  # frames; a span reads two frames more than it makes
TAPS, STRIDES = 27, (1, 2)

Kernel = tuple[int, int, int]


def is_possible(channels: int, kernel: Kernel, stride: int) -> bool:
    """Return whether the kernel can make this convolution."""
    taps = kernel[0] * kernel[1] * kernel[2]
    return channels % 2 == 0 and all(size % 2 for size in kernel) and taps <= TAPS and stride in STRIDES


def depthwise(clip: Tensor, weight: Tensor, bias: Tensor, kernel: Kernel, stride: int, activation: int) -> Tensor:
    """Return a depthwise convolution with bias and activation.

    Args:
        clip: (B, C, T, H, W); bf16 on a GPU, any type on a CPU.
        weight: float32 (taps, C).
        bias: float32 (C,).
        kernel: Sizes along T, H and W; padding is half of each.
        stride: Stride along H and W.
        activation: NONE, SILU or RELU.

    Returns:
        (B, C, T, H', W') of the clip's type, channels last. Sums are in float32.

    Raises:
        RuntimeError: The clip is on a GPU and not bf16, or the kernel cannot be compiled there.
    """
    if clip.is_cuda:
        return _on_gpu(clip, weight, bias, kernel, stride, activation)
    channels = clip.shape[1]
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    with torch.autocast("cpu", enabled=False):
        sums = conv3d(
            clip.float(), weight.t().reshape(channels, 1, *kernel), bias, (1, stride, stride), padding, 1, channels
        )
        result = ACTIVATIONS.get(activation, torch.Tensor.contiguous)(sums)
    return result.to(clip.dtype, memory_format=torch.channels_last_3d)


def _on_gpu(clip: Tensor, weight: Tensor, bias: Tensor, kernel: Kernel, stride: int, activation: int) -> Tensor:
    if clip.dtype != torch.bfloat16:
        raise RuntimeError(f"the depthwise kernel takes bf16 and not {clip.dtype}")
    clip = clip.contiguous(memory_format=torch.channels_last_3d)
    clips, channels, frames, height, width = clip.shape
    shape = (clips, channels, frames, (height - 1) // stride + 1, (width - 1) // stride + 1)
    result = torch.empty(shape, dtype=clip.dtype, device=clip.device, memory_format=torch.channels_last_3d)
    device = clip.device.index
    columns = clips * shape[3] * -(-shape[4] // ACROSS) * (channels // 2)
    span = _span(frames, columns, BUSY_THREADS * _multiprocessors(device))
    blocks = -(-columns * -(-frames // span) // THREADS)
    sizes = [clips, frames, height, width, channels // 2, span, activation]
    _compiled(kernel, stride, device)((blocks, 1, 1), (THREADS, 1, 1), [clip, weight, bias, result, *sizes])
    return result


def _span(frames: int, columns: int, wanted: int) -> int:
    """Return the frames of one thread: fewer where there would be less than the wanted number of threads."""
    span = frames
    while span > LEAST_SPAN and columns * -(-frames // span) < wanted:
        span = -(-span // 2)
    return span


@cache
def _multiprocessors(device: int) -> int:
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


@cache
def _compiled(kernel: Kernel, stride: int, device: int) -> Any:
    with torch.cuda.device(device):
        return compile_kernel(kernel, stride)
