"""The service's answers as frozen dataclasses."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Prediction:
    """One label and its score, 0 to 1, averaged over the clips."""

    label: str
    score: float


@dataclass(frozen=True)
class Media:
    """What the service found in the upload; `width` and `height` in pixels, upright.

    `rotation` is the turn in degrees that made it so, after which a `mirrored` picture's sides were swapped.
    `duration_s`, `fps` and `frames` are None where the file does not say, and for pictures. `bytes` is the length of
    the upload, `name` empty where there was none. `truncated` says that the file is cut off, and that only its
    readable part was looked at.
    """

    kind: str
    container: str
    codec: str
    width: int
    height: int
    rotation: int
    duration_s: float | None
    fps: float | None
    frames: int | None
    bytes: int
    name: str
    truncated: bool
    mirrored: bool = False


@dataclass(frozen=True)
class Clip:
    """The frames of one clip: their numbers, and their times in seconds from the start of the video.

    `padded` says that the video ended before the clip did, so that its last frame was repeated.
    """

    start_s: float
    end_s: float
    frames: tuple[int, ...]
    times_s: tuple[float, ...]
    padded: bool


@dataclass(frozen=True)
class Sent:
    """What was sent in place of a file of `whole_bytes`: `reduction` is `shrink` or `frames`; it took `prepare_s`."""

    reduction: str
    bytes: int
    whole_bytes: int
    prepare_s: float


@dataclass(frozen=True)
class Result:
    """The answer to one upload.

    `predictions` come best first. `timing_ms` holds milliseconds by stage, `total` among them. `transport`
    says how the frames reached the model. `thumbnails` are JPEG files, empty unless asked for. `cache` says
    `hit` where the service had the answer in its store already. `sent` says what was sent in place of the
    file, None when it was sent as it is; `media` and `clips` are always those of the file itself. `answer` is the
    whole answer, for fields that this client does not know yet.
    """

    request_id: str
    model: str
    model_version: str
    transport: str
    predictions: tuple[Prediction, ...]
    media: Media
    clips: tuple[Clip, ...]
    timing_ms: Mapping[str, float]
    warnings: tuple[str, ...]
    cache: str | None
    sent: Sent | None
    thumbnails: tuple[bytes, ...] = field(repr=False)
    answer: Mapping[str, Any] = field(repr=False, compare=False)


@dataclass(frozen=True)
class Model:
    """A model that the service offers.

    A video model sees `frames` frames, every `stride`-th of a video at `fps` frames a second; both are None
    where they mean nothing. `resize` is the short side and `crop` the side of the square it sees, in pixels.
    """

    name: str
    version: str
    kind: str
    labels: tuple[str, ...]
    frames: int
    stride: int | None
    fps: float | None
    resize: int
    crop: int
    default: bool


@dataclass(frozen=True)
class Health:
    """Whether the service would take a request now, and its own words for it."""

    ready: bool
    message: str


def read_result(answer: Mapping[str, Any], cache: str | None = None) -> Result:
    """Read the answer of `/v1/classify`; KeyError, TypeError or ValueError when it is not one."""
    sent = answer.get("sent")
    return Result(
        request_id=str(answer["request_id"]),
        model=str(answer["model"]),
        model_version=str(answer["model_version"]),
        transport=str(answer["transport"]),
        predictions=tuple(read_prediction(prediction) for prediction in answer["predictions"]),
        media=read_media(answer["media"]),
        clips=tuple(_read_clip(clip) for clip in answer["clips"]),
        timing_ms={str(stage): float(ms) for stage, ms in answer["timing_ms"].items()},
        warnings=tuple(str(warning) for warning in answer.get("warnings", ())),
        cache=cache,
        sent=None if sent is None else Sent(**sent),
        thumbnails=tuple(_read_data_uri(uri) for uri in answer.get("thumbnails", ())),
        answer=answer,
    )


def read_model(answer: Mapping[str, Any]) -> Model:
    """Read one entry of `/v1/models`; KeyError, TypeError or ValueError when it is not one."""
    return Model(
        name=str(answer["name"]),
        version=str(answer["version"]),
        kind=str(answer["kind"]),
        labels=tuple(str(label) for label in answer["labels"]),
        frames=int(answer["frames"]),
        stride=optional(int, answer.get("stride")),
        fps=optional(float, answer.get("fps")),
        resize=int(answer["resize"]),
        crop=int(answer["crop"]),
        default=bool(answer.get("default", False)),
    )


def read_prediction(answer: Mapping[str, Any]) -> Prediction:
    return Prediction(str(answer["label"]), float(answer["score"]))


def read_media(answer: Mapping[str, Any]) -> Media:
    return Media(
        kind=str(answer["kind"]),
        container=str(answer["container"]),
        codec=str(answer["codec"]),
        width=int(answer["width"]),
        height=int(answer["height"]),
        rotation=int(answer.get("rotation") or 0),
        duration_s=optional(float, answer.get("duration_s")),
        fps=optional(float, answer.get("fps")),
        frames=optional(int, answer.get("frames")),
        bytes=int(answer["bytes"]),
        name=str(answer.get("name") or ""),
        truncated=bool(answer.get("truncated", False)),
        mirrored=bool(answer.get("mirrored", False)),
    )


def _read_clip(answer: Mapping[str, Any]) -> Clip:
    return Clip(
        start_s=float(answer["start_s"]),
        end_s=float(answer["end_s"]),
        frames=tuple(int(frame) for frame in answer["frames"]),
        times_s=tuple(float(time) for time in answer["times_s"]),
        padded=bool(answer["padded"]),
    )


def optional(kind: Callable[[Any], T], value: Any) -> T | None:
    """The value as `kind`, or None where there is none."""
    return None if value is None else kind(value)


def _read_data_uri(uri: str) -> bytes:
    return base64.b64decode(uri.partition(",")[2], validate=True)
