"""Compare the torch engine in bf16 with the source framework in f32, on networks fitted to generated scenes.

    .venv/bin/python -m tests.nightly.zoo.rounding                              500 clips of every X3D and ResNet size: hours
    .venv/bin/python -m tests.nightly.zoo.rounding --clips 100 --real 5 x3d_m   fewer of one

The checkpoints are those of tests/nightly/zoo/classifiers.py, added with `--from-file`; the clips are none that they were made by.
Every answer is kept in --folder at once, so that the next run goes on where this one was stopped.

On a processor without bfloat16 torch's convolutions in bf16 take ten to twenty times as long as in f32. `--real` says
how many clips are looked at so; all are with `Accumulating`, the same engine with its sums as accelerators make them.
Both are compared on the same clips.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils._python_dispatch import TorchDispatchMode

from app.settings import CHECKOUT
from tests.nightly.zoo.classifiers import HELD_OUT, LABELS, classifier, filmed_clip, label_of
from tests.support.parity import add
from triton_repo.zoo.architectures.catalog import published
from triton_repo.zoo.benchmark import engines
from triton_repo.zoo.benchmark.accuracy import row
from triton_repo.zoo.benchmark.engines import Variant
from triton_repo.zoo.cli.tables import clip_summary
from triton_repo.zoo.export.reference import Clips, Network, Scores, origin
from triton_repo.zoo.names import RESNETS, X3D
from triton_repo.zoo.repository.store import InstalledModel, installed
from triton_repo.zoo.spec import ClipSpec

BF16 = Variant("torch", "bf16")
COLUMNS = (
    "model", "clip", "bf16", "clips", "f32 right", "bf16 right", "largest difference", "same top-1", "near-ties",
    "without", "",
)  # fmt: skip
F32, ACCUMULATED, REAL = "f32", "accumulated", "real"
Answered = dict[str, Scores]
aten = torch.ops.aten
SUMS = (aten.conv2d.default, aten.conv3d.default, aten.convolution.default, aten.linear.default, aten.addmm.default)


class Accumulating(TorchDispatchMode):
    """Convolutions and products of bf16 numbers summed in float32 and then rounded to bf16, as tensor cores and AVX-512
    do it; in here that is fast. All else is torch's own."""

    def __torch_dispatch__(
        self, operation: Any, types: Any, given: tuple[Any, ...] = (), more: dict[str, Any] | None = None
    ) -> Any:
        if operation in SUMS and given[0].dtype == torch.bfloat16:
            exact = [value.float() if isinstance(value, torch.Tensor) else value for value in given]
            return operation(*exact, **(more or {})).bfloat16()
        return operation(*given, **(more or {}))


class Held(NamedTuple):
    """Clips that no network was fitted to, and the number of classes."""

    spec: ClipSpec
    classes: int
    labels: int = LABELS


@dataclass(frozen=True)
class Answers:
    """Scores of clips 0, 1, ..., float32 (N, classes), in a file that grows clip by clip."""

    path: Path
    classes: int

    def read(self) -> Scores:
        known = np.fromfile(self.path, np.float32) if self.path.exists() else np.empty(0, np.float32)
        whole = len(known) // self.classes
        return known[: whole * self.classes].reshape(whole, self.classes)

    def write(self, number: int, scores: Scores) -> None:
        """Write a clip's scores, over those of a stopped run."""
        with self.path.open("r+b" if self.path.exists() else "wb") as file:
            file.seek(number * self.classes * scores.itemsize)
            file.write(scores.tobytes())


def made(name: str, folder: Path) -> InstalledModel:
    """Return the model in the folder; fit and add it if it is missing."""
    if not (folder / "models" / name).exists():
        add(name, folder, classifier)
    return installed(folder / "models", name)


def answered(ways: Mapping[str, Network], wanted: Mapping[str, int], name: str, folder: Path, held: Held) -> Answered:
    """Return the scores of each of `ways` for its `wanted` first clips; scores in the folder are reused."""
    answers = {way: Answers(folder / f"{name}.{way}", held.classes) for way in ways}
    there = {way: len(answers[way].read()) for way in ways}
    for number in range(max(wanted.values())):
        todo = [way for way in ways if there[way] <= number < wanted[way]]
        if todo:
            clip = filmed_clip(HELD_OUT, number, held.spec, held.labels)
            for way in todo:
                answers[way].write(number, ways[way](clip.frames))
            print(".", end="", file=sys.stderr, flush=True)
    return {way: answers[way].read()[: wanted[way]] for way in ways}


def looked_at(model: InstalledModel, folder: Path, held: Held, count: int, real: int) -> Answered:
    """Return the scores of `count` clips in F32 and ACCUMULATED, and of the first `real` ones in REAL."""
    source = origin(model)
    with engines.workshop(model) as version:
        engine = engines.load(model, BF16, source, version)

    def accumulated(clip: Clips) -> Scores:
        with Accumulating():
            return engine.infer(clip)

    ways = {F32: source.network, ACCUMULATED: accumulated, REAL: engine.infer}
    return answered(ways, {F32: count, ACCUMULATED: count, REAL: min(real, count)}, model.name, folder, held)


def line(model: InstalledModel, way: str, scores: Scores, right: Scores, truth: NDArray[np.int64]) -> tuple[str, bool]:
    """Return a row of the table, and whether it passes the rule of `verify`."""
    given = row(BF16, "filmed", scores, right)
    knows = [f"{(item.argmax(axis=1) == truth).mean():.1%}" for item in (right, scores)]
    compared = (f"{given.largest:.1e}", f"{given.same:.1%}", str(given.ties), f"{given.top_1:.1%}")
    numbers = (str(given.clips), *knows, *compared)
    verdict = "good" if given.good else "**differs**"
    return f"| {' | '.join((model.name, clip_summary(model.parameters), way, *numbers, verdict))} |", given.good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", default=[*RESNETS, *X3D])
    parser.add_argument("--clips", type=int, default=500)
    parser.add_argument("--real", type=int, default=20, help="of them as torch calculates them on this processor")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=CHECKOUT / ".runtime" / "rounding", help="of what is kept")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    good = True
    for name in arguments.names:
        model = made(name, arguments.folder)
        held = Held(published(name).spec, len(model.labels))
        scores = looked_at(model, arguments.folder, held, arguments.clips, arguments.real)
        truth = np.array([label_of(HELD_OUT, number) for number in range(arguments.clips)])
        for way in (ACCUMULATED, REAL):
            count = len(scores[way])
            text, fine = line(model, way, scores[way], scores[F32][:count], truth[:count])
            print(text, flush=True)
            good &= fine
        both = row(BF16, "filmed", scores[ACCUMULATED][: len(scores[REAL])], scores[REAL])
        print(f"{name}: {ACCUMULATED} and {REAL} are {both.largest:.1e} apart, {both.same:.1%} same", file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
