"""Discovery of the machine's GPUs through NVML, and the choice of one for a worker.

Usage: python -m deploy.gpu.discovery

It lists the usable GPUs. Without one it prints the reason and exits with status 1.
NVML inspects a GPU without allocating memory on it; CUDA would allocate at its first call.
"""

import logging
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

ORDER = "PCI_BUS_ID"  # NVML's order and the stack's CUDA_DEVICE_ORDER; CUDA by default puts the fastest GPU first
SPARE_BYTES = 2 << 30  # a GPU with less free memory is in use by another program
CUDA_VERSION = 13000  # of the pinned torch and cuda-bindings: 1000 * major + 10 * minor
OLDEST_DRIVER = 580  # the first driver with that version (https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/)

MIG_HELP = ". MIG instances are not supported: name a whole GPU, or turn MIG off with `nvidia-smi -mig 0`"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Gpu:
    """One GPU: `number` is its index in CUDA, and so in Triton, `bus` that among all GPUs of the machine, in PCI order.

    `is_divided` says whether MIG divides it into instances.
    """

    number: int
    bus: int
    uuid: str
    name: str
    total_bytes: int
    free_bytes: int
    is_divided: bool = False

    def __str__(self) -> str:
        return f"GPU {self.number}: {self.name}, {self.free_bytes >> 20} of {self.total_bytes >> 20} MiB free"


class NoGpu(Exception):
    """No GPU is usable; the message says why."""


class Driver(Protocol):
    """Interface to the GPU driver."""

    def gpus(self) -> list[Gpu]:
        """Return every GPU in PCI order, `number` equal to `bus`; raise NoGpu without a driver, or for one too old."""


class Nvml:
    """GPU driver accessed through nvidia-ml-py."""

    def gpus(self) -> list[Gpu]:
        """Return every GPU in PCI order; raise NoGpu when NVML is not available or the driver is too old."""
        try:
            import pynvml
        except ImportError as error:
            raise NoGpu(f"nvidia-ml-py is not installed ({error})") from error
        try:
            pynvml.nvmlInit()
            try:
                _require_cuda(pynvml.nvmlSystemGetCudaDriverVersion_v2())
                return [_gpu(pynvml, number) for number in range(pynvml.nvmlDeviceGetCount())]
            finally:
                pynvml.nvmlShutdown()  # NVML must not be open when a web worker is forked
        except pynvml.NVMLError as error:
            raise NoGpu(f"NVML: {error}") from error


def _require_cuda(version: int) -> None:
    """Raise NoGpu for a driver on which torch and cuda-bindings do not start."""
    if version < CUDA_VERSION:
        raise NoGpu(
            f"the driver supports CUDA {_dotted(version)}, and the installed packages need CUDA "
            f"{_dotted(CUDA_VERSION)}: install driver {OLDEST_DRIVER} or later"
        )


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


def _gpu(pynvml: Any, number: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(number)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    uuid, name = pynvml.nvmlDeviceGetUUID(handle), pynvml.nvmlDeviceGetName(handle)
    return Gpu(number, number, str(uuid), str(name), int(memory.total), int(memory.free), _is_divided(pynvml, handle))


def _is_divided(pynvml: Any, handle: Any) -> bool:
    try:
        current, _ = pynvml.nvmlDeviceGetMigMode(handle)
    except pynvml.NVMLError:  # a GPU without MIG
        return False
    return bool(current)


def visible(gpus: Sequence[Gpu], environment: Mapping[str, str] = os.environ) -> list[Gpu]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES allows, numbered as CUDA numbers them.

    Follows CUDA's rules: entries are indices or UUID prefixes, and the first entry that matches no GPU, or two, ends
    the list.
    """
    device_list = environment.get("CUDA_VISIBLE_DEVICES")
    if device_list is None:
        return list(gpus)
    chosen: list[Gpu] = []
    for entry in map(str.strip, device_list.split(",")):
        matching = [
            gpu for gpu in gpus if entry == str(gpu.bus) or (entry[:4] == "GPU-" and gpu.uuid.startswith(entry))
        ]
        if len(matching) != 1 or matching[0].bus in {gpu.bus for gpu in chosen}:
            break
        (gpu,) = matching
        chosen.append(replace(gpu, number=len(chosen)))
    return chosen


def usable(driver: Driver | None = None, environment: Mapping[str, str] = os.environ) -> list[Gpu]:
    """Return the visible GPUs with at least SPARE_BYTES of free memory that MIG does not divide.

    Raise NoGpu with the reason if there is none.
    """
    gpus = (driver or Nvml()).gpus()
    candidates = visible(gpus, environment)
    if not candidates:
        device_list = environment.get("CUDA_VISIBLE_DEVICES", "")
        hidden = f", and CUDA_VISIBLE_DEVICES={device_list!r} leaves none" if gpus else ""
        raise NoGpu(f"the driver reports {len(gpus)} GPUs{hidden}{MIG_HELP if 'MIG-' in device_list else ''}")
    whole = [gpu for gpu in candidates if not gpu.is_divided]
    if not whole:
        raise NoGpu("; ".join(map(str, candidates)) + f": divided by MIG{MIG_HELP}")
    free = [gpu for gpu in whole if gpu.free_bytes >= SPARE_BYTES]
    if not free:
        raise NoGpu("; ".join(map(str, whole)) + f": less than {SPARE_BYTES >> 20} MiB free")
    return free


def least_used(used: Iterable[int], gpus: Sequence[int]) -> int:
    """Return the entry of `gpus` that occurs least often in `used`; the first one on a tie.

    Gunicorn's master alone assigns GPUs and counts only living workers. Two workers therefore never choose at the
    same time, and the replacement of a killed worker gets its GPU.
    """
    counts = Counter(used)
    return min(gpus, key=lambda gpu: (counts[gpu], gpus.index(gpu)))


def main() -> int | str:
    """Print the usable GPUs, or return the reason why there is none."""
    try:
        gpus = usable()
    except NoGpu as error:
        return f"no GPU: {error}"
    print("\n".join(map(str, gpus)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
