"""Compare every engine of this machine with the source framework, and print a Markdown table.

    .venv/bin/python -m tests.support.parity                      all X3D and ResNet sizes, and camera_motion
    .venv/bin/python -m tests.support.parity --clips 500 x3d_xs   more clips of one

The published sizes get checkpoints in exactly the published layout, with random weights, which are added with
`--from-file` and looked at in clips of the published size. camera_motion has trained weights, and more clips. Exit code
1 when an engine differs: in f32, or for camera_motion in any precision.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from app.settings import CHECKOUT
from tests.support.checkpoints import official
from triton_repo.backends.clip.clip_engines.accuracy import random_clips
from triton_repo.zoo import ModelError
from triton_repo.zoo.architectures.camera_motion import FPS, FRAMES, SIZE, STRIDE
from triton_repo.zoo.architectures.catalog import published
from triton_repo.zoo.benchmark import engines
from triton_repo.zoo.benchmark.accuracy import AccuracyRow, ClipSet, compare
from triton_repo.zoo.benchmark.engines import Variant
from triton_repo.zoo.cli.main import main as clipstack_models
from triton_repo.zoo.cli.tables import clip_summary
from triton_repo.zoo.export.reference import origin
from triton_repo.zoo.names import BUILT_IN, CAMERA_MOVEMENTS, RESNETS, X3D
from triton_repo.zoo.repository.store import InstalledModel, installed
from triton_repo.zoo.spec import ClipSpec
from triton_repo.zoo.training.camera_motion.paths import random_path
from triton_repo.zoo.training.camera_motion.render import random_view
from triton_repo.zoo.training.camera_motion.scenes import HELD_OUT_PHOTOGRAPHS, photograph

COLUMNS = (
    "model", "clip", "engine", "precision", "clips", "largest difference", "same top-1", "near-ties", "without", "",
)  # fmt: skip
LEAST_SPREAD = 0.05  # between a label's probabilities over all clips


def add(
    name: str, folder: Path, checkpoint: Callable[[Path, str, ClipSpec], Path] = official, spec: ClipSpec | None = None
) -> InstalledModel:
    """Add a published network with the weights that `checkpoint` writes for clips of that kind."""
    file = checkpoint(folder, name, spec or published(name).spec)
    clip = ["--size", spec.crop, *(["--frames", spec.frames] if spec.kind == "video" else [])] if spec else []
    words = ["add", name, "--from-file", file, *clip, "--models", folder / "models"]
    result = CliRunner().invoke(clipstack_models, [str(word) for word in words])
    if result.exit_code:
        raise ModelError(result.output)
    return installed(folder / "models", name)


def patches(model: InstalledModel, count: int) -> ClipSet:
    shape = tuple(int(size) for size in model.config["input"][0]["dims"])
    return ClipSet("random", random_clips(shape, count, seed=0))


def films(count: int) -> ClipSet:
    """Return films for camera_motion: photographs outside its training data, all movements equally often."""
    rng, times_s = np.random.default_rng(0), np.arange(FRAMES) * STRIDE / FPS
    scenes = [photograph(name) for name in HELD_OUT_PHOTOGRAPHS]
    paths = [random_path(CAMERA_MOVEMENTS[number % len(CAMERA_MOVEMENTS)], times_s, rng) for number in range(count)]
    return ClipSet("filmed", [random_view(scenes, rng).film(path, SIZE, SIZE)[None] for path in paths])


def rows(model: InstalledModel, clips: ClipSet, wanted: list[Variant]) -> Iterator[AccuracyRow]:
    """Yield the rows of one engine after the other, so that partial results are kept."""
    source = origin(model)
    answers = [source.network(clip) for clip in clips.clips]
    if np.ptp(answers, axis=0).max() < LEAST_SPREAD:
        raise ModelError(f"{model.name} says the same of all clips: a comparison would mean nothing.")
    with engines.workshop(model) as version:
        for variant in wanted:
            try:
                engine = engines.load(model, variant, source, version)
            except ModelError as error:
                print(error, file=sys.stderr)
                continue
            known = iter(answers)
            yield from compare({variant: engine}, lambda _, known=known: next(known), [clips], tick)


def tick() -> None:
    print(".", end="", file=sys.stderr, flush=True)


def judged(row: AccuracyRow) -> bool:
    """Return whether the row is judged: not bf16 of random weights, whose scores differ as little as rounding."""
    return row.precision == "f32" or row.kind == "filmed"


def line(model: InstalledModel, row: AccuracyRow) -> str:
    verdict = ("good" if row.good else "**differs**") if judged(row) else "not judged"
    numbers = (
        f"{row.clips} {row.kind}",
        f"{row.largest:.1e}",
        f"{row.same:.1%}",
        str(row.ties),
        f"{row.top_1:.1%}",
    )
    return (
        f"| {' | '.join((model.name, clip_summary(model.parameters), row.engine, row.precision, *numbers, verdict))} |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", default=[BUILT_IN, *X3D, *RESNETS])
    parser.add_argument("--clips", type=int, default=4, help="of the published networks")
    parser.add_argument("--trained-clips", type=int, default=500, help="of camera_motion")
    parser.add_argument("--precision", choices=["f32", "bf16", "f16"], action="append", help="only this one")
    arguments = parser.parse_args()
    can, cannot = engines.of_this_machine()
    can = [variant for variant in can if variant.precision in (arguments.precision or variant.precision)]
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    good = True
    with tempfile.TemporaryDirectory(prefix="clipstack-parity-") as name:
        for wanted in arguments.names:
            if wanted == BUILT_IN:
                model, clips = installed(CHECKOUT / "triton_repo" / "models", wanted), films(arguments.trained_clips)
            else:
                model = add(wanted, Path(name))
                clips = patches(model, arguments.clips)
            for row in rows(model, clips, can):
                print(line(model, row), flush=True)
                good &= row.good or not judged(row)
    for engine, reason in cannot.items():
        print(f"not here: {engine}: {reason}", file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
