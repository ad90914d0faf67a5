"""Videos decoded into slots on a GPU, by the service's own decoder processes: the promises of docs/gpu.md.

On the fake, whose memory these processes open by its handle and where FFmpeg's software decoder takes NVDEC's place;
and on the real GPU where this machine has one.
"""

import asyncio
import errno
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.decoding.pool import Decoder
from app.decoding.worker import DecodeTask
from app.errors import Undecodable
from app.media.types import ClipRequest, DecodeResult, Limits, Source
from app.sandbox import Layer, SandboxConfig, SandboxError, current_layers, linux
from app.sandbox.layers import ON_GPU, address_space
from app.shm.cuda_pool import CudaSlotPool
from app.shm.cuda_runtime import GpuRegionHandle
from app.video import gpu_decoding
from app.video.gpu_decoding import GpuUnavailable
from app.video.probe import Resources
from tests.support.cuda_fake import LOST, FakeCuda
from tests.support.cuda_here import read_back, real_cuda
from tests.support.films import corners, numbered, read_corners, read_number, write_video
from tests.support.leaks import descendants
from tests.support.regions import whole

LIMITS = Limits(max_pixels=4_000_000, max_frames=1000, max_duration_s=60)
SIZE, TIMES = 64, tuple(n / 30 for n in (0, 5, 11, 20))
SLOT, SLOTS = 1 << 20, 2


class FailingCuda(FakeCuda):
    """A GPU that is lost before a decoder process opens anything."""

    def __init__(self, device: int = 0) -> None:
        super().__init__(device)
        self.fail("open", LOST)


class ThreadedCuda(FakeCuda):
    """A GPU whose driver has a thread of its own in every process that opened something, as CUDA's has."""

    work: SimpleQueue[tuple[Callable[[], object], SimpleQueue[str]]] = SimpleQueue()

    def open(self, handle: bytes) -> int:
        threading.Thread(target=self._work, daemon=True).start()
        return super().open(handle)

    def _work(self) -> None:
        while True:
            action, answer = self.work.get()
            try:
                answer.put(f"done: {action()}")
            except OSError as error:
                answer.put(errno.errorcode[error.errno or 0])


def in_that_thread(action: Callable[[], object]) -> str:
    answer: SimpleQueue[str] = SimpleQueue()
    ThreadedCuda.work.put((action, answer))
    return answer.get(timeout=20)


def start_a_program() -> None:
    os.execv("/bin/true", ["/bin/true"])


def leave_for_another_namespace() -> None:
    linux.unshare(linux.NEW_USER)


@dataclass
class Place:
    """A worker's slots, and a decoder that writes into them."""

    pool: CudaSlotPool
    runtime: Any
    slots: GpuRegionHandle

    def request(self, *rows: tuple[float, ...], on_gpu: bool = True) -> ClipRequest:
        offsets = tuple(SLOT * number for number in range(len(rows)))
        return ClipRequest(rows, SIZE, SIZE, offsets, str(self.pool.path), on_gpu)

    def clip(self, offset: int, frames: int = len(TIMES)) -> NDArray[np.uint8]:
        """Return the clip on the GPU in the slot at `offset`."""
        assert self.pool.device._address is not None
        data = read_back(self.runtime, self.pool.device._address + offset, frames * SIZE * SIZE * 3)
        return np.frombuffer(data, np.uint8).reshape(frames, SIZE, SIZE, 3)

    def run(self, use: Callable[[Decoder], Coroutine[Any, Any, Any]], **options: Any) -> Any:
        decoder = Decoder(1, 60, LIMITS, SandboxConfig((), (str(self.pool.path),), gpu=self.slots, **options))

        async def start_and_use() -> Any:
            await decoder.start()
            return await use(decoder)

        try:
            return asyncio.run(start_and_use())
        finally:
            decoder.stop()

    def decode(self, source: Source, request: ClipRequest) -> DecodeResult:
        async def use(decoder: Decoder) -> DecodeResult:
            return (await decoder.decode(DecodeTask(source, request))).clips

        decoded: DecodeResult = self.run(use)
        return decoded


