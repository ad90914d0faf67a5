"""Faults of GPUs and their driver, planted."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.doctor.checks.machine import gpu
from deploy.doctor.checks.software import config
from deploy.doctor.context import Context
from deploy.gpu import discovery, driver_link
from deploy.gpu.discovery import Gpu
from tests.support.doctor import found, healthy, named, program, running, words


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return healthy(tmp_path)


@pytest.fixture
def no_gpu() -> None:
    try:
        discovery.usable()
    except discovery.NoGpu:
        return
    pytest.skip("there is a GPU")


def test_machine_without_gpu_has_no_finding(context, no_gpu) -> None:
    assert found(context, gpu.CHECKS) == set()


def test_a_gpu_that_a_setting_asks_for(context, no_gpu) -> None:
    transport = replace(context, settings=replace(context.settings, transport="cuda"))
    assert found(transport, gpu.CHECKS) == {gpu.GPU_REQUIRED.name}
    decoder = replace(context, settings=replace(context.settings, decoder_device="cuda"))
    assert found(decoder, named("start", config)) == {config.CANNOT_START.name}


@pytest.fixture
def one_gpu(monkeypatch) -> None:
    monkeypatch.setattr(discovery, "usable", lambda **_: [Gpu(0, 0, "GPU-0", "Fake H100", 80 << 30, 79 << 30)])


def test_triton_without_the_drivers_library(context, one_gpu, tmp_path) -> None:
    (context.run_dir / "gpu").mkdir()
    folder = driver_link.make(context.run_dir, "libc.so.6")
    for path, faults in ((str(folder), set()), (str(tmp_path), {gpu.NO_LIBCUDA.name})):
        with program("sleep", 60, env={"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": path}) as pid:
            assert found(running(context, triton=pid), named("GPU driver", gpu)) == faults


def test_driver_library_that_is_not_installed(context, one_gpu, monkeypatch) -> None:
    monkeypatch.setattr(driver_link, "LIBRARY", "libno-such-driver.so.1")
    result = words(context, named("GPU driver", gpu), gpu.NO_LIBCUDA)
    assert result.startswith("Python cannot load libno-such-driver.so.1: libno-such-driver.so.1: cannot open")


def test_a_driver_without_a_usable_gpu(context, no_gpu, tmp_path, monkeypatch) -> None:
    driver = tmp_path / "version"
    driver.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86\n")
    monkeypatch.setattr(gpu, "DRIVER", driver)
    assert found(context, gpu.CHECKS) == {gpu.GPU_UNUSABLE.name}
