"""Discovery of GPUs, and their assignment to workers."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from deploy.gpu import discovery
from deploy.gpu.discovery import SPARE_BYTES, Driver, Gpu, NoGpu, Nvml, least_used, usable, visible

CHECKOUT = Path(__file__).resolve().parents[3]
GIB = 1 << 30


class FakeDriver:
    """A `Driver` of a machine with one GPU per given number of free GiB."""

    def __init__(self, *free_gib: float) -> None:
        self._free_gib = free_gib

    def gpus(self) -> list[Gpu]:
        if not self._free_gib:
            raise NoGpu("NVML: NVML Shared Library Not Found")
        return [
            Gpu(number, number, f"GPU-{number:08x}-aaaa", "Fake H200", 141 * GIB, int(free * GIB))
            for number, free in enumerate(self._free_gib)
        ]


@pytest.fixture(params=["fake", "real"])
def driver(request: pytest.FixtureRequest) -> Driver:
    driver: Driver = FakeDriver(100, 50) if request.param == "fake" else Nvml()
    try:
        driver.gpus()
    except NoGpu as reason:
        pytest.skip(f"no GPU here: {reason}")
    return driver


def test_gpus_have_distinct_numbers_and_plausible_memory(driver: Driver) -> None:
    gpus = driver.gpus()
    assert [gpu.number for gpu in gpus] == [gpu.bus for gpu in gpus] == list(range(len(gpus)))
    assert all(0 <= gpu.free_bytes <= gpu.total_bytes for gpu in gpus)
    assert len({gpu.uuid for gpu in gpus}) == len(gpus)
    assert all(gpu.uuid.startswith("GPU-") and gpu.name for gpu in gpus)


@pytest.mark.parametrize("make", [Nvml, FakeDriver])
def test_without_a_driver_the_reason_is_given(make: type[Driver]) -> None:
    try:
        make().gpus()
    except NoGpu as error:
        assert "NVML" in str(error)
    else:
        pytest.skip("there is a GPU here")


@pytest.mark.parametrize(
    ("setting", "buses"),
    [
        (None, [0, 1, 2]),
        ("0,1,2", [0, 1, 2]),
        ("2", [2]),
        ("2,0", [2, 0]),
        (" 1 , 2", [1, 2]),
        ("GPU-00000001", [1]),
        ("GPU-00000002-aaaa,0", [2, 0]),
        ("1,7,0", [1]),  # an invalid number ends the list
        ("1,1", [1]),
        ("GPU-0000", []),  # an ambiguous prefix
        ("-1", []),
        ("", []),
        ("NoDevFiles", []),
    ],
)
def test_cuda_visible_devices_is_read_as_cuda_reads_it(setting: str | None, buses: list[int]) -> None:
    seen = visible(FakeDriver(9, 9, 9).gpus(), {} if setting is None else {"CUDA_VISIBLE_DEVICES": setting})
    assert [gpu.bus for gpu in seen] == buses
    assert [gpu.number for gpu in seen] == list(range(len(buses)))


def test_gpu_in_use_by_others_is_avoided() -> None:
    assert [gpu.number for gpu in usable(FakeDriver(0.5, 100), {})] == [1]
    with pytest.raises(NoGpu, match=rf"less than {SPARE_BYTES >> 20} MiB free"):
        usable(FakeDriver(0.5, 0.1), {})


@pytest.mark.parametrize(
    ("driver", "environment", "words"),
    [
        (FakeDriver(), {}, "NVML Shared Library Not Found"),
        (FakeDriver(9), {"CUDA_VISIBLE_DEVICES": ""}, "reports 1 GPUs, and CUDA_VISIBLE_DEVICES='' leaves none"),
    ],
)
def test_reason_for_no_gpu_is_given(driver: Driver, environment: dict[str, str], words: str) -> None:
    with pytest.raises(NoGpu, match=words):
        usable(driver, environment)


class FakeNvml(ModuleType):
    """The module pynvml on a machine with one GPU."""

    class NVMLError(Exception):
        pass

    def __init__(self, cuda_version: int = 13000, mig_mode: int | None = 0) -> None:
        super().__init__("pynvml")
        self.cuda_version, self.mig_mode, self.is_open = cuda_version, mig_mode, False

    def nvmlInit(self) -> None:
        self.is_open = True

    def nvmlShutdown(self) -> None:
        self.is_open = False

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:
        return self.cuda_version

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:
        return number

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:
        return SimpleNamespace(total=80 * GIB, free=79 * GIB)

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        return "GPU-0"

    def nvmlDeviceGetName(self, handle: int) -> str:
        return "Fake H100"

    def nvmlDeviceGetMigMode(self, handle: int) -> list[int]:
        if self.mig_mode is None:
            raise self.NVMLError("Not Supported")
        return [self.mig_mode, self.mig_mode]


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


@pytest.mark.parametrize(("version", "dotted"), [(12080, "12.8"), (12090, "12.9"), (11040, "11.4")])
def test_driver_that_is_too_old_leaves_models_on_cpu(nvml: FakeNvml, version: int, dotted: str) -> None:
    nvml.cuda_version = version
    words = f"the driver supports CUDA {dotted}, and the installed packages need CUDA 13.0: install driver 580 or later"
    with pytest.raises(NoGpu, match=words):
        usable(Nvml(), {})
    assert not nvml.is_open


@pytest.mark.parametrize("version", [13000, 13010])
def test_driver_that_is_new_enough_is_used(nvml: FakeNvml, version: int) -> None:
    nvml.cuda_version, nvml.mig_mode = version, None
    assert [gpu.name for gpu in usable(Nvml(), {})] == ["Fake H100"]


def test_gpu_divided_by_mig_is_not_used(nvml: FakeNvml) -> None:
    nvml.mig_mode = 1
    with pytest.raises(NoGpu, match=r"GPU 0: Fake H100, .*: divided by MIG\. MIG instances are not supported: name a"):
        usable(Nvml(), {})


def test_mig_uuids_are_named_in_the_error(nvml: FakeNvml) -> None:
    with pytest.raises(NoGpu, match=r"'MIG-5aa1' leaves none\. MIG instances are not supported"):
        usable(Nvml(), {"CUDA_VISIBLE_DEVICES": "MIG-5aa1"})


def test_command_lists_gpus_or_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    answer = discovery.main()
    assert (answer == 0) == ("GPU 0" in capsys.readouterr().out)
    assert answer == 0 or str(answer).startswith("no GPU: ")


def test_workers_take_gpus_in_turns() -> None:
    taken: list[int] = []
    for _ in range(5):
        taken.append(least_used(taken, [0, 1]))
    assert taken == [0, 1, 0, 1, 0]


@pytest.mark.parametrize("killed", range(4))
def test_replacement_of_a_killed_worker_gets_its_gpu(killed: int) -> None:
    living = [0, 1, 2, 3]
    living.pop(killed)
    assert least_used(living, [0, 1, 2, 3]) == killed


def test_workers_of_a_reload_are_spread_over_gpus() -> None:
    old, new = [0, 1, 0], list[int]()
    for _ in range(3):
        new.append(least_used(old + new, [0, 1]))
    assert sorted(new) == [0, 1, 1]  # with the old ones: three on each