@pytest.fixture(params=["fake", "real"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    runtime = FakeCuda() if request.param == "fake" else real_cuda()
    pool = CudaSlotPool(SLOTS, SLOT, runtime)
    slots = GpuRegionHandle(runtime.device, pool.device.handle, pool.device.region_bytes)
    if request.param == "fake":
        slots = replace(slots, runtime=FakeCuda, device="cpu")
    yield Place(pool, runtime, slots)
    pool.close()


@pytest.fixture
def film(tmp_path: Path) -> Source:
    return whole(write_video(tmp_path / "film.mp4", map(numbered, range(30))))


def test_wanted_frames_are_on_gpu_only(place: Place, film: Source) -> None:
    decoded = place.decode(film, place.request(TIMES, TIMES[::-1]))
    assert (decoded.on_gpu, decoded.not_on_gpu) == (True, "")
    assert decoded.frames == ((0, 5, 11, 20), (20, 11, 5, 0))
    assert [read_number(frame) for frame in place.clip(0)] == [0, 5, 11, 20]
    assert [read_number(frame) for frame in place.clip(SLOT)] == [20, 11, 5, 0]
    assert not place.pool.view(0, (SLOTS * SLOT,)).any()


def test_properties_equal_those_of_the_cpu(place: Place, film: Source) -> None:
    late = tuple(time + 0.5 for time in TIMES)
    there, here = (place.decode(film, place.request(TIMES, late, on_gpu=on_gpu)) for on_gpu in (True, False))
    assert there.on_gpu and not here.on_gpu
    assert replace(there, on_gpu=False) == here
    assert here.padded == (False, True)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_rotated_video_is_upright_on_the_gpu(place: Place, tmp_path: Path, rotation: int) -> None:
    lying = np.ascontiguousarray(np.rot90(corners(120, 160) if rotation % 180 else corners(160, 120), rotation // 90))
    film = whole(write_video(tmp_path / "film.mov", [lying] * 20, rotation=rotation))
    assert place.decode(film, place.request((0.0, 0.2))).on_gpu
    assert [read_corners(frame) for frame in place.clip(0, 2)] == ["rgbw", "rgbw"]


def test_gpu_clip_is_copied_to_host_on_demand(place: Place, film: Source) -> None:
    place.decode(film, place.request(TIMES))
    place.pool.device.mark_written(0, on_gpu=True)
    count = place.clip(0).nbytes
    asyncio.run(place.pool.device.upload(0, count))  # uploads nothing: else the GPU would hold the host's zeros
    asyncio.run(place.pool.device.download(0, count))
    assert [read_number(frame) for frame in place.pool.view(0, (len(TIMES), SIZE, SIZE, 3))] == [0, 5, 11, 20]


def test_host_memory_is_used_by_default(place: Place, film: Source) -> None:
    assert not place.decode(film, place.request(TIMES, on_gpu=False)).on_gpu
    assert [read_number(frame) for frame in place.pool.view(0, (len(TIMES), SIZE, SIZE, 3))] == [0, 5, 11, 20]


def test_pictures_are_decoded_on_the_cpu(place: Place, tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(corners()).save(tmp_path / "picture.png")
    assert not place.decode(whole(tmp_path / "picture.png"), place.request((0.0,))).on_gpu
    assert read_corners(place.pool.view(0, (SIZE, SIZE, 3))) == "rgbw"


def test_damaged_file_is_undecodable_and_the_gpu_stays_in_use(place: Place, film: Source, tmp_path: Path) -> None:
    data = bytearray(Path(film.path).read_bytes())
    start = data.index(b"mdat") + 4
    (tmp_path / "bad.mp4").write_bytes(data[:start] + bytes(len(data) - start))
    media, bad = asyncio.run(_probed(film)), whole(tmp_path / "bad.mp4")

    async def use(decoder: Decoder) -> None:
        with pytest.raises(Undecodable):
            await decoder.decode(DecodeTask(bad, place.request(TIMES), media))
        assert (await decoder.decode(DecodeTask(film, place.request(TIMES), media))).clips.on_gpu

    place.run(use)


async def _probed(source: Source) -> Any:
    from app.video.probe import probe

    return probe(source, LIMITS)


def test_clip_outside_the_slots_is_a_value_error(place: Place, film: Source) -> None:
    request = replace(place.request(TIMES), offsets=(place.pool.device.region_bytes - 10,))
    with pytest.raises(ValueError, match="outside the region"):
        place.decode(film, request)


def test_gpu_decoder_is_sandboxed(place: Place, film: Source) -> None:
    async def use(decoder: Decoder) -> tuple[int, int]:
        await decoder.decode(DecodeTask(film, place.request(TIMES)))
        for pid in descendants(os.getpid()):
            limits = Path(f"/proc/{pid}/limits").read_text()
            if limits[limits.index("Max file size") :].split()[3] == "0":
                taken = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
                return int(limits[limits.index("Max address space") :].split()[3]), taken
        raise AssertionError("no process is confined")

    most, taken = place.run(use, memory_bytes=1 << 30)
    assert 1 << 30 < most < taken + (1 << 30) + (64 << 20)
    assert address_space() > 1 << 20


def test_gpu_decoder_names_its_missing_layers(place: Place) -> None:
    async def use(decoder: Decoder) -> Any:
        return await decoder._run(None, None, current_layers)

    layers: tuple[Layer, ...] = place.run(use)
    user = set() if os.geteuid() == 0 else {"user"}
    assert {layer.name for layer in layers if layer.holds} == {"limits"} | user
    assert {layer.name for layer in layers} == {"limits", "files", "user", "processes", "network", "calls"}
    assert all(layer.note.startswith(ON_GPU) for layer in layers if not layer.holds)


@pytest.mark.parametrize("action", [start_a_program, leave_for_another_namespace])
def test_driver_threads_are_confined_too(place: Place, action: Callable[[], None]) -> None:
    place.slots = replace(place.slots, runtime=ThreadedCuda)
    if place.slots.device != "cpu":
        pytest.skip("the real driver's threads do nothing for others")

    async def use(decoder: Decoder) -> list[str]:
        return [await decoder._run(None, None, in_that_thread, tried) for tried in (os.getpid, action)]

    works, refused = place.run(use)
    assert works.startswith("done: ")
    assert refused == "EPERM"


def test_gpu_decoder_cannot_have_every_layer(place: Place) -> None:
    with pytest.raises(SandboxError, match=f"lack these sandbox layers: files: {ON_GPU}"):
        place.run(_probed, mode="required")


def test_missing_gpu_stops_the_start() -> None:
    decoder = Decoder(1, 20, LIMITS, SandboxConfig((), gpu=GpuRegionHandle(0, bytes(64), 4096, FailingCuda, "cpu")))
    with pytest.raises(
        GpuUnavailable, match="DECODER_DEVICE is cuda, and no video can be decoded there: .*Unavailable"
    ):
        asyncio.run(decoder.start())


def test_without_a_gpu_the_cpu_decodes(tmp_path: Path, film: Source) -> None:
    from app.decoding.worker import decode

    (tmp_path / "region").write_bytes(bytes(SLOT))
    request = ClipRequest((TIMES,), SIZE, SIZE, (0,), str(tmp_path / "region"), on_gpu=True)
    gpu_decoding.prepare(GpuRegionHandle(0, bytes(64), 4096, FailingCuda, "cpu"))
    decoded = decode(film, asyncio.run(_probed(film)), request)
    assert not decoded.on_gpu and "cudaErrorDevicesUnavailable" in decoded.not_on_gpu
    assert decoded.frames == ((0, 5, 11, 20),)


def test_unsupported_codecs_are_decoded_on_the_cpu(tmp_path: Path, film: Source) -> None:
    # Without a driver FFmpeg's NVDEC refuses every file, as it does a codec that it does not know
    import torch

    from app.video import decode as video
    from app.video.gpu_frames import DeviceReader

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here, and NVDEC takes this file")

    class Absent:
        def open_clips(self, request: ClipRequest) -> list[torch.Tensor]:
            return [torch.zeros(4, SIZE, SIZE, 3, dtype=torch.uint8)]

        def open_reader(self, source: Source, media: Any, demuxer: str, size: tuple[int, int]) -> DeviceReader:
            return DeviceReader(source, demuxer, media, size, torch.device("cuda:0"))

        def finish(self) -> None:
            raise AssertionError("nothing was written")

    (tmp_path / "region").write_bytes(bytes(SLOT))
    request = ClipRequest((TIMES,), SIZE, SIZE, (0,), str(tmp_path / "region"), on_gpu=True)
    decoded = video.decode(film, asyncio.run(_probed(film)), request, resources=Resources(gpu=Absent()))
    assert decoded.not_on_gpu and not decoded.on_gpu
    clip = np.frombuffer((tmp_path / "region").read_bytes(), np.uint8)[: 4 * SIZE * SIZE * 3].reshape(4, SIZE, SIZE, 3)
    assert [read_number(frame) for frame in clip] == [0, 5, 11, 20]
