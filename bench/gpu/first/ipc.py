"""CUDA's memory handles between processes, by the project's own code on both sides.

    python -m bench.gpu.first.ipc export             print a handle, then wait for the end of the input
    python -m bench.gpu.first.ipc read HANDLE        open, read, and time openings
    python -m bench.gpu.first.ipc outlive HANDLE     open, wait for a line, then use what a dead exporter left
    python -m bench.gpu.first.ipc late HANDLE        open the handle of a dead exporter

Each prints one line of JSON. IPC_PROBE_RUNTIME and IPC_PROBE_LIBRARY name other code than CUDA's, for tests.
"""

import ctypes
import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from app.settings import CHECKOUT
from bench.gpu.first.report import Report
from triton_repo.backends.clip.gpu_clips.driver import LIBRARY, CudaDriver, DriverError

SIZE = 104 << 20  # a worker's slots
VALUE = 7
REPEATS = 20
STEP_S = 20.0
# How the reader is started, by what it has of its own
WAYS: dict[str, list[str]] = {
    "same namespaces": [],
    "own network namespace": ["unshare", "--net"],
    "own IPC namespace": ["unshare", "--ipc"],
    "own pid namespace": ["unshare", "--pid", "--fork", "--mount-proc"],
    "other user": ["setpriv", "--reuid", "33", "--clear-groups"],
}


class ReadingDriver(CudaDriver):
    """The driver, which also reads memory of the GPU."""

    def read(self, device: int, address: int, size: int) -> bytes:
        """Return `size` bytes at an address of the GPU."""
        content = ctypes.create_string_buffer(size)
        with self._current(device):
            self._call("cuMemcpyDtoH_v2", content, ctypes.c_uint64(address), ctypes.c_size_t(size))
        return content.raw


def run(report: Report, dry_run: bool) -> None:
    """Try every way to open another process's memory."""
    for name, before in WAYS.items():
        with report.part(name), exporter() as (handle, _):
            if before and not shutil.which(before[0]):
                report.add(name, {"left_out": f"there is no {before[0]}"})
                continue
            report.add(name, _read(before, handle))
    with report.part("dead exporter"):
        report.add("dead exporter", _outlived())


class exporter:  # noqa: N801
    """Context of a process that exports memory: its handle, and the process."""

    def __enter__(self) -> tuple[str, subprocess.Popen[str]]:
        self._process = _start("export")
        assert self._process.stdout
        answer = json.loads(self._process.stdout.readline() or "{}")
        if "handle" not in answer:
            self.__exit__()
            raise RuntimeError(f"no memory can be exported: {answer.get('error', 'the process ended')}")
        return answer["handle"], self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "bench.gpu.first.ipc", *words]


def _start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(_command(*words), cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _read(before: list[str], handle: str) -> dict[str, Any]:
    done = subprocess.run(
        [*before, *_command("read", handle)], cwd=CHECKOUT, capture_output=True, text=True, timeout=STEP_S
    )
    lines = done.stdout.splitlines()
    return json.loads(lines[-1]) if lines else {"error": f"exit status {done.returncode}: {done.stderr.strip()[-300:]}"}


def _outlived() -> dict[str, Any]:
    with exporter() as (handle, process):
        reader = _start("outlive", handle)
        assert reader.stdout
        try:
            held = json.loads(reader.stdout.readline() or "{}")
            process.kill()
            process.wait()
            rest, _ = reader.communicate("\n", timeout=STEP_S)
            late, _ = _start("late", handle).communicate(timeout=STEP_S)
            return {"before": held, "after": json.loads(rest or "{}"), "late": json.loads(late or "{}")}
        finally:
            reader.kill()
            reader.wait()


def _export() -> dict[str, Any]:
    module, _, name = os.environ.get("IPC_PROBE_RUNTIME", "app.shm.cuda_runtime:CudaRuntime").partition(":")
    runtime = getattr(importlib.import_module(module), name)(0)
    address = runtime.allocate(SIZE)
    if name == "CudaRuntime":
        from cuda.bindings import runtime as cuda

        (status,) = cuda.cudaMemset(address, VALUE, SIZE)
        if status == cuda.cudaError_t.cudaSuccess:
            (status,) = cuda.cudaDeviceSynchronize()
        if status != cuda.cudaError_t.cudaSuccess:
            raise RuntimeError(f"cudaMemset: {status}")
    else:
        runtime.write(address + SIZE - 1, bytes([VALUE]))
    global _kept
    _kept = runtime
    return {"handle": runtime.handle(address).hex()}


_kept: Any = None  # the memory lives as long as its runtime


def _driver() -> ReadingDriver:
    return ReadingDriver(os.environ.get("IPC_PROBE_LIBRARY", LIBRARY))


def _reading(handle: bytes) -> dict[str, Any]:
    driver = _driver()
    began = time.perf_counter()
    address = driver.open(0, handle)
    result: dict[str, Any] = {"first_open_us": (time.perf_counter() - began) * 1e6, "address": hex(address)}
    result["is_right"] = driver.read(0, address + SIZE - 1, 1) == bytes([VALUE])

    def pair() -> None:
        driver.close(0, driver.open(0, handle))

    result["pair_while_open_us"] = _times(pair)
    driver.close(0, address)
    result["pair_us"] = _times(pair)
    return result


def _times(call: Callable[[], None]) -> dict[str, float] | str:
    times = []
    try:
        for _ in range(REPEATS):
            began = time.perf_counter()
            call()
            times.append((time.perf_counter() - began) * 1e6)
    except DriverError as error:
        return str(error)
    return {"median": median(times), "most": max(times)}


def _outliving(handle: bytes) -> dict[str, Any]:
    driver = _driver()
    address = driver.open(0, handle)
    print(json.dumps({"is_right": driver.read(0, address + SIZE - 1, 1) == bytes([VALUE])}), flush=True)
    sys.stdin.readline()

    def second() -> None:
        driver.close(0, driver.open(0, handle))

    steps: dict[str, Callable[[], object]] = {
        "still_right": lambda: driver.read(0, address + SIZE - 1, 1) == bytes([VALUE]),
        "second_open": second,
        "close": lambda: driver.close(0, address),
    }
    return {name: _tried(step) for name, step in steps.items()}


def _tried(step: Callable[[], object]) -> object:
    try:
        result = step()
        return "works" if result is None else result
    except DriverError as error:
        return str(error)


def _late(handle: bytes) -> dict[str, Any]:
    return {"open": _tried(lambda: hex(_driver().open(0, handle)))}


def main(words: list[str]) -> None:
    """Do one of the four things that the module's text names."""
    action = words[0]
    try:
        if action == "export":
            result = _export()
        else:
            result = {"read": _reading, "outlive": _outliving, "late": _late}[action](bytes.fromhex(words[1]))
    except Exception as error:
        result = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(result), flush=True)
    if action == "export":
        sys.stdin.readline()


if __name__ == "__main__":
    main(sys.argv[1:])
