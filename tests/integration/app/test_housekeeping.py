"""The maintenance loop of a worker against a fake Triton: warm-up, cleaning, and ending when its region is gone."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest

from app.admission.controller import Admission
from app.admission.flags import BacklogFlag, RejectFlags
from app.errors import NotReady
from app.inference.client import Triton
from app.inference.registry import ModelRegistry
from app.inference.retry import TritonOutage
from app.pipeline import maintenance
from app.pipeline.maintenance import MaintenanceLoop
from app.pipeline.readiness import WorkerRegistry, WorkerStatus
from app.shm.pool import PREFIX, SlotPool
from deploy.stack.ports import free_ports
from tests.support.triton_fake import FakeTriton, running_fake

GONE = f"{PREFIX}-1-dead"
PATIENCE_S = 10


class WarmupClips:
    """Count warm-up clips; the first `failing` ones fail."""

    def __init__(self, failing: int = 0) -> None:
        self.failing, self.count = failing, 0

    async def __call__(self) -> None:
        self.count += 1
        if self.count <= self.failing:
            raise NotReady("no model yet")


class Worker:
    """A maintenance loop with its parts, of a worker whose Triton is at `address`."""

    def __init__(self, folder: Path, address: str, rehearse: WarmupClips, does_rehearse: bool) -> None:
        self.slots = SlotPool(1, 1 << 20)
        self.triton = Triton(address, self.slots, "auto")
        self.warmups, self.registry = rehearse, WorkerRegistry(folder)
        self.outage = TritonOutage(0)
        self.keeping = MaintenanceLoop(
            self.slots,
            self.triton,
            ModelRegistry(self.triton, 1 << 20),
            self.outage,
            Admission(1, 1, 1),
            BacklogFlag(folder / "backlog"),
            RejectFlags(folder / "reject"),
            self.registry,
            rehearse if does_rehearse else None,
            region_offered=False,
        )

    @property
    def facts(self) -> WorkerStatus:
        """Return the worker's status as other workers read it."""
        (facts,) = WorkerRegistry(self.registry._folder).statuses()
        return facts


@asynccontextmanager
async def worker(folder: Path, address: str, failing: int = 0, does_rehearse: bool = True) -> AsyncIterator[Worker]:
    folder.mkdir(exist_ok=True)
    made = Worker(folder, address, WarmupClips(failing), does_rehearse)
    try:
        yield made
    finally:
        await made.keeping.end()
        made.registry.leave()
        await made.triton.close()
        made.slots.close()


def run(scenario: Callable[[FakeTriton, str], Coroutine[Any, Any, None]]) -> None:
    async def with_fake() -> None:
        async with running_fake() as (fake, address):
            await scenario(fake, address)

    asyncio.run(asyncio.wait_for(with_fake(), PATIENCE_S))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "INTERVAL_S", 0.02)
    monkeypatch.setattr(maintenance, "COLD_S", 0.02)


def test_progress_is_right_after_a_resume(tmp_path: Path) -> None:
    async def scenario(fake: FakeTriton, address: str) -> None:
        async with worker(tmp_path / "workers", address) as web:
            await web.keeping.begin()
            assert web.keeping.triton_answers
            assert (web.facts.triton, web.facts.region, web.facts.clip) == (True, True, "")
            assert list(fake.system) == [web.slots.name]
            fake.system["another"] = fake.system[web.slots.name]
            fake.system[GONE] = fake.system[web.slots.name]
            await until(lambda: GONE not in fake.system)
            assert set(fake.system) == {web.slots.name, "another"}, "a worker unregisters only regions of workers"
            assert web.warmups.count == 1, "once per worker"
        assert not WorkerRegistry(tmp_path / "workers").statuses(), "a worker that has ended has no status"

    run(scenario)


def test_unanswered_warmup_clip_is_sent_again(tmp_path: Path) -> None:
    async def scenario(fake: FakeTriton, address: str) -> None:
        async with worker(tmp_path / "workers", address, failing=2) as web:
            await web.keeping.begin()
            assert web.facts.clip == "a clip of its own was not answered: no model yet"
            await until(lambda: not web.facts.clip)
            assert web.warmups.count == 3

    run(scenario)


def test_worker_without_warmup_is_ready_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "COLD_S", 0.0)
    monkeypatch.setattr(maintenance, "INTERVAL_S", PATIENCE_S)

    async def scenario(fake: FakeTriton, address: str) -> None:
        async with worker(tmp_path / "workers", address, does_rehearse=False) as web:
            await web.keeping.begin()
            assert (web.facts.clip, web.warmups.count) == ("", 0)
            looked = AsyncMock(side_effect=web.triton.regions.names)
            monkeypatch.setattr(web.triton.regions, "names", looked)
            await asyncio.sleep(0.2)
            assert not looked.await_count, "it checks as rarely as a warm worker"

    run(scenario)


def test_answered_uploads_replace_warmup_clips(tmp_path: Path) -> None:
    async def scenario(fake: FakeTriton, address: str) -> None:
        async with worker(tmp_path / "workers", address, failing=1000) as web:
            web.triton.transports.clips["system_shared_memory"] += 1
            await web.keeping.begin()
            assert (web.facts.clip, web.warmups.count) == ("", 1)

    run(scenario)


def test_triton_outage_and_return_are_noticed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with worker(tmp_path / "workers", f"127.0.0.1:{free_ports(1)[0]}") as web:
            before = asyncio.get_running_loop().time()
            await web.keeping.begin()
            assert not web.keeping.triton_answers
            assert not web.facts.triton
            assert web.outage._since is not None
            assert web.outage._since >= before
            assert web.warmups.count == 0

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE_S))

    async def again(fake: FakeTriton, address: str) -> None:
        async with worker(tmp_path / "workers", address) as web:
            web.outage.record_failure()
            await web.keeping.begin()
            assert web.outage._since is None

    run(again)


def test_worker_with_a_truncated_region_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = list[tuple[int, int]]()
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append((pid, number)))

    async def scenario(fake: FakeTriton, address: str) -> None:
        async with worker(tmp_path / "workers", address) as web:
            await web.keeping.begin()
            assert not killed
            os.truncate(web.slots.path, 0)
            await until(lambda: bool(killed))
            assert set(killed) == {(os.getpid(), signal.SIGKILL)}

    run(scenario)
