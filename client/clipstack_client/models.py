"""Answers of the service as frozen dataclasses."""

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
    """Properties of the uploaded file.

    Attributes:
        kind: `video` or `image`.
        container: Name of the container format.
        codec: Name of the codec.
        width: Width in pixels, upright.
        height: Height in pixels, upright.
        rotation: Clockwise turn in degrees that makes the picture upright.
        duration_s: Length in seconds; None for pictures and where the file does not say.
        fps: Frames per second; None for pictures and where the file does not say.
        frames: Number of frames; None for pictures and where the file does not say.
        bytes: Size of the upload.
        name: File name, empty where there was none.
        truncated: Whether the file is cut off, so that only its readable part was classified.
        mirrored: Whether the sides are swapped after the rotation.
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
    """Frames of one clip: their numbers, and their times in seconds from the start of the video.

    `padded` is true if the video ended before the clip, so that its last frame was repeated.
    """

    start_s: float
    end_s: float
    frames: tuple[int, ...]
    times_s: tuple[float, ...]
    padded: bool


@dataclass(frozen=True)
class Sent:
    """Description of what was sent in place of a file of `whole_bytes` bytes.

    `reduction` is `shrink` or `frames`. Making the smaller file took `prepare_s` seconds.
    """

    reduction: str
    bytes: int
    whole_bytes: int
    prepare_s: float


@dataclass(frozen=True)
class Result:
    """Answer to one upload.

    Attributes:
        request_id: Identifier of the request in the service's logs.
        model: Name of the model.
        model_version: Version of the model.
        transport: How the frames reached the model.
        predictions: Labels with scores, best first.
        media: Properties of the file itself, also if something else was sent.
        clips: Clips of the file itself, also if something else was sent.
        timing_ms: Milliseconds by stage, including `total`.
        warnings: Warnings of the service.
        cache: `hit` if the answer came from the service's result cache.
        sent: What was sent in place of the file; None if the file was sent unchanged.
        thumbnails: JPEG files; empty unless requested.
        answer: The complete answer, including fields unknown to this client.
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

    A video model takes `frames` frames, every `stride`-th one of a video at `fps` frames per second. `stride` and `fps`
    are None where they do not apply. `resize` is the short side of the scaled frame and `crop` the side of the square
    cut from it, in pixels.
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
    """Readiness of the service, with the service's message."""

    ready: bool
    message: str


def read_result(answer: Mapping[str, Any], cache: str | None = None) -> Result:
    """Parse an answer of `/v1/classify`; raise KeyError, TypeError or ValueError if it is invalid."""
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
    """Parse one entry of `/v1/models`; raise KeyError, TypeError or ValueError if it is invalid."""
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
    """Parse one prediction; raise KeyError, TypeError or ValueError if it is invalid."""
    return Prediction(str(answer["label"]), float(answer["score"]))


def read_media(answer: Mapping[str, Any]) -> Media:
    """Parse the field `media`; raise KeyError, TypeError or ValueError if it is invalid."""
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
    """Return the value converted by `kind`, or None if it is None."""
    return None if value is None else kind(value)


def _read_data_uri(uri: str) -> bytes:
    return base64.b64decode(uri.partition(",")[2], validate=True)
