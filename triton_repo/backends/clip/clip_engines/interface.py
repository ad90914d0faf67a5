"""Interface that every engine implements, its error, and helper functions that engines share."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

EXPORT = "bench NAME --apply"  # command of clipstack-models that makes missing files

Clips = NDArray[np.uint8]
Scores = NDArray[np.float32]
Rows = NDArray[np.float32]  # of each clip: its scores, then its features


class EngineError(Exception):
    """The engine cannot run on this machine, cannot load these files or parameters, or failed on these clips."""


Done = Callable[[Rows | EngineError], None]


class Engine(Protocol):
    """One loaded model version.

    Attributes:
        clip_shape: Shape of a clip, without the batch axis.
        classes: Number of scores of a clip.
        features: Number of features of a clip, the input of the last layer; 0 if the engine does not give them.
        precision: Precision that it calculates in.
    """

    clip_shape: tuple[int, ...]
    classes: int
    features: int
    precision: str

    def __init__(self, folder: Path, parameters: Mapping[str, str], max_batch: int) -> None:
        """Load the version in `folder`.

        Args:
            folder: The version's folder.
            parameters: Parameters of the model's `config.pbtxt`.
            max_batch: Largest number of clips that the server passes at once.

        Raises:
            EngineError: A file is missing or damaged, or this machine does not support a parameter's value.
        """

    @staticmethod
    def precisions(device: str | None = None) -> tuple[str, ...]:
        """Return the precisions that this machine supports, float32 first; raise EngineError if there are none."""

    @staticmethod
    def file(precision: str) -> str:
        """Return the name of the file, in a version's folder, that this precision is loaded from."""

    def warm_up(self) -> None:
        """Run once, so that the first request does not wait for preparations."""

    def infer(self, clips: Clips) -> Scores:
        """Return probabilities float32 (B, classes) for clips uint8 (B, *clip_shape), for any B >= 1.

        The clips are not modified.
        """

    def infer_rows(self, clips: Clips) -> Rows:
        """Return scores and features float32 (B, classes + features) for clips uint8 (B, *clip_shape)."""


@runtime_checkable
class DlpackEngine(Engine, Protocol):
    """Engine that reads clips in place, on the host or on a GPU, without copying them first."""

    def infer_dlpack(self, capsules: Sequence[Any]) -> Rows:
        """Infer like `infer_rows`, for DLPack capsules of uint8 (b, *clip_shape); each capsule is consumed."""

    def tensor_at(self, device: int, address: int) -> Any:
        """Return the clip uint8 (1, *clip_shape) at an address of the GPU `device`, for `infer_dlpack`, without a copy.

        An engine on the CPU takes an address of the host.
        """


@runtime_checkable
class StreamingEngine(Engine, Protocol):
    """Engine that answers each request as soon as its own clips are done and then starts the next one."""

    def submit(self, requests: Sequence[tuple[Clips, Done]], with_features: bool = False) -> None:
        """Start all requests and call each request's `Done` once, with its rows or its error.

        Rows may have scores alone unless `with_features`.

        Any thread may call `Done`. The method returns when all requests are started; some may be done by then. Callers
        keep the clips unchanged until `Done` is called. Only one thread at a time may call `submit`, `infer` and
        `drain`.
        """

    def drain(self) -> None:
        """Wait until all requests are done and no engine thread runs Python code, so that the process may exit."""


def chosen(name: str, parameters: Mapping[str, str], known: Sequence[str]) -> str:
    """Return the value of a parameter, by default the first known value; raise EngineError for an unknown value."""
    value = parameters.get(name, known[0])
    if value not in known:
        raise EngineError(f"{name} is {value!r}, known are {', '.join(known)}")
    return value


def offered(precision: str, device: str, precisions: Sequence[str]) -> None:
    """Raise EngineError if this machine's device does not support the precision."""
    if precision not in precisions:
        raise EngineError(
            f"precision is {precision}, and the {device} of this machine has {', '.join(precisions)} only"
        )


def existing(folder: Path, name: str, command: str = EXPORT) -> Path:
    """Return the path of a version's file; raise EngineError if it is missing, with the `command` that makes it."""
    path = folder / name
    if not path.is_file():
        raise EngineError(f"{path} is missing: export the model first (`clipstack-models {command}`)")
    return path


def first_line(error: Exception) -> str:
    """Return the first line of a library's error message, without the details of its source code."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
