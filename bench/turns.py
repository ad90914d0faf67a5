"""Turns of ApacheBench: services take turns under the same load, with the processor time of each answer."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from bench import processes
from bench.fixtures.service import ServerError, Service
from bench.load import ab
from bench.load.ab import LoadResult
from bench.profile import Profile, in_turns
from bench.stats import compare

FIGURES = ("per_s", "p50_ms", "p99_ms")
TRIAL_CLIENTS = 4
LONGEST_TURN_S = 25.0  # 16 clients of the slowest baseline
LONG_TURN_S = 10.0  # longest turn that is extended to two requests per client, which latencies need
FEW_TURNS = 2  # of longer turns


@dataclass
class Turns:
    """Results of one service's turns, and the processor seconds of all turns by part."""

    service: Service
    results: list[LoadResult] = field(default_factory=list)
    cpu_s: Counter[str] = field(default_factory=Counter)

    def run(self, load: ab.Load, clients: int, requests: int) -> None:
        """Run one turn."""
        before = processes.cpu_of_session(self.service.session)
        self.results.append(ab.run(load, clients, requests))
        self.cpu_s.update(processes.cpu_seconds_by_part(self.service.session, before))

    def figures(self, name: str) -> list[float | None]:
        """Return one figure of every turn."""
        return [getattr(result, name) for result in self.results]

    def cpu_ms(self) -> dict[str, float]:
        """Return the processor milliseconds of one answer by part, and of all parts; empty without answers."""
        answered = sum(result.answered for result in self.results)
        costs = self.cpu_s | {"all": self.cpu_s.total()}
        return {part: round(1e3 * used_s / answered, 2) for part, used_s in costs.items()} if answered else {}


def measure(services: Sequence[Service], film: Path, clients: int, profile: Profile) -> dict[Service, Turns] | None:
    """Measure the services in turns; None if a turn would be longer than LONGEST_TURN_S."""
    services = list(dict.fromkeys(services))
    paces = [pace(service, film, min(clients, TRIAL_CLIENTS)) for service in services]
    if any(clients / per_s > LONGEST_TURN_S for per_s in paces):
        return None
    counts = [requests(per_s, clients, profile.seconds) for per_s in paces]
    is_long = any(count / per_s > LONG_TURN_S for count, per_s in zip(counts, paces, strict=True))
    results = [Turns(service) for service in services]
    loads = [service.load(film) for service in services]
    runs = [partial(one.run, load, clients, n) for one, load, n in zip(results, loads, counts, strict=True)]
    in_turns(min(profile.turns, FEW_TURNS) if is_long else profile.turns, *runs)
    return dict(zip(services, results, strict=True))


@cache
def pace(service: Service, film: Path, clients: int) -> float:
    """Return the requests per second of a short trial, which only determines the length of turns."""
    trial = ab.run(service.load(film), clients, max(2, clients))
    if not trial.answered:
        raise ServerError(f"{service.name} answers none of {max(2, clients)} requests")
    return trial.per_s


def requests(per_s: float, clients: int, seconds: float) -> int:
    """Return the number of requests for about `seconds`: at least one per client, or two if that is quick."""
    count = max(clients, round(seconds * per_s))
    return max(count, 2 * clients) if 2 * clients / per_s <= LONG_TURN_S else count


def comparison(ours: Turns, theirs: Turns, film: Path) -> dict[str, Any]:
    """Return both sides' figures and ratios, failures and processor time for the file of results."""
    labels = [{"clip": side.service.answer(film).label} for side in (ours, theirs)]
    sides = {"ours": ours, "theirs": theirs}
    result: dict[str, Any] = {name: compare(ours.figures(name), theirs.figures(name), labels) for name in FIGURES}
    result["failed"] = {name: sum(turn.failed for turn in side.results) for name, side in sides.items()}
    result["cpu_ms"] = {name: side.cpu_ms() for name, side in sides.items()}
    return result
