"""Overload: at a steady rate, in a step, and beside clients with very slow uploads."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import pytest

from bench.load.client import Outcome, Target, closed_loop, open_loop, quantile
from bench.tools.overload import (
    NORMAL,
    NORMAL_RUN,
    capacity,
    demo_clip,
    memory_mib,
    overload,
    time_to_normal,
    unloaded,
)
from deploy.stack.stack import Stack
from tests.nightly.faults.rows import Row
from tests.support.api_keys import new_key
from tests.support.stacks import running_stack, until

CAPACITY_S = 6.0  # for each number of clients
CALM_S, OVERLOAD_S, LONGEST_S = 30.0, 25.0, 60.0
STEP_S = 15.0
SLOW_S, SLOW = 20.0, 200
BESIDE_S = 30.0  # twice, in turns: as long as row 104
NOISE_S = 0.01  # noise of a p99 over some hundred answers
DEADLINE_S = 30.0
REFUSED_S, NORMAL_S = 0.1, 10.0
MORE_MEMORY = 1.1  # factor to the memory before, for memory that an allocator keeps
PIECES = 64  # pieces of a slow upload


async def _trickle(target: Target, seconds: float) -> None:
    """Send the request in pieces over `seconds`, like an upload on a slow line, then close the connection."""
    reader, writer = await asyncio.open_connection(*target.address)
    piece = max(1, len(target.payload) // PIECES)
    try:
        for start in range(0, len(target.payload), piece):
            writer.write(target.payload[start : start + piece])
            await writer.drain()
            await asyncio.sleep(seconds / PIECES)
        await reader.read()
    finally:
        writer.close()


@dataclass(frozen=True)
class Loaded:
    """A stack with its target, its capacity in answers per second, and the latency of a single request."""

    stack: Stack
    target: Target
    per_s: float
    alone_s: float


@pytest.fixture(scope="module")
def loaded() -> Iterator[Loaded]:
    headers = {"Cache-Control": "no-cache", "X-Deadline-Ms": f"{DEADLINE_S * 1e3:.0f}"}
    with running_stack() as stack:
        target = Target(f"{stack.url}/v1/classify", demo_clip(), headers)
        most = asyncio.run(capacity(target, CAPACITY_S, (4, 8, 12)))
        yield Loaded(stack, target, most["per_s"], asyncio.run(unloaded(target)))


def now_per_s(target: Target) -> float:
    """Return the current capacity in answers per second."""
    return float(asyncio.run(capacity(target, CAPACITY_S, (8,)))["per_s"])


def p99(outcomes: Sequence[Outcome]) -> float:
    return quantile([outcome.seconds for outcome in outcomes if outcome.status == 200], 0.99) or 0.0


def others(outcomes: Sequence[Outcome]) -> int:
    return sum(outcome.status != 200 for outcome in outcomes)


@pytest.mark.timeout(300)
def test_101_less_than_the_capacity(loaded: Loaded, row: Row) -> None:
    alone = asyncio.run(closed_loop(loaded.target, 1, CALM_S / 2))
    result = asyncio.run(open_loop(loaded.target, 0.7 * loaded.per_s, CALM_S))
    row.note(f"{CALM_S:.0f} s of {0.7 * loaded.per_s:.1f} requests/s")
    row.check(f"errors: {others(result)} of {len(result)}", not others(result))
    row.check(f"p99 {p99(result) * 1e3:.0f} ms, alone {p99(alone) * 1e3:.0f} ms", p99(result) <= 3 * p99(alone))


@pytest.mark.timeout(300)
def test_102_twice_the_capacity(loaded: Loaded, row: Row) -> None:
    _overload(loaded, row, 2, OVERLOAD_S, 0.9)


@pytest.mark.timeout(300)
def test_103_five_times_the_capacity(loaded: Loaded, row: Row) -> None:
    _overload(loaded, row, 5, OVERLOAD_S, 0.85)


@pytest.mark.timeout(300)
def test_104_ten_times_the_capacity(loaded: Loaded, row: Row) -> None:
    before = memory_mib(loaded.stack)["all"]
    _overload(loaded, row, 10, LONGEST_S, 0.8)
    after = memory_mib(loaded.stack)["all"]
    row.check(f"{before:.0f} MiB before, {after:.0f} after", after <= MORE_MEMORY * before)


def _overload(loaded: Loaded, row: Row, factor: float, seconds: float, least: float) -> None:
    before = now_per_s(loaded.target)
    result = asyncio.run(overload(loaded.target, factor * before, seconds))
    normal_s = asyncio.run(time_to_normal(loaded.target, loaded.alone_s))
    # Measured before and after: a shared machine may be a third faster or slower a minute later
    capacities = (before, now_per_s(loaded.target))
    per_s = sum(capacities) / 2
    share = result["goodput_per_s"] / per_s
    row.note(f"{seconds:.0f} s of {result['sent_per_s']} requests/s; C is {per_s:.1f}, {before:.1f} before it")
    row.check(f"goodput {share:.2f} C", share >= least)
    row.check_within("p99 of those let in", result["admitted"]["p99_ms"] / 1e3, DEADLINE_S)
    refused = result["refused"]["p99_ms"] or 0.0
    row.check_within(f"{sum(result['codes'].values())} refused, p99", refused / 1e3, REFUSED_S)
    row.check(
        f"without Retry-After: {result['refused_without_retry_after']}", not result["refused_without_retry_after"]
    )
    strange = {status: count for status, count in result["statuses"].items() if status not in ("200", "429", "503")}
    row.check(f"others: {strange or 'none'}", not strange)
    row.check_within("as before after", float("inf") if normal_s is None else normal_s, NORMAL_S)


@pytest.mark.timeout(300)
def test_105_step(loaded: Loaded, row: Row) -> None:
    calm, much = loaded.per_s / 2, 5 * loaded.per_s

    async def steps() -> tuple[list[Outcome], list[Outcome], float]:
        before = await open_loop(loaded.target, calm, STEP_S)
        step = asyncio.create_task(open_loop(loaded.target, much, STEP_S))
        await asyncio.sleep(STEP_S)
        began = time.monotonic()
        after = await open_loop(loaded.target, calm, NORMAL_S + STEP_S)
        await step
        return before, after, began

    before, after, began = asyncio.run(steps())
    usual_s = quantile([outcome.seconds for outcome in before], 0.9) or 0.0
    row.note(f"{STEP_S:.0f} s of {calm:.1f}, {STEP_S:.0f} s of {much:.0f}, and {calm:.1f} requests/s again")
    row.check_within("as before after", normal_after(after, began, usual_s), NORMAL_S)
    late = [outcome for outcome in after if outcome.sent_s > began + NORMAL_S]
    row.check(f"errors from then on: {others(late)}", not others(late))


def normal_after(outcomes: Sequence[Outcome], began_s: float, usual_s: float) -> float:
    """Return the seconds until NORMAL_RUN consecutive requests had about their normal latency."""
    run, first_s = 0, 0.0
    for outcome in sorted(outcomes, key=lambda outcome: outcome.sent_s):
        run = run + 1 if outcome.status == 200 and outcome.seconds <= NORMAL * usual_s else 0
        first_s = outcome.sent_s if run == 1 else first_s
        if run == NORMAL_RUN:
            return first_s - began_s
    return float("inf")


@pytest.mark.timeout(300)
def test_106_slow_uploads(loaded: Loaded, row: Row) -> None:
    # Alternating, twice, so that other load on the machine affects both
    uploads = loaded.stack.run_dir / "uploads"

    async def alone() -> list[Outcome]:
        return await open_loop(loaded.target, loaded.per_s / 2, SLOW_S)

    async def among() -> tuple[list[Outcome], int]:
        slow = [asyncio.create_task(_trickle(loaded.target, 4 * SLOW_S)) for _ in range(SLOW)]
        await asyncio.sleep(2.0)  # until all are there
        outcomes, under_way = await alone(), sum(not item.done() for item in slow)
        for item in slow:
            item.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        return outcomes, under_way

    async def turns() -> tuple[list[Outcome], list[Outcome], int]:
        quiet, beside, least = list[Outcome](), list[Outcome](), SLOW
        for _ in range(2):
            quiet += await alone()
            outcomes, under_way = await among()
            beside, least = beside + outcomes, min(least, under_way)
        return quiet, beside, least

    quiet, beside, under_way = asyncio.run(turns())
    row.check(f"{under_way} were still sending", under_way == SLOW)
    row.check(f"errors: {others(beside)} of {len(beside)}", not others(beside))
    most_s = 1.2 * p99(quiet) + NOISE_S
    row.check(f"p99 {p99(beside) * 1e3:.0f} ms, without them {p99(quiet) * 1e3:.0f}", p99(beside) <= most_s)
    gone = time.monotonic()
    until(lambda: not list(uploads.iterdir()), 30)
    row.check_within("their files gone after", time.monotonic() - gone, 1)


def statuses(target: Target, rate: float, seconds: float) -> dict[str, int]:
    """Return the number of answers by status."""
    return dict(Counter(str(outcome.status) for outcome in asyncio.run(open_loop(target, rate, seconds))))


def started() -> None:
    """Run in a process to wait until it has loaded this module, which takes a second of CPU time."""


@pytest.mark.timeout(300)
def test_107_one_key_takes_all(loaded: Loaded, row: Row) -> None:
    quiet, results, refused = list[Outcome](), list[Outcome](), Counter[str]()
    with running_stack(keys="required") as stack:
        url, body = f"{stack.url}/v1/classify", loaded.target.body

        def of(name: str) -> Target:
            return Target(url, body, loaded.target.headers | {"X-API-Key": new_key(stack, name)})

        per_s = now_per_s(of("measured"))
        greedy, modest = of("greedy"), of("modest")

        def measure() -> list[Outcome]:
            return asyncio.run(open_loop(modest, 0.3 * per_s, BESIDE_S))

        # A process of its own, because a shared interpreter would distort the latencies
        with ProcessPoolExecutor(1, get_context("spawn")) as other:
            other.submit(started).result(120)
            for _ in range(2):
                quiet += measure()
                storm = other.submit(statuses, greedy, 10 * per_s, BESIDE_S)
                results += measure()
                refused += Counter(storm.result(120))
    row.note(f"{0.3 * per_s:.1f} requests/s beside {10 * per_s:.0f} of another key")
    row.check(f"errors: {others(results)} of {len(results)}", not others(results))
    row.check(f"p99 {p99(results) * 1e3:.0f} ms, without it {p99(quiet) * 1e3:.0f}", p99(results) <= 3 * p99(quiet))
    row.note(f"the other key: {dict(refused)}")
