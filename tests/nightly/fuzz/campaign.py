"""Send many mutants to a running stack, several at once, and collect every broken promise."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from app.jobs.storage.window_pages import MAX_PAGE
from deploy.stack.stack import Stack
from tests.nightly.fuzz.mutants import Mutant, mutant
from tests.nightly.fuzz.reference_files import Known
from tests.nightly.fuzz.requests import Order, order, send
from tests.nightly.fuzz.response_checks import Reply, ResponseChecker, cause, word
from tests.nightly.fuzz.seeds import Seed

CLIENTS = 6
KNOWN_EVERY = 100  # mutants
JOB_S = 60.0  # each job has ended so long after the one before it
SLACK_S = 5.0


@dataclass
class Finding:
    """A fault that one mutant found; `tests.nightly.fuzz` makes the mutant again from the seed and the number."""

    number: int
    source: str
    story: str
    query: dict[str, str]
    faults: list[str]
    answer: str


@dataclass
class Tally:
    """Counts and findings of a run."""

    sent: int = 0
    busy: int = 0
    known_checks: int = 0
    jobs: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    answers: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    opened: Counter[str] = field(default_factory=Counter)  # by source: answered 200 or 202
    job_ends: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)  # not caused by a single mutant

    def note(self, made: Mutant, wanted: Order, reply: Reply, faults: list[str]) -> None:
        self.sent += 1
        self.slowest_s = max(self.slowest_s, reply.seconds)
        self.answers[f"{wanted.path} {word(reply)}"] += 1
        self.sources[made.source] += 1
        self.opened[made.source] += reply.status in (200, 202)
        if what := cause(reply):
            self.causes[what] += 1
        if faults:
            answer = reply.body[:300].decode(errors="replace")
            self.findings.append(Finding(made.number, made.source, made.story, wanted.query, faults, answer))


class Campaign:
    """Mutants `first`, `first` + 1, ... of `seed`, until `count` of them were answered or `seconds` are over."""

    def __init__(self, stack: Stack, seeds: Sequence[Seed], seed: int, known: Known) -> None:
        self._seeds, self._seed, self._known = seeds, seed, known
        self._url = stack.url
        settings = stack.settings
        bound_s = settings.deadline_s + SLACK_S
        self._checkers = {path: ResponseChecker(settings, path, bound_s) for path in ("/v1/classify", "/v1/jobs")}
        self._http = httpx.AsyncClient(
            base_url=stack.url, timeout=bound_s + 10, limits=httpx.Limits(max_keepalive_connections=CLIENTS)
        )
        self._handed_in: list[tuple[str, Mutant, Order]] = []
        self.tally = Tally()

    async def run(self, first: int, count: int, seconds: float) -> Tally:
        began = time.monotonic()
        numbers = iter(range(first, first + count))

        async def client() -> None:
            for number in numbers:
                if time.monotonic() - began > seconds:
                    return
                await self._try(number)
                if number % KNOWN_EVERY == 0:
                    await self._check_known()

        async with self._http:
            await asyncio.gather(*(client() for _ in range(CLIENTS)))
            self.tally.seconds = round(time.monotonic() - began, 1)
            await self._check_known()
            await self._end_jobs()
        return self.tally

    async def _try(self, number: int) -> None:
        made = mutant(self._seed, number, self._seeds)
        wanted = order(self._seed, made)
        reply, busy = await send(self._http, wanted)
        self.tally.busy += busy
        faults = self._checkers[wanted.path].faults(reply)
        self.tally.note(made, wanted, reply, faults)
        if reply.status in (200, 202) and wanted.path == "/v1/jobs" and not faults:
            self._handed_in.append((json.loads(reply.body)["id"], made, wanted))

    async def _check_known(self) -> None:
        self.tally.known_checks += 1
        self.tally.faults += await self._known.wrong(self._http)

    async def _end_jobs(self) -> None:
        """Wait for every job, check its result, and remove it."""
        for identity, made, wanted in self._handed_in:
            deadline = time.monotonic() + JOB_S
            while (job := await self._job(identity))["state"] in ("queued", "running"):
                if time.monotonic() > deadline:
                    break
                await asyncio.sleep(0.1)
            self.tally.jobs += 1
            self.tally.job_ends[" ".join([job["state"], *([job["error"]["code"]] if job["error"] else [])])] += 1
            if faults := _faults_of_job(job):
                answer = json.dumps({"error": job["error"], "progress": job["progress"]})
                self.tally.findings.append(Finding(made.number, made.source, made.story, wanted.query, faults, answer))
            if job["state"] in ("queued", "running"):
                return
            await self._http.delete(f"/v1/jobs/{identity}")

    async def _job(self, identity: str) -> dict[str, Any]:
        job: dict[str, Any] = (await self._http.get(f"/v1/jobs/{identity}", params={"windows": "true"})).json()
        return job


def _faults_of_job(job: dict[str, Any]) -> list[str]:
    """Return the faults of a job; a damaged file may fail it, an internal error may not."""
    if job["state"] in ("queued", "running"):
        return [f"a job is still {job['state']} {JOB_S:.0f} s after the one before it has ended"]
    if job["state"] == "failed" and job["error"]["code"] in ("internal", "inference_failed", "unavailable"):
        return [f"a job failed by {job['error']['code']}"]
    if job["state"] == "done" and len(job["timeline"]["windows"]) != min(job["progress"]["windows"], MAX_PAGE):
        return [f"a job is done with {len(job['timeline']['windows'])} of {job['progress']['windows']} windows"]
    return []
