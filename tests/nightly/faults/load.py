"""Load at a steady rate during a fault, whatever the service does; every response is kept."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

SHARED = "system_shared_memory"
NEAR = 0.01  # tolerance of a score, which depends a little on the rest of its batch
CALM_S = 2.0
PATIENCE_S = 90.0  # timeout of a client, longer than the service's own limits


@dataclass(frozen=True, slots=True)
class Sample:
    """One request; times in seconds (monotonic), status 0 when there was no answer, and why in `code`."""

    film: str
    sent: float
    ended: float
    status: int
    code: str
    scores: tuple[tuple[str, float], ...] = ()
    transport: str = ""

    @property
    def seconds(self) -> float:
        return self.ended - self.sent


ReferenceScores = Mapping[str, tuple[tuple[str, float], ...]]


class SteadyLoad:
    """Send `rate` requests per second with `films` in turns; `known` has the right scores."""

    def __init__(self, url: str, films: Mapping[str, bytes], known: ReferenceScores, rate: float) -> None:
        self._url, self._films, self._known, self._rate = url, films, known, rate
        self._ends = threading.Event()
        self.samples: list[Sample] = []
        self.under_way: dict[int, float] = {}  # time at which each was sent
        self.most_under_way = 0
        self.began = time.monotonic()

    def is_right(self, sample: Sample) -> bool:
        if sample.status != 200:
            return False
        scores, right = dict(sample.scores), dict(self._known[sample.film])
        return scores.keys() == right.keys() and all(
            abs(scores[label] - score) < NEAR for label, score in right.items()
        )

    def wrong(self) -> list[Sample]:
        """Return answers with status 200 and wrong scores."""
        return [sample for sample in list(self.samples) if sample.status == 200 and not self.is_right(sample)]

    def bad(self, since: float = 0.0) -> list[Sample]:
        """Return requests that ended after `since` without a right answer."""
        return [sample for sample in list(self.samples) if sample.ended >= since and not self.is_right(sample)]

    def statuses(self, since: float = 0.0) -> Counter[str]:
        return Counter(
            f"{sample.status} {sample.code}".strip() for sample in list(self.samples) if sample.ended >= since
        )

    def unsteady_s(self, fault: float) -> float:
        """Return the seconds from `fault` to the end of the last wrong or missing answer; 0 if there was none."""
        return max((sample.ended - fault for sample in self.bad(fault)), default=0.0)

    def is_calm(self, fault: float) -> bool:
        """Return whether all recent requests have their right answers, and none waits."""
        now = time.monotonic()
        lately = [sample for sample in list(self.samples) if sample.sent >= now - CALM_S]
        waits = min(list(self.under_way.values()), default=now)
        return (
            now - fault > CALM_S
            and len(lately) >= self._rate * CALM_S / 2
            and waits > now - CALM_S
            and all(sample.ended < now - CALM_S for sample in self.bad(fault))
        )

    def run(self) -> None:
        asyncio.run(self._run())

    def end(self) -> None:
        self._ends.set()

    async def _run(self) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        async with httpx.AsyncClient(base_url=self._url, timeout=PATIENCE_S, limits=limits) as http:
            asking: set[asyncio.Task[None]] = set()
            begin = time.monotonic()
            for number, film in enumerate(itertools.cycle(self._films)):
                await asyncio.sleep(max(0.0, begin + number / self._rate - time.monotonic()))
                if self._ends.is_set():
                    break
                task = asyncio.create_task(self._ask(http, number, film))
                asking.add(task)
                task.add_done_callback(asking.discard)
            await asyncio.gather(*asking)

    async def _ask(self, http: httpx.AsyncClient, number: int, film: str) -> None:
        sent = self.under_way[number] = time.monotonic()
        self.most_under_way = max(self.most_under_way, len(self.under_way))
        try:
            answer = await http.post("/v1/classify?top_k=10", content=self._films[film])
            sample = to_sample(film, sent, answer)
        except httpx.HTTPError as error:
            sample = Sample(film, sent, time.monotonic(), 0, type(error).__name__)
        self.samples.append(sample)
        del self.under_way[number]


def to_sample(film: str, sent: float, answer: httpx.Response) -> Sample:
    """Return an answer as a sample; one that is not our JSON has status 0."""
    ended = time.monotonic()
    try:
        body = answer.json()
        if answer.status_code != 200:
            return Sample(film, sent, ended, answer.status_code, body["error"]["code"])
        scores = tuple((prediction["label"], float(prediction["score"])) for prediction in body["predictions"])
        return Sample(film, sent, ended, 200, "", scores, body["transport"])
    except (ValueError, KeyError):
        return Sample(film, sent, ended, 0, f"{answer.status_code} without our JSON")


def known_scores(url: str, films: Mapping[str, bytes]) -> ReferenceScores:
    """Return the scores of each film from the idle service; no two films may have the same best label."""
    result = {}
    for name, film in films.items():
        ends = time.monotonic() + PATIENCE_S
        while not result.get(name):  # on a busy machine Triton may be unavailable for a moment
            answer = httpx.post(f"{url}/v1/classify?top_k=10", content=film, timeout=30)
            result[name] = to_sample(name, time.monotonic(), answer).scores
            assert result[name] or (answer.status_code == 503 and time.monotonic() < ends), answer.text
    assert len({scores[0][0] for scores in result.values()}) == len(films), "two films have the same best label"
    return result


def capacity(url: str, films: Mapping[str, bytes], clients: int = 8, seconds: float = 6.0) -> float:
    """Return the answers per second to `clients` clients that send without pause."""

    async def measure() -> float:
        counted, begin = 0, time.monotonic()
        async with httpx.AsyncClient(base_url=url, timeout=30) as http:

            async def client(film: bytes) -> None:
                nonlocal counted
                while time.monotonic() < begin + seconds:
                    answer = await http.post("/v1/classify?top_k=10", content=film)
                    counted += answer.status_code == 200

            contents = itertools.islice(itertools.cycle(films.values()), clients)
            await asyncio.gather(*(client(film) for film in contents))
        return counted / (time.monotonic() - begin)

    return asyncio.run(measure())


@contextmanager
def running_load(flow: SteadyLoad) -> Iterator[SteadyLoad]:
    """Run the load for the block; all its requests are answered when it ends."""
    thread = threading.Thread(target=flow.run, name="flow", daemon=True)
    thread.start()
    try:
        yield flow
    finally:
        flow.end()
        thread.join(2 * PATIENCE_S)
