"""What every engine offers the backend, the error it raises, and the few lines that all of them need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Clips = NDArray[np.uint8]
Scores = NDArray[np.float32]


class EngineError(Exception):
    """The engine cannot run here, or not with these files and parameters; or it could not with these clips."""


Done = Callable[[Scores | EngineError], None]


class Engine(Protocol):
    """One loaded model version. `clip_shape` is without the batch, `classes` the number of scores of a clip."""

    clip_shape: tuple[int, ...]
    classes: int

    def __init__(self, folder: Path, parameters: Mapping[str, str], max_batch: int) -> None:
        """Loads the version in `folder`; `max_batch` is the most clips that the server hands over at once.

        EngineError when a file is missing or damaged, or a parameter is not to be had on this machine.
        """

    @staticmethod
    def precisions(device: str | None = None) -> tuple[str, ...]:
        """What `precision` may be on this machine, float32 first; EngineError says why the engine cannot run here."""

    @staticmethod
    def file(precision: str) -> str:
        """Name of the file in a version's folder that this precision is loaded from."""

    def warm_up(self) -> None:
        """Prepares what the first request would otherwise wait for."""

    def infer(self, clips: Clips) -> Scores:
        """uint8 (B, *clip_shape) -> probabilities float32 (B, classes), for any B from 1 up; clips are not altered."""


@runtime_checkable
class DlpackEngine(Engine, Protocol):
    """An engine that takes clips where they are, on the host or on a GPU, without a copy between."""

    def infer_dlpack(self, capsules: Sequence[Any]) -> Scores:
        """As `infer`, for DLPack capsules of uint8 (b, *clip_shape), which are used up."""


@runtime_checkable
class StreamingEngine(Engine, Protocol):
    """An engine that may be done with one request before others that came with it, and begins with the next then."""

    def submit(self, requests: Sequence[tuple[Clips, Done]]) -> None:
        """As `infer` for each request, whose `Done` is called once, by any thread, with its scores or what went wrong.

        Returns when all are begun, which may be before and after they are done. Clips stay as they are until they are.
        By one thread at a time, which calls `infer` and `drain` as well.
        """

    def drain(self) -> None:
        """Returns when all are done and no thread of the engine's is in Python any more: a process may end then."""


def chosen(name: str, parameters: Mapping[str, str], known: Sequence[str]) -> str:
    """The value of a parameter, by default the first that is known; EngineError for one that is not."""
    value = parameters.get(name, known[0])
    if value not in known:
        raise EngineError(f"{name} is {value!r}, known are {', '.join(known)}")
    return value


def offered(precision: str, device: str, precisions: Sequence[str]) -> None:
    """EngineError when this machine's device does not calculate in that precision."""
    if precision not in precisions:
        raise EngineError(
            f"precision is {precision}, and the {device} of this machine has {', '.join(precisions)} only"
        )


def existing(folder: Path, name: str) -> Path:
    """The file of a version; EngineError when it was never made."""
    path = folder / name
    if not path.is_file():
        raise EngineError(f"{path} is missing: export the model first (`clipstack-models bench NAME --apply`)")
    return path


def first_line(error: Exception) -> str:
    """What a library says went wrong, without the paragraphs about its own source code."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]


__all__ = [
    "Clips",
    "DlpackEngine",
    "Done",
    "Engine",
    "EngineError",
    "Scores",
    "StreamingEngine",
    "chosen",
    "existing",
    "first_line",
    "offered",
]
