"""Measures `camera_motion` through the whole service: real frames, known camera paths, real H.264 files, HTTP.

    .venv/bin/python -m triton_repo.zoo.training.camera_motion.evaluate --url http://127.0.0.1:8080 --footage VIDEOS

Still frames of the videos in --footage are filmed by a camera of known path, at every frame rate and size below, and
each film is uploaded. Prints top-1 for each label, frame rate and size; exits 1 when top-1 is below --bar. Same seed
and footage, same films.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial

from rich.console import Console

from clipstack_client import Client
from triton_repo.zoo.training.camera_motion.paths import LABELS
from triton_repo.zoo.training.camera_motion.render import FPS, SIZES, Film, Padding, films, footage_scenes, record
from triton_repo.zoo.training.evaluate import (
    Evaluation,
    conditions_table,
    evaluation_parser,
    exit_code,
    label_table,
    top_1,
)


def conditions() -> Iterator[tuple[str, Callable[[Film], bool]]]:
    """Yield a name and a condition for each frame rate and size."""
    yield from ((f"{fps} fps", lambda film, fps=fps: film.fps == fps) for fps in FPS)
    yield from ((f"{w}x{h}", lambda film, size=(w, h): film.size == size) for w, h in SIZES)


def evaluate(client: Client, arguments: argparse.Namespace) -> bool:
    """Print the results and return whether top-1 reaches the bar; raise ValueError without footage."""
    scenes = footage_scenes(arguments.footage)
    padding = Padding(arguments.still, arguments.key_frames)
    encode = partial(record, scenes=scenes, seed=arguments.seed, padding=padding)
    items = films(arguments.per_class)
    results = Evaluation("camera_motion", items, encode, arguments.jobs, arguments.sampling).run(client)
    console = Console()
    console.print(label_table("camera_motion", "films", LABELS, results))
    console.print(conditions_table("films", conditions(), results))
    console.print(f"{len(scenes)} frames of real footage, seed {arguments.seed}, bar {arguments.bar:.0%}")
    return bool(top_1(results) >= arguments.bar)


def main() -> int:
    """Run the evaluation and return the exit code: 0 passed, 1 below the bar, 2 failed."""
    parser = evaluation_parser(__doc__, "lowest top-1 that passes")
    parser.add_argument("--per-class", type=int, default=24, help="films per label")
    parser.add_argument("--jobs", type=int, default=4, help="number of parallel requests")
    parser.add_argument(
        "--sampling", choices=["exact", "auto", "keyframe"], help="sampling of the service; its default if left out"
    )
    parser.add_argument("--still", type=float, default=0.0, help="seconds without motion before and after")
    parser.add_argument(
        "--key-frames", type=int, default=0, help="distance of key frames in frames; x264's default if 0"
    )
    return exit_code(evaluate, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
