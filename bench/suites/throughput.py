"""How many clips a second, and how long does one take, at 1 to 64 clients, against every baseline?

Beside it what the parts alone would allow: cores over the processor time of decoding and inference of one clip.
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

THOROUGH = ("flask_torch", servers.STRONGEST)  # at every number of clients; the others at MIDDLE
MIDDLE = 4
FEW = (1, 16)  # of the same once more by key frames
LONGEST_TURN_S = 25.0  # 16 clients of the slowest baseline: with fewer ours is not at its best
SETTLE_S = 5.0  # of our stack after its start
LONG_TURN_S = 6.0  # so long at most it takes to see each client's second request too, which tells the latency
FEW_TURNS = 2  # of what takes longer


def measured(effort: Profile) -> dict[str, Any]:
    clip = videos.reference()
    told: dict[str, Any] = {"clip": clip.words, "model": networks.VIDEO, "generator": "ab (ApacheBench)", "against": {}}
    told["settings"] = servers.ROOM
    with servers.stack() as running:
        time.sleep(SETTLE_S)
        told["idle_cores"] = {"clipstack": round(servers.idle_cores(servers.ours(running).pids), 3)}
        told["parts"] = stage_costs.measured(servers.ours(running), clip.path, effort)
        for name in effort.baselines:
            sides = servers.comparisons(running, name)
            try:
                told["against"] |= against(sides, name, clip.path, effort, told["idle_cores"])
            except (servers.ServerError, ab.GeneratorError) as error:  # the others are worth having
                told["against"] |= {side: {"error": f"{name}: {error}", "clients": {}} for side in sides}
    told["best"] = {name: best for name, each in told["against"].items() if (best := best_ratio(each)) is not None}
    return told


def numbers_of_clients(name: str, effort: Profile) -> tuple[int, ...]:
    """How many clients one comparison is made with, one number after the other."""
    if name == servers.KEYFRAME:
        return tuple(count for count in effort.clients if count in FEW)
    return effort.clients if name in THOROUGH else (MIDDLE,)


def best_ratio(each: dict[str, Any]) -> float | None:
    """Our best median over the baseline's best, whatever the number of clients; None where a ratio was refused."""
    rows = [row["per_s"] for row in each["clients"].values() if "per_s" in row]
    if not rows or any("ratio" not in row for row in rows):
        return None
    mine, other = (max(row[side]["median"] for row in rows) for side in ("ours", "theirs"))
    return round(float(mine / other), 3)


def against(
    sides: dict[str, servers.Service], baseline: str, clip: Path, effort: Profile, idle: dict[str, float]
) -> dict[str, Any]:
    """Our sides, by the name of the comparison, and one baseline in turns, at each number of clients."""
    told = {}
    with ExitStack() as held:
        words: tuple[str, ...] = ()
        if baseline == "flask_triton":
            _, address = held.enter_context(servers.triton(networks.float_repository(networks.VIDEO)))
            words = ("--triton", address)
        theirs = held.enter_context(servers.baseline(baseline, *words))
        for name, ours in sides.items():
            labels = [{"clip": side.label(clip)} for side in (ours, theirs)]
            clients = numbers_of_clients(name, effort)
            rows = {str(count): row(ours, theirs, clip, count, effort, labels) for count in clients}
            told[name] = {"labels": {"ours": labels[0], "theirs": labels[1]}, "clients": rows}
        idle[baseline] = round(servers.idle_cores(theirs.pids), 3)
    return told


def row(
    ours: servers.Service,
    theirs: servers.Service,
    clip: Path,
    clients: int,
    effort: Profile,
    labels: list[dict[str, str]],
) -> dict[str, Any]:
    """Figures of both sides with `clients` clients, and their ratios; left out where it would take too long."""
    paces = {side.name: pace(side, clip, min(clients, MIDDLE)) for side in (ours, theirs)}
    if any(clients / per_s > LONGEST_TURN_S for per_s in paces.values()):
        return {"left_out": f"{clients} requests at once would take a turn longer than {LONGEST_TURN_S:.0f} s"}
    counts = {name: requests(per_s, clients, effort.seconds) for name, per_s in paces.items()}
    is_long = any(counts[name] / per_s > LONG_TURN_S for name, per_s in paces.items())

    def turn(side: servers.Service) -> LoadResult:
        return ab.run(side.load(clip), clients, counts[side.name])

    turns = min(effort.turns, FEW_TURNS) if is_long else effort.turns
    mine, other = in_turns(turns, lambda: turn(ours), lambda: turn(theirs))
    told: dict[str, Any] = {
        figure: compared([getattr(each, figure) for each in mine], [getattr(each, figure) for each in other], labels)
        for figure in ("per_s", "p50_ms", "p99_ms")
    }
    told["failed"] = {"ours": sum(each.failed for each in mine), "theirs": sum(each.failed for each in other)}
    return told


@cache
def pace(side: servers.Service, clip: Path, clients: int) -> float:
    """Requests a second in a short trial, which nothing but the length of turns depends on."""
    tried = ab.run(side.load(clip), clients, max(2, clients))
    if not tried.answered:
        raise servers.ServerError(f"{side.name} answers none of {max(2, clients)} requests")
    return tried.per_s


def requests(per_s: float, clients: int, seconds: float) -> int:
    """As many as take about `seconds`, but one for each client, or two where that does not take long."""
    count = max(clients, round(seconds * per_s))
    return max(count, 2 * clients) if 2 * clients / per_s <= LONG_TURN_S else count


__all__ = ["measured", "row"]
