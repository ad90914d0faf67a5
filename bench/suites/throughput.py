"""Clips per second and latency of X3D-M with 1 to 16 clients, against every baseline.

Each baseline is compared twice: both sides with their defaults, and both sides in f32. The suite also reports the limit
by the stages alone, where one client's milliseconds go, and the processor time of a clip by part of the stack.
"""

import time
from contextlib import ExitStack
from typing import Any

from bench import turns
from bench.fixtures import networks, servers, videos
from bench.fixtures.service import ServerError, Service
from bench.fixtures.videos import Film
from bench.load import ab
from bench.profile import Profile
from bench.stats import spread
from bench.suites import stage_costs

PINNED = "f32"  # every engine calculates in it
SETTLE_S = 5.0  # of our stack after its start
STAGES = ("receive", "queue", "probe", "decode", "infer", "answer")
LONG_S = 300  # of a film from which one clip is taken


def measure(profile: Profile) -> dict[str, Any]:
    clip, large, long = videos.reference(), videos.large(), videos.long(LONG_S)
    films = {"small": clip, "large": large, "long": long}
    result: dict[str, Any] = {
        "clips": {name: f"{film.words}, {film.path.stat().st_size / 1e6:.1f} MB" for name, film in films.items()},
        "settings": servers.ROOM,
        "against": {},
    }
    with ExitStack() as running:
        ours = [servers.ours(running.enter_context(servers.stack()))]
        if ours[0].answer(clip.path).precision != PINNED:
            ours.append(servers.ours(running.enter_context(servers.stack(precision=PINNED))))
        time.sleep(SETTLE_S)
        result["precision"] = ours[0].answer(clip.path).precision
        result["idle_cores"] = round(ours[0].idle_cores(), 3)
        result["parts"] = stage_costs.measure(ours[0], clip.path, profile)
        result["stages"] = {name: stages(ours[0], film, profile.repeats) for name, film in films.items()}
        for name in profile.baselines:
            try:
                result["against"] |= against(name, ours, films, profile)
            except (ServerError, ab.GeneratorError) as error:  # keep the results of the other baselines
                result["against"][name] = {"error": f"{name}: {error}", "clients": {}}
    return result


def against(name: str, ours: list[Service], films: dict[str, Film], profile: Profile) -> dict[str, Any]:
    """Measure one baseline with its defaults and in f32, all sides in turns."""
    clip = films["small"].path
    with ExitStack() as running:
        words: tuple[str, ...] = ()
        if name == "flask_triton":
            models = networks.float_repository(networks.VIDEO, networks.cpu_precisions())
            words = ("--triton", running.enter_context(servers.triton(models))[1])
        theirs = [running.enter_context(servers.baseline(name, *words))]
        if theirs[0].answer(clip).precision != PINNED:
            theirs.append(running.enter_context(servers.baseline(name, *words, "--precision", PINNED)))
        pairs = {name: (ours[0], theirs[0]), f"{name}_{PINNED}": (ours[-1], theirs[-1])}
        result: dict[str, Any] = {
            key: {"precision": precisions(pair, clip), "clients": {}} for key, pair in pairs.items()
        }
        for clients in profile.baselines[name]:
            compared = {name: pairs[name]} if clients == 1 else pairs
            for key, row in rows(compared, films["small"], clients, profile).items():
                result[key]["clients"][str(clients)] = row
        if name == servers.STRONGEST:
            result[name]["large"] = rows({name: pairs[name]}, films["large"], 1, profile)[name]
    return result


def rows(
    pairs: dict[str, tuple[Service, Service]], film: Film, clients: int, profile: Profile
) -> dict[str, dict[str, Any]]:
    """Return the comparison of each pair; a side of several pairs is measured once."""
    sides = turns.measure([side for pair in pairs.values() for side in pair], film.path, clients, profile)
    if sides is None:
        reason = f"{clients} requests at once would take a turn longer than {turns.LONGEST_TURN_S:.0f} s"
        return {key: {"left_out": reason} for key in pairs}
    return {key: turns.comparison(sides[mine], sides[other], film.path) for key, (mine, other) in pairs.items()}


def precisions(pair: tuple[Service, Service], clip: Any) -> dict[str, str | None]:
    """Return the precision that each side's running engine reports."""
    return {side: service.answer(clip).precision for side, service in zip(("ours", "theirs"), pair, strict=True)}


def stages(ours: Service, film: Film, count: int) -> dict[str, Any]:
    """Return the milliseconds of each stage from the answers.

    `outside` is nginx, the form, Flask and the connection.
    """
    times: list[dict[str, float]] = []
    for _ in range(count):
        began = time.perf_counter()
        timing = ours.ask(film.path)["timing_ms"]
        whole_ms = (time.perf_counter() - began) * 1e3
        by_stage = {name: timing.get(name, 0.0) for name in STAGES}
        rest, outside = timing["total"] - sum(by_stage.values()), whole_ms - timing["total"]
        times.append(by_stage | {"rest": rest, "outside": outside, "whole": whole_ms})
    return {name: spread([row[name] for row in times]).as_dict() for name in times[0]}
