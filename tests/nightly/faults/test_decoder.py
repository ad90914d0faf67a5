"""Files that make decoders spin, crash or run out of memory."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import numpy as np
import pytest

from deploy.stack.stack import Stack
from tests.nightly.faults.fault_run import HOP_S, FaultRuns
from tests.nightly.faults.rows import Row
from tests.nightly.faults.stack_processes import decoders, send, web_workers
from tests.support.films import Frame, numbered, write_video
from tests.support.stacks import running_stack

LIMIT_S = 1
SPINNING = 4  # as many as there are decoders
KILLED = 6
EVERY_S = 0.1
STORM_S = 20.0


@pytest.fixture
def strict() -> Iterator[Stack]:
    """A stack that decodes no file for longer than LIMIT_S."""
    with running_stack(decode_timeout_s=str(LIMIT_S), web_workers="2") as stack:
        yield stack


@pytest.fixture(scope="module")
def slow_film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A key frame followed by large frames of noise: the middle takes seconds to decode."""
    noise = np.random.default_rng(1).integers(0, 255, (3000, 4000, 3), np.uint8)

    def frames() -> Iterator[Frame]:
        for number in range(50):
            yield np.roll(noise, 16 * number, axis=1)

    path = tmp_path_factory.mktemp("slow") / "slow.mp4"
    options = {"preset": "ultrafast", "crf": "30", "bf": "0"}
    return write_video(path, frames(), gop=10_000, options=options).read_bytes()


@pytest.fixture(scope="module")
def bomb(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A film whose table of times claims 2^31 frames: decord allocates memory for all of them and aborts."""
    folder = tmp_path_factory.mktemp("bomb")
    path = write_video(folder / "bomb.mov", map(numbered, range(30)), codec="mjpeg", pixels="yuvj420p")
    data = bytearray(path.read_bytes())
    at = data.index(b"stts") + 12
    data[at : at + 4] = b"\x7f\xff\xff\xff"
    return bytes(data)


def post(stack: Stack, content: bytes) -> tuple[str, float]:
    begin = time.monotonic()
    answer = httpx.post(f"{stack.url}/v1/classify", content=content, timeout=60)
    code = "" if answer.status_code == 200 else answer.json()["error"]["code"]
    return f"{answer.status_code} {code}".strip(), time.monotonic() - begin


@pytest.mark.timeout(300)
def test_05_decoder_spins(strict: Stack, fault_runs: FaultRuns, row: Row, slow_film: bytes) -> None:
    with fault_runs.of(strict) as fault_run:
        fault_run.mark_fault()
        alone, seconds = post(strict, slow_film)
        row.check(f"the file alone: {alone}", alone == "422 decode_timeout")
        row.check_within("after", seconds, LIMIT_S + 0.5)
        fault_run.check_recovery(LIMIT_S + 1, "all others: errors until")
        fault_run.mark_fault()
        with ThreadPoolExecutor(SPINNING) as pool:
            futures = [item.result() for item in [pool.submit(post, strict, slow_film) for _ in range(SPINNING)]]
        over = time.monotonic()
        row.note(f"{SPINNING} at once, as many as there are decoders: {sorted({answer for answer, _ in futures})}")
        fault_run.check_recovery(1.0, "right answers to all others after the last of them and", since=over)
        fault_run.check_errors("503")


def test_06_decoder_aborts(strict: Stack, fault_runs: FaultRuns, row: Row, bomb: bytes) -> None:
    with fault_runs.of(strict) as fault_run:
        fault_run.mark_fault()
        answers = [post(strict, bomb)[0] for _ in range(10)]
        row.check(f"10 files that would abort decord: {sorted(set(answers))}", set(answers) == {"422 undecodable"})
        fault_run.check_recovery(0.0, "all others: errors until")
        fault_run.check_errors()
        fault_run.mark_fault()
        for number in range(KILLED):  # like the kernel's OOM killer
            workers = web_workers(strict)
            send(signal.SIGKILL, sorted(decoders(workers[number % len(workers)]))[:1])
            time.sleep(0.5)
        fault_run.check_recovery(KILLED, f"{KILLED} decoders killed as for want of memory: errors until")
        bad = fault_run.flow.bad(fault_run.fault)
        row.check(f"requests that failed by it: {len(bad)}", len(bad) <= KILLED)
        fault_run.check_errors("503")


@pytest.mark.timeout(300)
def test_43_decoders_killed_at_work(
    faulty_stack: Stack, fault_runs: FaultRuns, row: Row, films: dict[str, bytes], long_film: bytes
) -> None:
    with fault_runs.of(faulty_stack) as fault_run:
        fault_run.submit_job(long_film, HOP_S)
        fault_run.mark_fault()
        for _ in range(KILLED):
            worker = next(iter(web_workers(faulty_stack)))
            send(signal.SIGKILL, decoders(worker))
            time.sleep(0.5)
        fault_run.check_recovery(STORM_S, f"all decoders of a worker killed {KILLED} times: errors until")
        fault_run.check_errors("503")
        fault_run.mark_fault()
        with killing(faulty_stack):
            answers = [post(faulty_stack, films["pan_left"])[0] for _ in range(5)]
        over = time.monotonic()
        allowed = {"200", "503 not_ready", "503 overloaded"}
        row.check(f"all decoders killed every {EVERY_S:g} s: {sorted(set(answers))}", set(answers) <= allowed)
        fault_run.check_recovery(STORM_S, "right answers to all after that and", since=over)
        fault_run.check_errors("503")
        answer, _ = post(faulty_stack, films["pan_left"])
        row.check(f"the same file afterwards: {answer}", answer == "200")


@contextmanager
def killing(stack: Stack) -> Iterator[None]:
    """Kill every decoder of the stack's web workers repeatedly for the block."""
    ending = threading.Event()

    def kill() -> None:
        while not ending.wait(EVERY_S):
            for worker in web_workers(stack):
                send(signal.SIGKILL, decoders(worker))

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield
    finally:
        ending.set()
        killer.join()
