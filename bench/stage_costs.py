"""What the parts alone would allow: cores over the processor time of decoding and of inference of one clip.

Measured in turns with the service's own throughput: a machine that others share may be a third faster a minute later.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from app.decoding.worker import decode, probe
from app.media.sampling import EvenClips
from app.media.types import ClipRequest, Limits, Source
from bench.environment import described
from bench.fixtures import networks
from bench.fixtures.servers import Service
from bench.load import ab
from bench.profile import Profile, in_turns
from bench.stats import spread
from triton_repo.backends.clip.clip_engines.openvino_engine import OpenVinoEngine

PART_S = 1.0  # of each part, in each turn
MANY = 16  # clients at most: enough to keep all cores busy
REQUESTS = 3  # of each client, in each turn


class StageCosts(NamedTuple):
    """Processor seconds of one clip."""

    decode: float
    infer: float


def measured(ours: Service, clip: Path, effort: Profile) -> dict[str, Any]:
    """The limit and our own throughput, in clips a second, and our share of the limit, turn by turn."""
    cores = described()["cores"]
    clients = max(count for count in effort.clients if count <= MANY)
    load = ours.load(clip)
    part_s = prepared(clip)
    ab.run(load, clients, 2 * clients)  # so that all is as in a service that has been up for a while
    costs: list[StageCosts] = []

    def limit() -> float:
        costs.append(part_s())
        return float(cores / sum(costs[-1]))

    mine, limits = in_turns(effort.turns, lambda: ab.run(load, clients, REQUESTS * clients).per_s, limit)
    return {
        "cores": cores,
        "clients": clients,
        "decode_core_s": spread([cost.decode for cost in costs]).facts(),
        "infer_core_s": spread([cost.infer for cost in costs]).facts(),
        "limit_per_s": spread(limits).facts(),
        "ours_per_s": spread(mine).facts(),
        "ours_of_limit": spread([done / limit for done, limit in zip(mine, limits, strict=True)]).facts(),
    }


def prepared(clip: Path) -> Callable[[], StageCosts]:
    """Measures both parts, each alone and in this process, whenever it is called."""
    engine = _engine()
    batches = [np.zeros((count, *engine.clip_shape), np.uint8) for count in (1, 8)]
    decoding = _decoding(clip)

    def part_s() -> StageCosts:
        # The cheaper of one clip alone and eight side by side
        return StageCosts(core_s(decoding), min(core_s(partial(engine.infer, clips)) / len(clips) for clips in batches))

    return part_s


def _engine() -> OpenVinoEngine:
    """The one that Triton's backend has."""
    folder = networks.repository(networks.VIDEO) / networks.VIDEO / "1"
    engine = OpenVinoEngine(folder, {"engine": "openvino", "precision": "f32"}, 8)
    engine.warm_up()
    return engine


def _decoding(clip: Path) -> Callable[[], object]:
    """As a decoder process does it; probing is not counted, for it is ours and not a part's."""
    spec = networks.made(networks.VIDEO).spec
    source = Source(str(clip), 0, clip.stat().st_size)
    media = probe(source, Limits(36_000_000, 500_000, 14_400))
    wanted = EvenClips(spec.frames, spec.stride / spec.fps)
    size = spec.frames * spec.crop * spec.crop * 3

    def run() -> None:
        with tempfile.NamedTemporaryFile(dir="/dev/shm") as region:
            region.truncate(size)
            decode(source, media, ClipRequest(wanted, spec.resize, spec.crop, (0,), region.name))

    return run


def core_s(work: Callable[[], object]) -> float:
    """Processor seconds of one call, all threads together, user and system."""
    work()
    began, before, count = time.monotonic(), _used(), 0
    while time.monotonic() < began + PART_S or count < 3:
        work()
        count += 1
    return (_used() - before) / count


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


__all__ = ["StageCosts", "core_s", "measured", "prepared"]
