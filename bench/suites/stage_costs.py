"""Limit by the stages alone: cores over the processor time of decoding and inference of one clip.

The service's throughput is measured in turns with it, because a shared machine may be a third faster a minute later.
"""

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
from bench.environment import describe_machine
from bench.fixtures import networks
from bench.fixtures.service import Service
from bench.load import ab
from bench.profile import Profile, in_turns
from bench.stats import spread
from triton_repo.backends.clip.clip_engines.openvino_engine import OpenVinoEngine

PART_S = 1.0  # of each stage in each turn
CLIENTS = 16  # enough to keep all cores busy
REQUESTS = 2  # of each client in each turn


class StageCosts(NamedTuple):
    """Processor seconds of one clip."""

    decode: float
    infer: float


def measure(ours: Service, clip: Path, profile: Profile) -> dict[str, Any]:
    """Return the limit and our throughput in clips per second, and our share of the limit, turn by turn."""
    cores = describe_machine()["cores"]
    load = ours.load(clip)
    part_s = prepared(clip, ours.answer(clip).precision or "f32")
    ab.run(load, CLIENTS, CLIENTS)  # warm up the service
    costs: list[StageCosts] = []

    def limit() -> float:
        costs.append(part_s())
        return float(cores / sum(costs[-1]))

    ours_per_s, limits = in_turns(profile.turns, lambda: ab.run(load, CLIENTS, REQUESTS * CLIENTS).per_s, limit)
    return {
        "cores": cores,
        "clients": CLIENTS,
        "decode_core_s": spread([cost.decode for cost in costs]).as_dict(),
        "infer_core_s": spread([cost.infer for cost in costs]).as_dict(),
        "per_s": {
            "ours": spread(ours_per_s).as_dict(),
            "theirs": spread(limits).as_dict(),
            "ratio": spread([done / limit for done, limit in zip(ours_per_s, limits, strict=True)]).as_dict(),
        },
    }


def prepared(clip: Path, precision: str) -> Callable[[], StageCosts]:
    """Return a function that measures both stages, each alone, in this process."""
    engine = _engine(precision)
    batches = [np.zeros((count, *engine.clip_shape), np.uint8) for count in (1, 8)]
    decoding = _decoding(clip)

    def part_s() -> StageCosts:
        # The cheaper of a lone clip and eight side by side
        return StageCosts(core_s(decoding), min(core_s(partial(engine.infer, clips)) / len(clips) for clips in batches))

    return part_s


def _engine(precision: str) -> OpenVinoEngine:
    """Return the engine that Triton's backend uses, in the same precision."""
    folder = networks.repository(networks.VIDEO) / networks.VIDEO / "1"
    engine = OpenVinoEngine(folder, {"engine": "openvino", "precision": precision}, 8)
    engine.warm_up()
    return engine


def _decoding(clip: Path) -> Callable[[], object]:
    """Return a function that decodes like a decoder process; probing is not counted, as it is our overhead."""
    spec = networks.load_network(networks.VIDEO).spec
    source = Source(str(clip), 0, clip.stat().st_size)
    media = probe(source, Limits(36_000_000, 500_000, 14_400))
    clips = EvenClips(spec.frames, spec.stride / spec.fps)
    size = spec.frames * spec.crop * spec.crop * 3

    def run() -> None:
        with tempfile.NamedTemporaryFile(dir="/dev/shm") as region:
            region.truncate(size)
            decode(source, media, ClipRequest(clips, spec.resize, spec.crop, (0,), region.name))

    return run


def core_s(work: Callable[[], object]) -> float:
    """Return the processor seconds of one call, user and system, over all threads."""
    work()
    began, before, count = time.monotonic(), _used(), 0
    while time.monotonic() < began + PART_S or count < 3:
        work()
        count += 1
    return (_used() - before) / count


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
