"""Measures the timelines of `camera_motion` through the whole service: films of known moves, jobs, HTTP.

    .venv/bin/python -m triton_repo.zoo.training.camera_motion.evaluate_timeline --url http://127.0.0.1:8080 --footage VIDEOS

Still frames of the videos in --footage are filmed by a camera of known path, one move after the other, with and without
a cut between them (triton_repo/zoo/training/camera_motion/timelines.py). Prints how much of the time has the right label, how far from
each true change the nearest reported one is, and how many are reported where there is none; exits 1 below the bars. Same
seed and footage, same films.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table

from clipstack_client import Client, Segment
from triton_repo.zoo.training.camera_motion.render import footage_scenes
from triton_repo.zoo.training.camera_motion.timelines import Move, record_moves
from triton_repo.zoo.training.evaluate import evaluation_parser, exit_code

FORMATS = ((24, (320, 240)), (30, (640, 360)), (60, (360, 640)))  # frames a second, size
TOLERANCE_S = 0.5  # a reported change within this distance of a true one is correct
STEP_S = 0.01


@dataclass(frozen=True)
class Comparison:
    """One timeline compared with the truth.

    Attributes:
        right_s: Seconds with the right label.
        total_s: Seconds in all.
        distances_s: Distance in seconds of each true change to the nearest reported one.
        spurious: Number of reported changes that are near no true one.
    """

    right_s: float
    total_s: float
    distances_s: tuple[float, ...]
    spurious: int


def compare(moves: Sequence[Move], segments: Sequence[Segment]) -> Comparison:
    """Compare `segments`, in order and without gaps, with the true moves."""
    times = np.arange(0.0, moves[-1].end_s, STEP_S) + STEP_S / 2
    true, reported = np.array([move.start_s for move in moves]), np.array([segment.start_s for segment in segments])
    labels = np.array([segment.label for segment in segments])[_part_index(reported, times)]
    right = labels == np.array([move.label for move in moves])[_part_index(true, times)]
    return Comparison(
        right_s=float(right.sum() * STEP_S),
        total_s=len(times) * STEP_S,
        distances_s=tuple(_nearest(true[1:], reported[1:]).tolist()),
        spurious=int((_nearest(reported[1:], true[1:]) > TOLERANCE_S).sum()),
    )


def _part_index(starts: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the index of the part that each time lies in; each part lasts until the next starts."""
    return np.maximum(np.searchsorted(starts, times, side="right") - 1, 0)


def _nearest(times: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance of each of `times` to the nearest of `others`, or infinity if there is none."""
    if not len(others):
        return np.full(len(times), np.inf)
    distances: NDArray[np.float64] = np.abs(times[:, None] - others[None]).min(axis=1)
    return distances


def table(rows: Sequence[tuple[str, Comparison]]) -> Table:
    """Return a table with one row for each film, and their total."""
    film = Column("film", no_wrap=True)
    result = Table(
        film, "seconds", "right", "changes", f"in {TOLERANCE_S} s", "farthest", "spurious", title="Timelines"
    )
    total = Comparison(
        right_s=sum(row.right_s for _, row in rows),
        total_s=sum(row.total_s for _, row in rows),
        distances_s=tuple(distance for _, row in rows for distance in row.distances_s),
        spurious=sum(row.spurious for _, row in rows),
    )
    for name, row in [*rows, ("all", total)]:
        near = sum(distance <= TOLERANCE_S for distance in row.distances_s)
        largest_distance = f"{max(row.distances_s, default=0.0):.2f} s"
        share, changes = f"{row.right_s / row.total_s:.1%}", str(len(row.distances_s))
        result.add_row(name, f"{row.total_s:.1f}", share, changes, str(near), largest_distance, str(row.spurious))
    return result


def evaluate(client: Client, arguments: argparse.Namespace) -> bool:
    """Print the comparison of each film and return whether all bars are reached; raise ValueError without footage."""
    scenes, rows = footage_scenes(arguments.footage), []
    for number in track(range(arguments.films), "encoding, classifying", console=Console(stderr=True)):
        fps, size = FORMATS[number % len(FORMATS)]
        film, moves = record_moves(scenes, arguments.moves, fps, size, np.random.default_rng((arguments.seed, number)))
        timeline = client.timeline(film, model="camera_motion", hop_s=arguments.hop).timeline
        assert timeline is not None, "a finished job has a timeline"
        rows.append((f"{fps} fps {size[0]}x{size[1]}", compare(moves, timeline.segments)))
    Console().print(table(rows))
    print(f"{len(scenes)} frames of real footage, seed {arguments.seed}, bars {arguments.bar:.0%} and {TOLERANCE_S} s")
    right, total = (sum(getattr(row, name) for _, row in rows) for name in ("right_s", "total_s"))
    near = all(distance <= TOLERANCE_S for _, row in rows for distance in row.distances_s)
    return right >= arguments.bar * total and near


def main() -> int:
    """Run the evaluation and return the exit code: 0 passed, 1 below the bars, 2 failed."""
    parser = evaluation_parser(__doc__, "lowest share of the time with the right label that passes")
    parser.add_argument("--films", type=int, default=6)
    parser.add_argument("--moves", type=int, default=14, help="moves per film, 2 to 5 seconds each")
    parser.add_argument("--hop", type=float, default=None, help="hop in seconds; the service's default if left out")
    return exit_code(evaluate, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
