"""Pictures per second with ResNet-50, against two common ways to serve it."""

from __future__ import annotations

from typing import Any

from bench.fixtures import networks, servers, videos
from bench.profile import Profile
from bench.suites.throughput import row

AGAINST = ("flask_torch", "aiohttp_torch")
CLIENTS = 8


def measured(effort: Profile) -> dict[str, Any]:
    """Measure against each baseline and return the figures."""
    picture = videos.photograph()
    result: dict[str, Any] = {"about": f"ResNet-50, {CLIENTS} clients, {picture.words}.", "against": {}}
    with servers.stack(networks.PICTURE) as running:
        ours = servers.ours(running)
        for name in AGAINST:
            with servers.baseline(name, model=networks.PICTURE) as theirs:
                labels = [{"picture": side.label(picture.path)} for side in (ours, theirs)]
                result["against"][name] = row(ours, theirs, picture.path, CLIENTS, effort, labels)
    return result


__all__ = ["measured"]
