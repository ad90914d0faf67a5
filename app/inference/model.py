"""Model: its description in Triton's configuration, the digest of what determines its results, and its best labels."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, TypedDict, cast

import numpy as np
from numpy.typing import NDArray

from app.errors import InvalidParameter
from app.inference.client import OUTPUT, Fingerprint, ProbeResult
from app.inference.decision import SCORE_KINDS, DecisionRule, ScoreKind, Selection, decision_rule
from app.media.formats import Kind
from app.software import software_digest

_cached_rule = lru_cache(maxsize=64)(decision_rule)  # most requests ask the same model in the same way
SMALLEST_LENGTH = 1e-12  # of features whose direction is meaningful; shorter ones give an embedding of zeros


@dataclass(frozen=True, slots=True)
class Model:
    """Description of a model version; `resize` and `crop` are in pixels, `stride` is in frames at `fps`.

    `precision` is the one that it calculates in; None for a model of another backend. `scores` says whether they are
    those of a softmax, which add up to 1, or of independent sigmoids. `thresholds` has one for each label, or is empty.
    """

    name: str
    version: str
    kind: Kind
    frames: int
    stride: int
    fps: float
    resize: int
    crop: int
    architecture: str
    labels: tuple[str, ...]
    precision: str | None = None
    embedding_size: int = 0  # numbers of an embedding; 0 if the model gives none
    weights: str = ""  # digest of the weights
    title: str = ""
    description: str = ""
    examples: tuple[str, ...] = ()  # some of the labels
    scores: ScoreKind = "softmax"
    thresholds: tuple[float, ...] = ()
    digest: str = ""  # digest of everything but the file that determines a result (see `result_digest`)
    versions: tuple[str, ...] = ()  # all versions that answer, newest first; set only by `health`

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        """(T, H, W, 3) of one uint8 clip."""
        return (self.frames, self.crop, self.crop, 3)

    @property
    def embedding_space(self) -> str:
        """Return the space of the model's embeddings; those of two spaces cannot be compared."""
        return f"{self.name}@{self.version} {self.weights}"

    def require_embedding(self) -> None:
        """Raise InvalidParameter if the model gives no embedding."""
        if not self.embedding_size:
            raise InvalidParameter(
                f"the model {self.name} gives no embedding: choose one with an embedding_size above 0 in /v1/models"
            )

    @property
    def clip_bytes(self) -> int:
        """Size of one uint8 clip in bytes."""
        return self.frames * self.crop * self.crop * 3

    def decision_rule(self, selection: Selection) -> DecisionRule:
        """Return the rule that decides which labels pass; raise InvalidParameter for an unknown label."""
        return _cached_rule(self.labels, self.scores, self.thresholds, selection)

    def to_json(self, default_for: list[Kind]) -> dict[str, Any]:
        """Return the model as the API shows it; `default_for` are the kinds of files that it is the default for."""
        lists: dict[str, Any] = {name: list(getattr(self, name)) for name in ("labels", "examples", "versions")}
        lists["thresholds"] = list(self.thresholds) or None
        result = asdict(self) | lists | {"default": "video" in default_for, "default_for": default_for}
        del result["digest"], result["weights"]
        return result


def parse_config(config: dict[str, Any]) -> Model:
    """Return the model of one of Triton's configurations, without labels.

    Raises KeyError for a missing parameter and ValueError for an invalid one.
    """
    params = {name: value.get("string_value", "") for name, value in config.get("parameters", {}).items()}
    if params["kind"] not in ("video", "image"):
        raise ValueError(f"kind {params['kind']!r}")
    scores = params.get("scores") or "softmax"
    if scores not in SCORE_KINDS:
        raise ValueError(f"scores {scores!r}: must be {' or '.join(SCORE_KINDS)}")
    model = Model(
        name=config["name"],
        version=config["version"],
        kind=params["kind"],
        frames=int(params["frames"]),
        stride=int(params["stride"]),
        fps=float(params["fps"]),
        resize=int(params["resize"]),
        crop=int(params["crop"]),
        architecture=params.get("architecture", ""),
        labels=(),
        title=params.get("title") or config["name"],
        description=params.get("description", ""),
        examples=tuple(word.strip() for word in params.get("examples", "").split(",") if word.strip()),
        scores=cast(ScoreKind, scores),
        thresholds=_thresholds(params.get("thresholds", ""), class_count(config)),
    )
    if min(model.frames, model.stride, model.fps, model.crop) <= 0 or model.crop > model.resize:
        raise ValueError("frames, stride, fps and crop must be above 0, and crop no larger than resize")
    return model


def _thresholds(text: str, classes: int) -> tuple[float, ...]:
    """Return the thresholds in the parameter's text, numbers with commas between them; raise ValueError."""
    thresholds = tuple(float(number) for number in text.split(",") if number.strip())
    if thresholds and (len(thresholds) != classes or not all(0 <= threshold <= 1 for threshold in thresholds)):
        raise ValueError(f"thresholds must be {classes} numbers from 0 to 1, one for each label")
    return thresholds


def result_digest(config: dict[str, Any], canary: ProbeResult, fingerprint: Fingerprint) -> str:
    """Return the digest of everything but the file that determines a result: model, configuration and software.

    The canary's rounded scores are included, because models of other backends have no fingerprint.
    """
    parts = [json.dumps(config, sort_keys=True), *map(str, fingerprint), software_digest(), *canary.labels]
    parts += [f"{score:.2e}" for score in canary.scores]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def class_count(config: dict[str, Any]) -> int:
    """Return the number of scores that a model with this configuration returns."""
    classes = {output["name"]: int(output["dims"][0]) for output in config["output"]}
    return classes[OUTPUT]


class Prediction(TypedDict):
    """One label with its score."""

    label: str
    score: float


def average(scores: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the mean over clips: a list of float32 (classes,) becomes float32 (classes,)."""
    return scores[0] if len(scores) == 1 else np.asarray(np.mean(scores, axis=0), dtype=np.float32)


def embedding(features: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the mean of the clips' features at length 1: a list of float32 (width,) becomes float32 (width,)."""
    mean = np.mean(features, axis=0, dtype=np.float64)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), SMALLEST_LENGTH), dtype=np.float32)


def top(scores: NDArray[np.float32], labels: Sequence[str], count: int, selected: NDArray[np.intp]) -> list[Prediction]:
    """Return the `count` best of the labels with the indices `selected`, best first; all if there are fewer.

    The scores (classes,) are answered as they are: a softmax of all labels is not scaled to the selected ones.
    """
    best = selected[np.argsort(-scores[selected], kind="stable")[:count]]
    return [Prediction(label=labels[i], score=round(float(scores[i]), 6)) for i in best]
