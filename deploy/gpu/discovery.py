"""The GPUs of this machine, asked of its driver (NVML), and which of them a worker takes.

python -m deploy.gpu.discovery        lists those that can be used; exit status 1, and why, when there is none

NVML looks at a GPU without taking any of its memory, which CUDA itself would at the first question.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

ORDER = "PCI_BUS_ID"  # NVML's; CUDA's own puts the fastest first. The stack is started with CUDA_DEVICE_ORDER set to it
SPARE_BYTES = 2 << 30  # a GPU with less free memory belongs to somebody else

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Gpu:
    """One GPU; `number` is the one by which CUDA and so Triton know it, `bus` its place among all of the machine."""

    number: int
    bus: int
    uuid: str
    name: str
    total_bytes: int
    free_bytes: int

    def __str__(self) -> str:
        return f"GPU {self.number}: {self.name}, {self.free_bytes >> 20} of {self.total_bytes >> 20} MiB free"


class NoGpu(Exception):
    """There is no GPU to be used; the message says why."""


class Driver(Protocol):
    """What is asked of the driver."""

    def gpus(self) -> list[Gpu]:
        """Every GPU, in the order of the bus; `number` and `bus` are the same. NoGpu when there is no driver."""


class Nvml:
    """The driver's own library, by nvidia-ml-py."""

    def gpus(self) -> list[Gpu]:
        try:
            import pynvml
        except ImportError as error:
            raise NoGpu(f"nvidia-ml-py is not installed ({error})") from error
        try:
            pynvml.nvmlInit()
            try:
                return [_told(pynvml, number) for number in range(pynvml.nvmlDeviceGetCount())]
            finally:
                pynvml.nvmlShutdown()  # nothing of it may be there when a web worker is forked
        except pynvml.NVMLError as error:
            raise NoGpu(f"NVML: {error}") from error


def _told(pynvml: object, number: int) -> Gpu:
    ask = pynvml
    handle = ask.nvmlDeviceGetHandleByIndex(number)  # type: ignore[attr-defined]
    memory = ask.nvmlDeviceGetMemoryInfo(handle)  # type: ignore[attr-defined]
    uuid, name = ask.nvmlDeviceGetUUID(handle), ask.nvmlDeviceGetName(handle)  # type: ignore[attr-defined]
    return Gpu(number, number, str(uuid), str(name), int(memory.total), int(memory.free))


def visible(gpus: Sequence[Gpu], environment: Mapping[str, str] = os.environ) -> list[Gpu]:
    """Those that CUDA_VISIBLE_DEVICES leaves, with the numbers that CUDA gives them.

    As CUDA reads it: numbers or beginnings of UUIDs; the first that names no GPU, or two, ends the list.
    """
    wanted = environment.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return list(gpus)
    found: list[Gpu] = []
    for word in (word.strip() for word in wanted.split(",")):
        matching = [gpu for gpu in gpus if word == str(gpu.bus) or (word[:4] == "GPU-" and gpu.uuid.startswith(word))]
        if len(matching) != 1 or matching[0].bus in {gpu.bus for gpu in found}:
            break
        (gpu,) = matching
        found.append(Gpu(len(found), gpu.bus, gpu.uuid, gpu.name, gpu.total_bytes, gpu.free_bytes))
    return found


def usable(driver: Driver | None = None, environment: Mapping[str, str] = os.environ) -> list[Gpu]:
    """The visible GPUs with memory to spare; NoGpu, with the reason, when there is none."""
    gpus = (driver or Nvml()).gpus()
    seen = visible(gpus, environment)
    if not seen:
        hidden = f", and CUDA_VISIBLE_DEVICES={environment.get('CUDA_VISIBLE_DEVICES')!r} leaves none" if gpus else ""
        raise NoGpu(f"the driver knows {len(gpus)} GPUs{hidden}")
    free = [gpu for gpu in seen if gpu.free_bytes >= SPARE_BYTES]
    if not free:
        raise NoGpu("; ".join(map(str, seen)) + f": less than {SPARE_BYTES >> 20} MiB free")
    return free


def next_place(taken: Iterable[int], places: Sequence[int]) -> int:
    """Of `places` the one that is `taken` least often, the first of equals.

    One process gives out all places, gunicorn's master, and counts those of living workers only: so they are taken in
    turns, two workers never choose at the same time, and who comes after a worker that was killed gets its place.
    """
    held = list(taken)
    return min(places, key=lambda place: (held.count(place), places.index(place)))


def main() -> int | str:
    try:
        found = usable()
    except NoGpu as error:
        return f"no GPU: {error}"
    print("\n".join(map(str, found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
