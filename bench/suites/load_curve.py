"""What becomes of requests when half, as many, twice and four times as many come as can be answered?

The capacity is ApacheBench's, the load an open loop (bench/load/client.py): a closed one cannot send more than is answered.
bench/tools/overload.py asks more of the same, for longer.
"""

from __future__ import annotations

import asyncio
from typing import Any

from bench.fixtures import servers, videos
from bench.load.ab import run
from bench.load.client import Target
from bench.profile import Profile
from bench.suites.throughput import pace, requests
from bench.tools.overload import overload

OFFERED = (0.5, 1.0, 2.0, 4.0)
CLIENTS = 8


def measured(effort: Profile) -> dict[str, Any]:
    clip = videos.reference()
    body = videos.multipart(clip.path).read_bytes()
    defaults = dict.fromkeys(servers.ROOM, "")  # as it comes: an empty variable is the default
    with servers.stack(**defaults) as running:
        ours = servers.ours(running)
        load = ours.load(clip.path)
        count = requests(pace(ours, clip.path, CLIENTS), CLIENTS, effort.seconds)
        capacity = max(run(load, CLIENTS, count).per_s for _ in range(2))
        target = Target(load.url, body, {"Content-Type": load.content_type, **load.headers})
        rows = []
        for offered in OFFERED:
            told = asyncio.run(overload(target, offered * capacity, effort.overload_s))
            told["offered"] = offered
            told["goodput_of_capacity"] = round(told["goodput_per_s"] / capacity, 3)
            rows.append(told)
    about = (
        f"Default settings; capacity {capacity:.1f} clips/s ({CLIENTS} clients of ab); {effort.overload_s:g} s each."
    )
    return {"about": about, "capacity_per_s": capacity, "rows": rows}


__all__ = ["measured"]
