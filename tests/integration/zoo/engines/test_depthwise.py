"""The depthwise convolution kernel: its source on the CPU, its compilation, and its use in networks."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.support.networks import served_video
from triton_repo.backends.clip.clip_engines.depthwise import compiler, depthwise, is_possible, operator
from triton_repo.backends.clip.clip_engines.depthwise.operator import NONE, RELU, SILU, Kernel
from triton_repo.backends.clip.clip_engines.torch_program import has_depthwise, prepared
from triton_repo.zoo.export.engine_files import program
from triton_repo.zoo.export.openvino import example_clips
from triton_repo.zoo.spec import ServedNetwork

HOST = Path(__file__).parents[3] / "support" / "kernel_host.cpp"
SIZES: list[tuple[Kernel, int]] = [((3, 3, 3), 1), ((3, 3, 3), 2), ((5, 1, 1), 1), ((1, 3, 3), 1), ((1, 1, 3), 2)]
aten = torch.ops.aten


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Kernel, int], ctypes.CDLL]:
    """The kernel, built from its source for the CPU."""
    builder = shutil.which("g++") or shutil.which("c++")
    if builder is None:
        pytest.skip("no C++ compiler")
    folder = tmp_path_factory.mktemp("kernel")

    def build(kernel: Kernel, stride: int) -> ctypes.CDLL:
        library = folder / f"{'x'.join(map(str, kernel))}-{stride}.so"
        if not library.exists():
            flags = ["-O1", "-shared", "-fPIC", "-Wall", "-Werror", "-Wno-unknown-pragmas"]
            defines = [f'-DKERNEL="{compiler.SOURCE}"', *compiler.definitions(kernel, stride)]
            subprocess.run([builder, *flags, *defines, "-o", library, HOST], check=True, timeout=120)
        return ctypes.CDLL(str(library))

    return build


def made(shape: tuple[int, ...], kernel: Kernel) -> tuple[Tensor, Tensor, Tensor]:
    """A clip (B, C, T, H, W) in bf16, weights (taps, C) and bias (C,)."""
    torch.manual_seed(0)
    clip = torch.randn(shape).to(torch.bfloat16, memory_format=torch.channels_last_3d)
    return clip, torch.randn(kernel[0] * kernel[1] * kernel[2], shape[1]), torch.randn(shape[1])


def wanted(clip: Tensor, weight: Tensor, bias: Tensor, kernel: Kernel, stride: int, activation: int) -> Tensor:
    """Return the convolution in float64."""
    channels, padding = clip.shape[1], [size // 2 for size in kernel]
    weights = weight.double().t().reshape(channels, 1, *kernel)
    sums = torch.nn.functional.conv3d(
        clip.double(), weights, bias.double(), (1, stride, stride), padding, groups=channels
    )
    return {NONE: sums, SILU: torch.nn.functional.silu(sums), RELU: sums.relu()}[activation]


@pytest.mark.parametrize(("kernel", "stride"), SIZES)
@pytest.mark.parametrize("shape", [(2, 6, 5, 9, 10), (1, 56, 4, 8, 7), (1, 2, 1, 1, 1), (3, 4, 16, 5, 13)])
@pytest.mark.parametrize("activation", [NONE, SILU, RELU])
def test_source_calculates_the_convolution(
    built: Callable[[Kernel, int], ctypes.CDLL], kernel: Kernel, stride: int, shape: tuple[int, ...], activation: int
) -> None:
    clip, weight, bias = made(shape, kernel)
    right = wanted(clip, weight, bias, kernel, stride, activation)
    for span in {1, 3, shape[2]}:
        result = torch.full(right.shape, float("nan"), dtype=torch.bfloat16).to(memory_format=torch.channels_last_3d)
        clips, channels, frames, height, width = clip.shape
        groups = -(-right.shape[4] // operator.ACROSS)
        threads = clips * right.shape[3] * groups * (channels // 2) * -(-frames // span)
        pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (clip, weight, bias, result)]
        built(kernel, stride).run(
            -(-threads // operator.THREADS),
            operator.THREADS,
            *pointers,
            clips,
            frames,
            height,
            width,
            channels // 2,
            span,
            activation,
        )
        # bf16 has 8 bits of mantissa: half a unit in the last place is 2 ** -9
        torch.testing.assert_close(result.double(), right, atol=1e-4, rtol=2**-8)


@pytest.mark.parametrize(("kernel", "stride"), SIZES)
@pytest.mark.parametrize("activation", [NONE, SILU, RELU])
def test_function_without_gpu_calculates_the_same(kernel: Kernel, stride: int, activation: int) -> None:
    clip, weight, bias = made((2, 6, 5, 9, 10), kernel)
    right = wanted(clip, weight, bias, kernel, stride, activation)
    for dtype, close in ((torch.float32, 1e-5), (torch.bfloat16, 2**-8)):
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            answer = depthwise(clip.to(dtype), weight, bias, kernel, stride, activation)
        assert answer.dtype == dtype and answer.is_contiguous(memory_format=torch.channels_last_3d)
        torch.testing.assert_close(answer.double(), right, atol=1e-4, rtol=close)


@pytest.mark.parametrize(("kernel", "stride"), SIZES[:4])
def test_nvcc_compiles_it_for_hopper(tmp_path: Path, kernel: Kernel, stride: int) -> None:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("no nvcc")
    options = ["-arch=sm_90", "-cubin", "-Xptxas=-v", "-o", tmp_path / "kernel.cubin"]
    command = [nvcc, *options, *compiler.definitions(kernel, stride), compiler.SOURCE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "0 bytes spill stores" in done.stderr, done.stderr


def test_nvrtc_compiles_it_for_hopper() -> None:
    try:
        compiler._library()
    except RuntimeError as error:
        pytest.skip(str(error))
    binary = compiler.compile_binary("sm_90", compiler.definitions((3, 3, 3), 2))
    assert binary[:4] == b"\x7fELF"
    with pytest.raises(RuntimeError, match="the depthwise kernel is not compiled: .*error"):
        compiler.compile_binary("sm_90", ["-DKT=oops"])


def test_missing_nvrtc_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "LIBRARIES", ("libno-nvrtc.so",))
    with pytest.raises(RuntimeError, match=r"none of libno-nvrtc\.so can be loaded"):
        compiler.compile_binary("sm_90", [])


@pytest.mark.parametrize(("columns", "span"), [(10**6, 16), (70_000, 16), (40_000, 8), (20_000, 4), (10, 4)])
def test_few_threads_take_shorter_spans(columns: int, span: int) -> None:
    assert operator._span(16, columns, 67_584) == span


@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "possible"),
    [
        (54, (3, 3, 3), 2, True),
        (53, (3, 3, 3), 1, False),
        (8, (3, 3, 3), 3, False),
        (8, (2, 3, 3), 1, False),
        (8, (5, 3, 3), 1, False),
    ],
)
def test_sizes_that_the_kernel_can_make(channels: int, kernel: Kernel, stride: int, possible: bool) -> None:
    assert is_possible(channels, kernel, stride) == possible


def test_network_uses_the_kernel_for_every_depthwise_convolution() -> None:
    served = served_video()
    exported = program(served)
    assert has_depthwise(exported.graph)
    network = prepared(exported.module(), torch.float32, "depthwise")
    calls = [node for node in network.graph.nodes if node.op == "call_function" and node.target is depthwise]
    blocks = sum(type(part).__name__ == "ResBlock" for part in served.network.modules())
    assert len(calls) == blocks + 1  # and the stem
    assert [node.args[5] for node in calls].count(RELU) == 1 and [node.args[5] for node in calls].count(SILU) > 0
    widths = {getattr(network, str(node.args[1].target)).shape[1] for node in calls}
    assert widths == {24, 56, 112, 216, 432}  # 54 and 108 are padded
    clips = torch.from_numpy(example_clips(served, 2))
    with torch.no_grad():
        torch.testing.assert_close(network(clips), ServedNetwork(served).eval()(clips), atol=1e-5, rtol=0)


class Odd(nn.Module):
    """Convolutions that the kernel or the padding must not change."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Conv3d(6, 12, 1)
        self.padded_otherwise = nn.Conv3d(12, 12, 3, padding=(1, 0, 0), groups=12)
        self.twofold = nn.Conv3d(12, 24, 3, padding=1, groups=12)
        self.grouped = nn.Conv3d(24, 24, 3, padding=1, groups=2)
        self.uneven = nn.Conv3d(24, 24, 3, stride=(2, 1, 1), padding=1, groups=24)
        self.fine = nn.Conv3d(24, 12, 1)
        self.depthwise = nn.Conv3d(12, 12, 3, padding=1, groups=12, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.uneven(self.grouped(self.twofold(self.padded_otherwise(self.inner(x)))))
        return self.depthwise(self.fine(x)).flatten(1)  # flatten: its channels cannot be padded


def test_other_convolutions_are_unchanged() -> None:
    torch.manual_seed(0)
    odd, given = Odd().eval(), torch.randn(2, 6, 4, 7, 7)
    network = prepared(torch.export.export(odd, (given,)).module(), torch.float32, "depthwise")
    targets = [node.target for node in network.graph.nodes]
    assert (targets.count(depthwise), targets.count(aten.conv3d.default)) == (1, 4)
    (call,) = [node for node in network.graph.nodes if node.target is depthwise]
    assert getattr(network, str(call.args[1].target)).shape == (27, 12)
    with torch.no_grad():
        torch.testing.assert_close(network(given), odd(given), atol=1e-4, rtol=1e-4)
