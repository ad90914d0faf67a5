"""One run: a stack, mutants, the stack's resources before and after, and the result as JSON."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx

from bench.environment import describe_machine
from deploy.stack.stack import Stack
from tests.nightly.fuzz import seeds
from tests.nightly.fuzz.campaign import Campaign, Tally
from tests.nightly.fuzz.mutants import mutant
from tests.nightly.fuzz.reference_files import Known, known
from tests.nightly.fuzz.stack_watch import Holding, holding, lost
from tests.support.stacks import CHECKOUT

KEPT = CHECKOUT / "build" / "fuzz"
WARM_UP = 60  # mutants before the first snapshot: caches fill, and every decoder process starts
CALM_S = 15.0  # after the last answer: nginx removes its files, Triton and the reaper free unused resources
# A request with as many clips as slots waits for all of them, so a lost slot shows. A short
# decoding limit, because endless files always run into it.
SETTINGS = {"max_clips": "16", "slots": "16", "decode_timeout_s": "5", "max_jobs": "1000"}


def fuzz(stack: Stack, seed: int, first: int, count: int, seconds: float) -> dict[str, Any]:
    """Run mutants against `stack` (made with SETTINGS) and return the findings.

    Which mutant a number stands for depends on the files that there are: `footage` in the result says how many.
    """
    files = seeds.made() + seeds.found()
    checks = known(next(seed_file for seed_file in files if seed_file.name == "png"))
    warm = _campaign(stack, files, seed, checks, (-WARM_UP, WARM_UP, 60.0))
    before = holding(stack)
    tally = _campaign(stack, files, seed, checks, (first, count, seconds))
    tally.faults += warm.faults
    tally.findings = warm.findings + tally.findings
    tally.faults += asyncio.run(_slots_missing(stack))
    after, missing = _settled(stack, before)
    tally.faults += missing
    _keep(stack, tally, seed, files)
    return _result(tally, seed, first, before, after)


def _campaign(
    stack: Stack, files: Sequence[seeds.Seed], seed: int, checks: Known, part: tuple[int, int, float]
) -> Tally:
    async def run() -> Tally:
        return await Campaign(stack, files, seed, checks).run(*part)

    return asyncio.run(run())


async def _slots_missing(stack: Stack) -> list[str]:
    """Request all slots of a worker at once, several times, because the worker is not selectable."""
    film = known(seeds.made()[0]).orders["pan_left"]
    most = str(stack.settings.slots)
    async with httpx.AsyncClient(base_url=stack.url, timeout=60) as http:
        for _ in range(3):
            requests = (http.post(film.path, params={"clips": most}, content=film.content) for _ in range(4))
            wrong = [
                f"all slots: {response.status_code} {response.text[:200]}"
                for response in await asyncio.gather(*requests)
                if response.status_code != 200
            ]
            if wrong:
                return wrong
    return []


def _settled(stack: Stack, before: Holding) -> tuple[Holding, list[str]]:
    """Return the resources of the idle stack, and what it lost."""
    deadline = time.monotonic() + CALM_S
    while missing := lost(stack, before, after := holding(stack)):
        if time.monotonic() > deadline:
            return after, missing
        time.sleep(0.2)
    return after, []


def _keep(stack: Stack, tally: Tally, seed: int, files: Sequence[seeds.Seed]) -> None:
    """Keep the mutants of findings, and the logs, in build/fuzz."""
    if tally.findings or tally.faults:
        shutil.copytree(stack.run_dir / "logs", KEPT / "logs", dirs_exist_ok=True)
    for finding in tally.findings[:50]:
        KEPT.mkdir(parents=True, exist_ok=True)
        (KEPT / f"{seed}-{finding.number}.bin").write_bytes(mutant(seed, finding.number, files).content)


def _result(tally: Tally, seed: int, first: int, before: Holding, after: Holding) -> dict[str, Any]:
    result = {
        name: dict(value.most_common()) if isinstance(value, Counter) else value for name, value in vars(tally).items()
    }
    result |= {
        "rate": round(tally.sent / max(tally.seconds, 0.1), 1),
        "findings": [asdict(finding) for finding in tally.findings],
    }
    memory = {
        name: {"before": _sum(before.memory_mb, pids), "after": _sum(after.memory_mb, pids)}
        for name, pids in (("web", before.web), ("triton", before.triton), ("jobs", (before.jobs,)))
    }
    files = {
        name: {"before": _sum(before.open_files, pids), "after": _sum(after.open_files, pids)}
        for name, pids in (("web", before.web), ("triton", before.triton), ("jobs", (before.jobs,)))
    }
    about = {"seed": seed, "first": first, "footage": len(seeds.found()), "machine": describe_machine()}
    return {**about, **result, "memory_mb": memory, "open_files": files}


def _sum(values: dict[int, Any], pids: tuple[int, ...]) -> float:
    return round(sum(values.get(pid, 0) for pid in pids), 1)


def reproduced(seed: int, number: int, to: Path) -> str:
    """Write the mutant of that number to `to`; return its changes."""
    made = mutant(seed, number, seeds.made() + seeds.found())
    to.write_bytes(made.content)
    return f"{made.source}: {made.story}"
