"""NVIDIA's driver as the backend calls it: a library without a GPU, and the real one where there is one."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from app.shm.cuda_runtime import HANDLE_BYTES
from tests.support.cuda_driver import exporting, fake_library
from tests.support.cuda_here import real_cuda
from triton_repo.backends.clip.gpu_clips.driver import CudaDriver, DriverError


@pytest.fixture(params=["fake", "real"])
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> CudaDriver:
    if request.param == "fake":
        return CudaDriver(str(fake_library(tmp_path)))
    real_cuda()
    return CudaDriver()


@pytest.fixture
def fake(tmp_path: Path) -> CudaDriver:
    return CudaDriver(str(fake_library(tmp_path)))


@pytest.mark.parametrize("handle", [bytes(HANDLE_BYTES), b"\xff" * HANDLE_BYTES], ids=["zeros", "ones"])
def test_invalid_handle_raises_cudas_error(driver: CudaDriver, handle: bytes) -> None:
    with pytest.raises(DriverError, match=r"^CUDA_ERROR_\w+ of cuIpcOpenMemHandle_v2"):
        driver.open(0, handle)


def test_address_that_is_not_open_raises(driver: CudaDriver) -> None:
    with pytest.raises(DriverError, match=r"^CUDA_ERROR_\w+ of cuIpcCloseMemHandle"):
        driver.close(0, 4096)


def test_missing_gpu_raises(driver: CudaDriver) -> None:
    with pytest.raises(DriverError, match=r"^CUDA_ERROR_INVALID_DEVICE of cuDeviceGet"):
        driver.open(63, bytes(HANDLE_BYTES))


def test_memory_of_another_process_is_read(fake: CudaDriver) -> None:
    with exporting() as (handle, _):
        address = fake.open(1, handle)
        assert ctypes.string_at(address, 4) == b"\0\1\2\3"
        fake.close(1, address)
        with pytest.raises(DriverError):
            fake.close(1, address)


def test_memory_of_a_dead_process_cannot_be_opened(fake: CudaDriver) -> None:
    with exporting() as (handle, process):
        open_before = fake.open(0, handle)
        process.kill()
        process.wait()
        with pytest.raises(DriverError, match="CUDA_ERROR_INVALID_HANDLE"):
            fake.open(0, handle)
        assert ctypes.string_at(open_before, 2) == b"\0\1"  # stays until it is closed
        fake.close(0, open_before)


def test_missing_library_is_reported() -> None:
    with pytest.raises(DriverError, match=r"driver cannot be loaded: .*libno-driver\.so"):
        CudaDriver("libno-driver.so")
