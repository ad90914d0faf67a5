"""Clips per second and latency at 1 to 64 clients, against every baseline.

The suite also reports the limit by the stages alone: cores over the processor time of decoding and inference.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

from bench import stage_costs
from bench.fixtures import networks, servers, videos
from bench.load import ab
from bench.load.ab import LoadResult
from bench.profile import Profile, in_turns
from bench.stats import compared

THOROUGH = ("flask_torch", servers.STRONGEST)  # with every number of clients; the others with MIDDLE
MIDDLE = 4
FEW = (1, 16)  # numbers of clients for the comparison by key frames
LONGEST_TURN_S = 25.0  # 16 clients of the slowest baseline: our stack needs that many to do its best
SETTLE_S = 5.0  # of our stack after its start
LONG_TURN_S = 6.0  # longest turn that is extended to two requests per client, which latencies need
FEW_TURNS = 2  # of longer turns


def measured(effort: Profile) -> dict[str, Any]:
    """Measure against each baseline and return the figures."""
    clip = videos.reference()
    result: dict[str, Any] = {
        "clip": clip.words,
        "model": networks.VIDEO,
        "generator": "ab (ApacheBench)",
        "against": {},
    }
    result["settings"] = servers.ROOM
    with servers.stack() as running:
        time.sleep(SETTLE_S)
        result["idle_cores"] = {"clipstack": round(servers.idle_cores(servers.ours(running).pids), 3)}
        result["parts"] = stage_costs.measured(servers.ours(running), clip.path, effort)
        for name in effort.baselines:
            sides = servers.comparisons(running, name)
            try:
                result["against"] |= against(sides, name, clip.path, effort, result["idle_cores"])
            except (servers.ServerError, ab.GeneratorError) as error:  # keep the results of the other baselines
                result["against"] |= {side: {"error": f"{name}: {error}", "clients": {}} for side in sides}
    result["best"] = {
        name: best for name, comparison in result["against"].items() if (best := best_ratio(comparison)) is not None
    }
    return result


def numbers_of_clients(name: str, effort: Profile) -> tuple[int, ...]:
    """Return the numbers of clients for one comparison."""
    if name == servers.KEYFRAME:
        return tuple(count for count in effort.clients if count in FEW)
    return effort.clients if name in THOROUGH else (MIDDLE,)


def best_ratio(each: dict[str, Any]) -> float | None:
    """Return our best median over the baseline's best, at any number of clients; None if a ratio was refused."""
    rows = [row["per_s"] for row in each["clients"].values() if "per_s" in row]
    if not rows or any("ratio" not in row for row in rows):
        return None
    mine, other = (max(row[side]["median"] for row in rows) for side in ("ours", "theirs"))
    return round(float(mine / other), 3)


def against(
    sides: dict[str, servers.Service], baseline: str, clip: Path, effort: Profile, idle: dict[str, float]
) -> dict[str, Any]:
    """Measure our sides and one baseline in turns, at each number of clients."""
    result = {}
    with ExitStack() as resources:
        words: tuple[str, ...] = ()
        if baseline == "flask_triton":
            _, address = resources.enter_context(servers.triton(networks.float_repository(networks.VIDEO)))
            words = ("--triton", address)
        theirs = resources.enter_context(servers.baseline(baseline, *words))
        for name, ours in sides.items():
            labels = [{"clip": side.label(clip)} for side in (ours, theirs)]
            clients = numbers_of_clients(name, effort)
            rows = {str(count): row(ours, theirs, clip, count, effort, labels) for count in clients}
            result[name] = {"labels": {"ours": labels[0], "theirs": labels[1]}, "clients": rows}
        idle[baseline] = round(servers.idle_cores(theirs.pids), 3)
    return result


def row(
    ours: servers.Service,
    theirs: servers.Service,
    clip: Path,
    clients: int,
    effort: Profile,
    labels: list[dict[str, str]],
) -> dict[str, Any]:
    """Return the figures and ratios of both sides with `clients` clients; left out if it would take too long."""
    paces = {side.name: pace(side, clip, min(clients, MIDDLE)) for side in (ours, theirs)}
    if any(clients / per_s > LONGEST_TURN_S for per_s in paces.values()):
        return {"left_out": f"{clients} requests at once would take a turn longer than {LONGEST_TURN_S:.0f} s"}
    counts = {name: requests(per_s, clients, effort.seconds) for name, per_s in paces.items()}
    is_long = any(counts[name] / per_s > LONG_TURN_S for name, per_s in paces.items())

    def turn(side: servers.Service) -> LoadResult:
        return ab.run(side.load(clip), clients, counts[side.name])

    turns = min(effort.turns, FEW_TURNS) if is_long else effort.turns
    our_turns, their_turns = in_turns(turns, lambda: turn(ours), lambda: turn(theirs))
    result: dict[str, Any] = {
        figure: compared(
            [getattr(outcome, figure) for outcome in our_turns],
            [getattr(outcome, figure) for outcome in their_turns],
            labels,
        )
        for figure in ("per_s", "p50_ms", "p99_ms")
    }
    result["failed"] = {
        "ours": sum(outcome.failed for outcome in our_turns),
        "theirs": sum(outcome.failed for outcome in their_turns),
    }
    return result


@cache
def pace(side: servers.Service, clip: Path, clients: int) -> float:
    """Return the requests per second of a short trial, which only determines the length of turns."""
    trial = ab.run(side.load(clip), clients, max(2, clients))
    if not trial.answered:
        raise servers.ServerError(f"{side.name} answers none of {max(2, clients)} requests")
    return trial.per_s


def requests(per_s: float, clients: int, seconds: float) -> int:
    """Return the number of requests for about `seconds`: at least one per client, or two if that is quick."""
    count = max(clients, round(seconds * per_s))
    return max(count, 2 * clients) if 2 * clients / per_s <= LONG_TURN_S else count


__all__ = ["measured", "row"]
