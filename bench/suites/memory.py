"""Memory of one more worker with a model of 0.4 GB: ours, and with the model in every worker.

The figure is the proportional set size (PSS) of all processes of a service, after every worker has answered. Shared
memory counts once.
"""

from pathlib import Path
from typing import Any

from bench.fixtures import networks, servers, videos
from bench.fixtures.service import ServerError, Service
from bench.load.ab import run
from bench.processes import command_line, part_of, pss_mib
from bench.profile import Profile

REQUESTS = 6  # per worker, several at a time
AGAINST = ("flask_torch", "flask_torch_preload")


def measure(profile: Profile) -> dict[str, Any]:
    picture = videos.photograph().path
    sides: dict[str, Any] = {name: {} for name in ("clipstack", *AGAINST)}
    networks.repository(networks.LARGE)
    weights_mib = (networks.FOLDER / "networks" / networks.LARGE / "weights.safetensors").stat().st_size / 2**20
    for workers in profile.workers:
        with servers.stack(networks.LARGE, web_workers=str(workers)) as running:
            ours = servers.ours(running)
            ask(ours, picture, workers)
            sides["clipstack"][str(workers)] = by_part(ours.pids)
    for name in AGAINST:
        with servers.baseline(name, "--workers", str(profile.workers[0]), model=networks.LARGE) as side:
            for workers in profile.workers:
                servers.grow(side, workers)
                ask(side, picture, workers)
                sides[name][str(workers)] = {"all": round(sum(map(pss_mib, side.pids)), 1)}
    few, many = (str(count) for count in (profile.workers[0], profile.workers[-1]))
    more = int(many) - int(few)
    figures = sides["clipstack"]
    return {
        "about": f"Picture in, a network with {weights_mib:.0f} MiB of weights; MiB of all processes.",
        "sides": sides,
        "ours_each_mib": round((figures[many]["web"] - figures[few]["web"]) / more, 1),
        "ours_each_with_decoders_mib": round((figures[many]["all"] - figures[few]["all"]) / more, 1),
        "theirs_each_mib": {
            name: round((sides[name][many]["all"] - sides[name][few]["all"]) / more, 1) for name in AGAINST
        },
        "copies_added": round((figures[many]["triton"] - figures[few]["triton"]) / weights_mib, 3),
        "triton": {
            "ours": {"median": figures[few]["triton"]},
            "theirs": {"median": round(weights_mib, 1)},
            "ratio": {"median": round(figures[few]["triton"] / weights_mib, 3)},
        },
    }


def ask(side: Service, picture: Path, workers: int) -> None:
    """Send requests so that every worker answers; raise ServerError if one fails."""
    clients = min(2 * workers, 16)
    turn = run(side.load(picture), clients, REQUESTS * workers)
    if turn.failed:
        raise ServerError(f"{side.name}: {turn.failed} of {REQUESTS * workers} requests failed")


def by_part(pids: list[int]) -> dict[str, float]:
    """Return the MiB of gunicorn's processes, all decoders, Triton with its model processes, and all."""
    totals = {"all": 0.0, "web": 0.0, "decoders": 0.0, "triton": 0.0}
    for pid in pids:
        used, part = pss_mib(pid), part_of(command_line(pid))
        part = "triton" if part == "model process" else part
        totals["all"] += used
        if part in totals:
            totals[part] += used
    return {name: round(used, 1) for name, used in totals.items()}
