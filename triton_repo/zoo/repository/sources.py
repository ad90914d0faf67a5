"""Record of a model version's source, kept in the version as `source.json` for later checks."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from triton_repo.zoo import ModelError
from triton_repo.zoo.spec import ClipSpec, NetworkSpec, Scoring

FILE = "source.json"
ONNX = "onnx"
THRESHOLDS = '{"cat": 0.6, "dog": 0.45}'


@dataclass(frozen=True)
class Source:
    """Source of a model version.

    `architecture` is the name of a published network, "onnx", or that of a network with a trained last layer
    (architectures/trained.py). `weights` is absolute, or the name of a file in the version's folder. `layout` and
    `scores` apply to ONNX only; `scores` is what the file gives, "logits" or "probabilities". `scoring` says what the
    scores of the model are.
    """

    architecture: str
    weights: str
    sha256: str
    spec: ClipSpec
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    layout: str = ""
    scores: str = "logits"
    scoring: Scoring = Scoring()

    def write(self, version: Path) -> None:
        """Write `source.json` into the version's folder."""
        (version / FILE).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    def file(self, version: Path) -> Path:
        """Return the path of the weights of the version in this folder."""
        return version / self.weights

    def network(self, labels: tuple[str, ...], weights: Path) -> NetworkSpec:
        """Return the torch network with its weights; raise ModelError if they do not fit. Not for ONNX."""
        from triton_repo.zoo.architectures.checkpoints import fill, read_checkpoint
        from triton_repo.zoo.architectures.trained import trained_network

        tensors = read_checkpoint(weights)
        network = trained_network(self.architecture, len(labels))
        fill(network, tensors, weights, self.architecture, len(labels))
        return NetworkSpec(
            network.eval(), self.architecture, self.spec, labels, self.mean, self.std, scoring=self.scoring
        )


def read_source(version: Path) -> Source | None:
    """Return the source of the version in this folder, or None if it has no `source.json`."""
    path = version / FILE
    if not path.exists():
        return None
    try:
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        spec = ClipSpec(**fields.pop("spec"))
        mean, std = tuple(fields.pop("mean")), tuple(fields.pop("std"))
        scoring = Scoring(**fields.pop("scoring", {}))
        return Source(spec=spec, mean=mean, std=std, scoring=scoring, **fields)
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{path} is damaged ({error}): remove the model and add it again.") from error


def read_labels(path: Path) -> tuple[str, ...]:
    """Return the labels of a text file, one a line; raise ModelError with the number of an invalid line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path} is no text in UTF-8: a labels file holds one label a line.") from error
    lines = [line.strip() for line in text.rstrip().split("\n")]
    for number, line in enumerate(lines, 1):
        if not line or not line.isprintable():
            raise ModelError(f"{path}, line {number}: {line!r} is no label; a labels file holds one label a line.")
    return tuple(lines)


def read_thresholds(path: Path) -> dict[str, float]:
    """Return the thresholds in a JSON file, an object with a number for each label; raise ModelError."""
    try:
        thresholds = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ModelError(f"{path} is not JSON ({error}): it must look like {THRESHOLDS}.") from error
    if not isinstance(thresholds, dict) or any(type(value) not in (int, float) for value in thresholds.values()):
        raise ModelError(f"{path} has no number for each label: it must look like {THRESHOLDS}.")
    return {label: float(value) for label, value in thresholds.items()}
