"""Measures `camera_motion` through the whole service: real frames, known camera paths, real H.264 files, HTTP.

    .venv/bin/python -m triton_repo.zoo.evaluate_camera_motion --url http://127.0.0.1:8080 --footage VIDEOS

Still frames of the videos in --footage are filmed by a camera of known path, at every frame rate and size below, and
each film is uploaded. Prints top-1 for each label, frame rate and size; exits 1 when top-1 is below --bar. Same seed
and footage, same films.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from client import Client, ClipstackError
from triton_repo.zoo.camera_films import FPS, SIZES, Film, films, shoot, stills
from triton_repo.zoo.camera_paths import LABELS
from triton_repo.zoo.camera_scenes import Image, fit_scene


@dataclass(frozen=True)
class Answer:
    film: Film
    label: str
    score: float

    @property
    def right(self) -> bool:
        return self.label == self.film.label


def evaluate(client: Client, scenes: list[Image], per_label: int, seed: int, jobs: int) -> list[Answer]:
    """Every film's answer; raises what the client raises."""

    def ask(film: Film) -> Answer:
        result = client.classify(shoot(film, scenes, seed), model="camera_motion", top_k=1)
        return Answer(film, result.predictions[0].label, result.predictions[0].score)

    todo = films(per_label)
    with ThreadPoolExecutor(jobs) as pool:
        answers = track(pool.map(ask, todo), "filming, asking", len(todo), console=Console(stderr=True))
        return list(answers)


def top_1(answers: Iterable[Answer]) -> float:
    return float(np.mean([answer.right for answer in answers]))


def tables(answers: list[Answer]) -> Iterator[Table]:
    """Top-1 by label with what was said instead, then by frame rate and size."""
    by_label = Table("label", "films", "top-1", "said instead", title="camera_motion through the service")
    for label in LABELS:
        asked = [a for a in answers if a.film.label == label]
        wrong = Counter(a.label for a in asked if not a.right).most_common()
        said = ", ".join(f"{name} {times}" for name, times in wrong)
        by_label.add_row(label, str(len(asked)), f"{top_1(asked):.1%}", said)
    by_label.add_section()
    by_label.add_row("all", str(len(answers)), f"{top_1(answers):.1%}", "")
    yield by_label
    by_way = Table("file", "films", "top-1")
    for name, wanted in [(f"{fps} fps", fps) for fps in FPS] + [(f"{w}x{h}", (w, h)) for w, h in SIZES]:
        asked = [a for a in answers if wanted in (a.film.fps, a.film.size)]
        by_way.add_row(name, str(len(asked)), f"{top_1(asked):.1%}" if asked else "")
    yield by_way


def main() -> int:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--footage", type=Path, required=True, help="folder of videos to take frames from")
    parser.add_argument("--per-class", type=int, default=24, help="films of each label")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=4, help="films at a time")
    parser.add_argument("--bar", type=float, default=0.95, help="least top-1")
    arguments = parser.parse_args()
    scenes = [fit_scene(image) for video in sorted(arguments.footage.iterdir()) for image in stills(video)]
    if not scenes:
        print(f"evaluate: no video that can be decoded in {arguments.footage}", file=sys.stderr)
        return 2
    try:
        with Client(arguments.url) as client:
            answers = evaluate(client, scenes, arguments.per_class, arguments.seed, arguments.jobs)
    except (ClipstackError, ValueError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 2
    console = Console()
    for table in tables(answers):
        console.print(table)
    console.print(f"{len(scenes)} frames of real footage, seed {arguments.seed}, bar {arguments.bar:.0%}")
    return 0 if top_1(answers) >= arguments.bar else 1


if __name__ == "__main__":
    sys.exit(main())
