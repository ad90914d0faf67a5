"""Measures `frame_quality` through the whole service: real frames with faults of known amounts, real files, HTTP.

    .venv/bin/python -m triton_repo.zoo.training.frame_quality.evaluate --url http://127.0.0.1:8080 --footage VIDEOS

Frames of the videos in --footage, and three photographs that training never saw, get faults of amounts from all over
each label's range, and sent as PNG, JPEG and H.264 of several sizes. Prints top-1 for each label, kind and size, and
for faint and strong faults; exits 1 when top-1 is below --bar. Same seed and footage, same files.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial

from rich.console import Console

from clipstack_client import Client
from triton_repo.zoo.architectures.quality_labels import LABELS
from triton_repo.zoo.training.camera_motion.scenes import HELD_OUT_PHOTOGRAPHS
from triton_repo.zoo.training.evaluate import (
    Evaluation,
    conditions_table,
    evaluation_parser,
    exit_code,
    label_table,
    top_1,
)
from triton_repo.zoo.training.frame_quality.encode import (
    KINDS,
    MIN_FOOTAGE_PIXELS,
    SIZES,
    Sample,
    encode_sample,
    samples,
    sharp_frames,
)
from triton_repo.zoo.training.frame_quality.scenes import MIN_PIXELS, photograph


def conditions() -> Iterator[tuple[str, Callable[[Sample], bool]]]:
    """Yield a name and a condition for each kind, size and third of the amounts."""
    yield from ((kind, lambda sample, kind=kind: sample.kind == kind) for kind in KINDS)
    yield from ((f"{w}x{h}", lambda sample, size=(w, h): sample.size == size) for w, h in SIZES)
    for name, low, high in (("faintest third", 0.0, 1 / 3), ("middle third", 1 / 3, 2 / 3), ("strongest", 2 / 3, 1.0)):
        yield name, lambda sample, low=low, high=high: low <= sample.strength < high  # type: ignore[misc]


def evaluate(client: Client, arguments: argparse.Namespace) -> bool:
    """Print the results of both sources and return whether both reach the bar; raise ValueError without footage."""
    footage = [frame for video in sorted(arguments.footage.iterdir()) for frame in sharp_frames(video)]
    if not footage:
        raise ValueError(f"no video that is large enough and can be decoded in {arguments.footage}")
    photographs = [photograph(name) for name in HELD_OUT_PHOTOGRAPHS]
    sources = {"footage": (footage, MIN_FOOTAGE_PIXELS), "photographs": (photographs, MIN_PIXELS)}
    console, lowest = Console(), 1.0
    for source, (scenes, min_pixels) in sources.items():
        encode = partial(encode_sample, scenes=scenes, seed=arguments.seed, min_pixels=min_pixels)
        results = Evaluation("frame_quality", samples(arguments.per_class), encode, arguments.jobs).run(client)
        console.print(label_table(f"frame_quality on {source}", "files", LABELS, results))
        console.print(conditions_table("files", conditions(), results))
        console.print(f"{len(scenes)} scenes, seed {arguments.seed}, bar {arguments.bar:.0%}")
        lowest = min(lowest, top_1(results))
    return bool(lowest >= arguments.bar)


def main() -> int:
    """Run the evaluation and return the exit code: 0 passed, 1 below the bar, 2 failed."""
    parser = evaluation_parser(__doc__, "lowest top-1 that passes, on footage and on photographs")
    parser.add_argument("--per-class", type=int, default=40, help="files per label, from each of the two sources")
    parser.add_argument("--jobs", type=int, default=2, help="number of parallel requests")
    return exit_code(evaluate, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
