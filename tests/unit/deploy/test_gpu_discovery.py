"""Which GPUs there are, and who takes which."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.gpu import discovery
from deploy.gpu.discovery import SPARE_BYTES, Driver, Gpu, NoGpu, Nvml, least_used, usable, visible

CHECKOUT = Path(__file__).resolve().parents[3]
GIB = 1 << 30


class FakeDriver:
    """`Driver` of a machine with as many GPUs as free memory is named for, in GiB."""

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
    found = driver.gpus()
    assert [gpu.number for gpu in found] == [gpu.bus for gpu in found] == list(range(len(found)))
    assert all(0 <= gpu.free_bytes <= gpu.total_bytes for gpu in found)
    assert len({gpu.uuid for gpu in found}) == len(found)
    assert all(gpu.uuid.startswith("GPU-") and gpu.name for gpu in found)


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
        ("1,7,0", [1]),  # what names none ends the list
        ("1,1", [1]),
        ("GPU-0000", []),  # which of them?
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
def test_why_there_is_no_gpu_is_told(driver: Driver, environment: dict[str, str], words: str) -> None:
    with pytest.raises(NoGpu, match=words):
        usable(driver, environment)


def test_the_command_lists_them_or_says_why_not(capsys: pytest.CaptureFixture[str]) -> None:
    answer = discovery.main()
    assert (answer == 0) == ("GPU 0" in capsys.readouterr().out)
    assert answer == 0 or str(answer).startswith("no GPU: ")


def test_workers_take_gpus_in_turns() -> None:
    taken: list[int] = []
    for _ in range(5):
        taken.append(least_used(taken, [0, 1]))
    assert taken == [0, 1, 0, 1, 0]


@pytest.mark.parametrize("killed", range(4))
def test_who_comes_after_killed_worker_gets_its_gpu(killed: int) -> None:
    living = [0, 1, 2, 3]
    living.pop(killed)
    assert least_used(living, [0, 1, 2, 3]) == killed


def test_workers_of_a_reload_are_spread_over_gpus() -> None:
    old, new = [0, 1, 0], list[int]()
    for _ in range(3):
        new.append(least_used(old + new, [0, 1]))
    assert sorted(new) == [0, 1, 1]  # with the old ones: three on each
