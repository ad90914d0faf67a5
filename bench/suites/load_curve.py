"""Answers and latency at one, two and four times the capacity.

ApacheBench measures the capacity. The load is an open loop (bench/load/client.py), because a closed loop cannot send
more than is answered. bench/tools/overload.py measures more, for longer.
"""

import asyncio
from typing import Any

from bench.fixtures import servers, videos
from bench.load.ab import run
from bench.load.client import Target
from bench.profile import Profile
from bench.tools.overload import overload

OFFERED = (1.0, 2.0, 4.0)
CLIENTS = 8


def measure(profile: Profile) -> dict[str, Any]:
    clip = videos.reference()
    body = videos.multipart(clip.path).read_bytes()
    defaults = dict.fromkeys(servers.ROOM, "")  # default settings: an empty variable selects the default
    with servers.stack(**defaults) as running:
        ours = servers.ours(running)
        load = ours.load(clip.path)
        capacity = max(run(load, CLIENTS, 3 * CLIENTS).per_s for _ in range(2))
        target = Target(load.url, body, {"Content-Type": load.content_type, **load.headers})
        rows = []
        for offered in OFFERED:
            figures = asyncio.run(overload(target, offered * capacity, profile.overload_s))
            figures["offered"] = offered
            figures["goodput_of_capacity"] = round(figures["goodput_per_s"] / capacity, 3)
            rows.append(figures)
    about = (
        f"Default settings; capacity {capacity:.1f} clips/s ({CLIENTS} clients of ab); {profile.overload_s:g} s each."
    )
    return {"about": about, "capacity_per_s": capacity, "rows": rows}
