"""Files with known answers: they are sent between mutants, and their answers must stay the same."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.nightly.fuzz.requests import Order, send
from tests.nightly.fuzz.seeds import Seed
from tests.support.movements import film_movement
from tests.support.photographs import photograph_file

NEAR = 2e-3  # tolerance of a score, which is rounded differently at another place of a batch


@dataclass
class Known:
    """Films by their movement and one picture, with their earlier answers."""

    orders: dict[str, Order]
    scores: dict[str, dict[str, float]] = field(default_factory=dict)

    async def wrong(self, http: httpx.AsyncClient) -> list[str]:
        """Send all files and return the answers that differ."""
        faults = []
        for name, wanted in self.orders.items():
            reply, _busy = await send(http, wanted)
            if reply.status != 200:
                faults.append(f"the known file {name}: {reply.status} {reply.body[:200]!r}")
                continue
            scores = _scores(httpx.Response(200, content=reply.body).json())
            before = self.scores.setdefault(name, scores)
            if scores.keys() != before.keys() or any(abs(scores[label] - before[label]) > NEAR for label in before):
                faults.append(f"the known file {name}: {scores}, before {before}")
            if name in scores and max(scores, key=lambda label: scores[label]) != name:
                faults.append(f"the known file {name} is taken for {max(scores, key=lambda label: scores[label])}")
        return faults


def known(picture: Seed) -> Known:
    """Return two films of known movements, each using many slots, and pictures for two models."""
    orders = {}
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        for label in ("pan_left", "zoom_in"):
            film = film_movement(Path(folder) / f"{label}.mp4", label, width=160, height=120).read_bytes()
            orders[label] = Order("/v1/classify", {"model": "camera_motion", "top_k": "10"}, film)
    orders["picture"] = Order("/v1/classify", {"model": "frame_quality", "top_k": "8"}, picture.content)
    orders["espresso"] = Order("/v1/classify", {"model": "objects", "top_k": "8"}, photograph_file("coffee"))
    return Known(orders)


def _scores(answer: dict[str, Any]) -> dict[str, float]:
    return {prediction["label"]: prediction["score"] for prediction in answer["predictions"]}
