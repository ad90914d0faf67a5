"""Choice of a network's layout on a GPU: measured once, then cached on disk.

The measurement takes most of a model's start. Its result depends on the GPU, the driver, torch, cuDNN, the weights and
this code, so it is kept under a digest of all of them. Models that start together measure one after the other.
"""

import fcntl
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from .accuracy import BF16_BOUND
from .interface import first_line
from .torch_batches import Batches, Run, fastest
from .torch_program import Layout

CACHE_VARIABLE = "CLIPSTACK_GPU_CACHE"  # folder of the cache; deploy/stack/launch.py sets it
LOCK_FILE = "recording.lock"
LOCK_TIMEOUT_S = 120.0
LOCK_POLL_S = 0.001  # so often that the watchdog does not take a load that waits for one that is stuck
CHOICE_LIMIT_S = 40.0  # no further layout is tried after this time
DRIVER = Path("/proc/driver/nvidia/version")


class Choice(NamedTuple):
    """The fastest layout, its recorded batches, and the seconds that each layout took."""

    layout: str
    batches: Batches
    seconds: dict[str, float]


def choose(
    layouts: Sequence[Layout],
    make: Callable[[Layout], Batches],
    clock: Callable[[Run], float],
    clips: Tensor,
    now: Callable[[], float] = time.monotonic,
    classes: int | None = None,
) -> Choice:
    """Record and time the layouts and return the fastest one, of those that give the scores of the first one.

    Args:
        layouts: Names, the default first.
        make: Makes the batches of a layout.
        clock: Returns the seconds of a run.
        clips: Clips uint8 (b, *clip_shape), whose scores are compared.
        now: Seconds that never go back.
        classes: Number of scores in a row, before features; None for all.

    Raises:
        RuntimeError: The GPU's libraries support none of them.
    """
    recorded: dict[str, Batches] = {}
    expected: Tensor | None = None
    began = now()
    for layout in layouts:
        if recorded and now() - began > CHOICE_LIMIT_S:
            print(f"torch: layout {layout} is not tried: {CHOICE_LIMIT_S:g} s are over", file=sys.stderr, flush=True)
            continue
        try:
            batches = make(layout)
            batches.prepare_ends()
            scores = batches([clips])[:, :classes]
            expected = scores if expected is None else expected
            difference = float((scores - expected).abs().max())
            if not difference <= BF16_BOUND.largest:  # NaN is not
                raise RuntimeError(f"its scores differ by {difference:.2g}")
            recorded[layout] = batches
        except RuntimeError as error:
            if layout == layouts[-1] and not recorded:
                raise
            print(f"torch: no layout {layout} here: {first_line(error)}", file=sys.stderr, flush=True)
    seconds: dict[str, float] = {layout: batches.timed(clock) for layout, batches in recorded.items()}
    best = fastest(seconds)
    return Choice(best, recorded[best], seconds)


class LayoutCache:
    """Cached choice for one model version on one GPU.

    Args:
        folder: Folder of the cache; None for no cache.
        key: Everything that the choice depends on.
    """

    def __init__(self, folder: Path | None, key: Mapping[str, str]) -> None:
        self._key = dict(key)
        digest = hashlib.sha256(json.dumps(self._key, sort_keys=True).encode()).hexdigest()
        self._path = folder / f"layout-{digest[:32]}.json" if folder else None

    def read(self) -> str | None:
        """Return the cached layout; None if there is none, or its file is damaged."""
        try:
            content = json.loads(self._path.read_text(encoding="utf-8")) if self._path else {}
            return str(content["layout"]) if content["key"] == self._key else None
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def write(self, choice: Choice) -> None:
        """Cache a choice, atomically; print why when the folder cannot be written."""
        if self._path is None:
            return
        content = {"layout": choice.layout, "seconds": choice.seconds, "key": self._key}
        try:
            with tempfile.NamedTemporaryFile("w", dir=self._path.parent, delete=False, encoding="utf-8") as file:
                json.dump(content, file, indent=1)
            os.replace(file.name, self._path)
        except OSError as error:
            print(f"torch: the layout is not cached: {error}", file=sys.stderr, flush=True)


def cache_folder() -> Path | None:
    """Return the folder of the cache; None outside the stack."""
    folder = os.environ.get(CACHE_VARIABLE)
    return Path(folder) if folder and Path(folder).is_dir() else None


def cache_key(weights: Path, device: torch.device, precision: str, max_batch: int) -> dict[str, str]:
    """Return everything that the choice for the model file `weights` depends on."""
    code = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*")):
        if path.suffix in (".py", ".cu"):
            code.update(path.name.encode() + b"\0" + path.read_bytes())
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "driver": DRIVER.read_text().splitlines()[0] if DRIVER.exists() else "",
        "torch": torch.__version__,
        "cudnn": str(torch.backends.cudnn.version()),
        "weights": digest,
        "precision": precision,
        "batch": str(max_batch),
        "code": code.hexdigest(),
    }


@contextmanager
def recording(folder: Path | None, alone: bool) -> Iterator[None]:
    """Hold the lock on recordings: a measurement holds it alone, other recordings share it.

    After LOCK_TIMEOUT_S the recording begins without the lock. The lock ends with the process.
    """
    if folder is None:
        yield
        return
    descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _locked(descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH):
            print(f"torch: recorded beside other models after {LOCK_TIMEOUT_S:g} s", file=sys.stderr, flush=True)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int, kind: int) -> bool:
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(LOCK_POLL_S)
