"""Pictures per second with ResNet-50, against two common ways to serve it, each side with its defaults."""

from typing import Any

from bench.fixtures import networks, servers, videos
from bench.profile import Profile
from bench.suites.throughput import precisions, rows

AGAINST = (servers.STRONGEST, "aiohttp_torch")
CLIENTS = 8


def measure(profile: Profile) -> dict[str, Any]:
    picture = videos.photograph()
    result: dict[str, Any] = {"about": f"ResNet-50, {CLIENTS} clients, {picture.words}.", "against": {}}
    with servers.stack(networks.PICTURE) as running:
        ours = servers.ours(running)
        for name in AGAINST:
            with servers.baseline(name, model=networks.PICTURE) as theirs:
                row = rows({name: (ours, theirs)}, picture, CLIENTS, profile)[name]
                result["against"][name] = row | {"precision": precisions((ours, theirs), picture.path)}
    return result
