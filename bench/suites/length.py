"""Time of one clip by the length of the film that it is taken from."""

from __future__ import annotations

from typing import Any

from bench.fixtures import servers, videos
from bench.profile import Profile
from bench.suites.throughput import row


def measured(effort: Profile) -> dict[str, Any]:
    """Measure all lengths and return the figures."""
    result: dict[str, Any] = {"about": "One client, one clip from the middle, 640x360; theirs is (a).", "films": {}}
    with servers.stack() as running, servers.baseline("flask_torch") as theirs:
        ours = servers.ours(running)
        for seconds in effort.film_s:
            film = videos.long(seconds).path
            labels = [{"film": side.label(film)} for side in (ours, theirs)]
            result["films"][str(seconds)] = row(ours, theirs, film, 1, effort, labels)
    return result


__all__ = ["measured"]
