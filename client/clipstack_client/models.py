"""Answers of the service as frozen dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from .notebook import data_frame, html_table

if TYPE_CHECKING:
    from pandas import DataFrame


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
        precision: Precision that the model calculates in, for example `bf16`; None where the service does not say.
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
        decision: Labels that pass their threshold, best first; empty if none does.
        embedding: Vector of length 1 that is close to those of similar files; empty unless requested.
    """

    request_id: str
    model: str
    model_version: str
    precision: str | None
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
    decision: tuple[str, ...] = ()
    embedding: tuple[float, ...] = field(default=(), repr=False)

    def to_pandas(self) -> DataFrame:
        """Return the predictions as a data frame with the columns `label` and `score`; needs pandas."""
        return data_frame(
            {
                "label": [prediction.label for prediction in self.predictions],
                "score": [prediction.score for prediction in self.predictions],
            }
        )

    def _repr_html_(self) -> str:
        caption = f"{self.media.name or 'unnamed file'}, by {self.model} {self.model_version}"
        rows = [(prediction.label, f"{prediction.score:.1%}") for prediction in self.predictions]
        return html_table(caption, ("label", "score"), rows)


@dataclass(frozen=True)
class Model:
    """A model that the service offers.

    A video model takes `frames` frames, every `stride`-th one of a video at `fps` frames per second. `stride` and `fps`
    are None where they do not apply. `resize` is the short side of the scaled frame and `crop` the side of the square
    cut from it, in pixels. `precision` is the one that the model calculates in, None where the service does not say.
    `default_for` are the kinds of files (`video`, `image`) that go to this model when the request names none. `scores`
    is `softmax` (they add up to 1) or `sigmoid` (each label for itself). `thresholds` has one for each label, or is
    empty. An embedding has `embedding_size` numbers; 0 if the model gives none.
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
    precision: str | None = None
    title: str = ""
    description: str = ""
    examples: tuple[str, ...] = ()
    default_for: tuple[str, ...] = ()
    scores: str = "softmax"
    thresholds: tuple[float, ...] = ()
    embedding_size: int = 0


@dataclass(frozen=True)
class Match:
    """A moment of a kept job that is similar to what was searched for.

    Attributes:
        job: Id of the job.
        name: File name of its video, empty where there was none.
        window: Number of the window, from 0.
        start_s: Time of its first frame in seconds.
        end_s: Time of its last frame in seconds.
        similarity: Cosine of the two embeddings, 1 for the same picture.
        label: Its best label; None where the service does not know it.
        score: Score of the label, 0 to 1.
    """

    job: str
    name: str
    window: int
    start_s: float
    end_s: float
    similarity: float
    label: str | None
    score: float


@dataclass(frozen=True)
class SearchResult:
    """Answer to a search.

    Attributes:
        model: Name of the model of the embeddings.
        model_version: Version of the model.
        matches: Moments, the most similar first.
        jobs: Number of jobs that were compared.
        windows: Number of windows that were compared.
        answer: The complete answer, including fields unknown to this client.
    """

    model: str
    model_version: str
    matches: tuple[Match, ...]
    jobs: int
    windows: int
    answer: Mapping[str, Any] = field(repr=False, compare=False)

    def to_pandas(self) -> DataFrame:
        """Return the matches as a data frame with a column for each of their fields; needs pandas."""
        names = [column.name for column in fields(Match)]
        return data_frame({name: [getattr(match, name) for match in self.matches] for name in names})


@dataclass(frozen=True)
class Health:
    """Readiness of the service, with the service's message."""

    ready: bool
    message: str
