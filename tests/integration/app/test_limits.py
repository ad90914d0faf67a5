"""Quotas: counted over threads and processes, and freed when a process dies."""

from __future__ import annotations

import signal
import struct
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.auth.limits import Quotas
from app.errors import RateLimited, TooManyRequests
from app.settings import CHECKOUT

HOLDER = """
import sys, time
from pathlib import Path
from app.auth.limits import Quotas
with Quotas(Path(sys.argv[1])).slot("alice", "work", 1):
    print("seated", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def quotas(tmp_path: Path) -> Quotas:
    return Quotas(tmp_path / "quota")


def test_concurrency_is_limited(quotas: Quotas) -> None:
    with ExitStack() as held:
        for _ in range(3):
            held.enter_context(quotas.slot("alice", "work", 3))
        assert not quotas.has_slots("alice", "work", 3, 1)
        with pytest.raises(TooManyRequests), quotas.slot("alice", "work", 3):
            pass
        with quotas.slot("bob", "work", 3), quotas.slot("alice", "read", 3):
            assert quotas.has_slots("bob", "work", 3, 1), "other owners and other kinds are counted separately"
    assert quotas.has_slots("alice", "work", 1, 1)


def test_threads_are_counted(quotas: Quotas) -> None:
    seated, leave = threading.Barrier(5), threading.Event()

    def sit() -> None:
        with quotas.slot("alice", "work", 4):
            seated.wait(10)
            leave.wait(10)

    threads = [threading.Thread(target=sit) for _ in range(4)]
    for thread in threads:
        thread.start()
    seated.wait(10)
    assert not quotas.has_slots("alice", "work", 4, 1)
    leave.set()
    for thread in threads:
        thread.join(10)
    assert quotas.has_slots("alice", "work", 1, 1)


def test_killed_worker_frees_its_places(quotas: Quotas, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "quota")], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "seated\n"
        assert not quotas.has_slots("alice", "work", 1, 1), "another process has it"
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
    assert quotas.has_slots("alice", "work", 1, 1)


def test_rate_applies_after_the_burst(quotas: Quotas) -> None:
    assert [quotas.count_request("alice", 0.1, 5).remaining for _ in range(5)] == [4, 3, 2, 1, 0]
    with pytest.raises(RateLimited) as refused:
        quotas.count_request("alice", 0.1, 5)
    assert refused.value.retry_after_s in (9, 10)
    assert refused.value.headers["RateLimit-Policy"] == '"files";q=5;w=50'
    assert refused.value.headers["RateLimit"] in ('"files";r=0;t=49', '"files";r=0;t=50')
    quotas.count_request("bob", 0.1, 5)


def test_rate_is_shared_by_all_workers(quotas: Quotas, tmp_path: Path) -> None:
    others = [Quotas(tmp_path / "quota") for _ in range(4)]
    taken, began = 0, time.monotonic()
    while time.monotonic() - began < 0.5:
        for other in others:
            try:
                other.count_request("alice", 40, 2)
                taken += 1
            except TooManyRequests:
                time.sleep(0.001)
    passed_s = time.monotonic() - began
    assert 10 <= taken <= 40 * passed_s + 3


def test_reading_the_quota_takes_nothing(quotas: Quotas) -> None:
    for _ in range(10):
        quotas.check_rate("alice", 0.1, 1)
    quotas.count_request("alice", 0.1, 1)
    with pytest.raises(TooManyRequests):
        quotas.check_rate("alice", 0.1, 1)


def test_clock_set_back_locks_nobody_out(quotas: Quotas, tmp_path: Path) -> None:
    (tmp_path / "quota").mkdir()
    (tmp_path / "quota" / "alice").write_bytes(struct.pack("d", time.monotonic() + 1e6))
    for _ in range(2):
        quotas.count_request("alice", 1.0, 2)
    with pytest.raises(TooManyRequests) as refused:
        quotas.count_request("alice", 1.0, 2)
    assert refused.value.retry_after_s == 1


def test_places_are_counted_without_taking_one(quotas: Quotas) -> None:
    with ExitStack() as held:
        for _ in range(6):
            held.enter_context(quotas.slot("alice", "work", 8))
        assert quotas.has_slots("alice", "work", 8, 2)
        assert not quotas.has_slots("alice", "work", 8, 3)
        held.enter_context(quotas.slot("alice", "work", 8))
        held.enter_context(quotas.slot("alice", "work", 8))
        assert not quotas.has_slots("alice", "work", 8, 1)
    assert quotas.has_slots("alice", "work", 8, 8)
