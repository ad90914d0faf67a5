"""Card of a trained version: what it was trained on and how good it is, kept in the version as `training.json`."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from triton_repo.zoo import ModelError

FILE = "training.json"
DIGITS = 16  # of a content's digest that are kept


@dataclass(frozen=True)
class Card:
    """Description of a trained version.

    Attributes:
        created: Date and time, UTC, ISO 8601.
        backbone: Name of the model that the features come from.
        backbone_digest: Digest of its weights and clip.
        kind: "image" or "video".
        multi_label: Whether a file may have several labels.
        train: Number of files that trained the last layer or decided when to stop.
        held_out: Number of files that the metrics are measured on.
        files: Number of files of each label.
        metrics: Figures of the held-out files.
        temperature: Divisor of the logits that is part of the last layer.
        thresholds: Threshold of each label.
        seed: Seed of the split and the training.
        contents: First DIGITS digits of each content's SHA-256; whether it was held out.
        finetuned_epochs: Passes over the files in which the backbone's last blocks were trained; 0 for none.
    """

    created: str
    backbone: str
    backbone_digest: str
    kind: str
    multi_label: bool
    train: int
    held_out: int
    files: dict[str, int]
    metrics: dict[str, Any]
    temperature: float
    thresholds: dict[str, float]
    seed: int
    contents: dict[str, bool] = field(repr=False)
    finetuned_epochs: int = 0

    @property
    def summary(self) -> str:
        """Return the card in one line."""
        good = "mean average precision" if self.multi_label else "right"
        figure = self.metrics["mean_average_precision" if self.multi_label else "accuracy"]
        tuned = f", fine-tuned for {self.finetuned_epochs} epochs" if self.finetuned_epochs else ""
        return (
            f"Trained on {self.created[:10]} with {self.train} files on the features of {self.backbone}{tuned}; "
            f"{figure:.1%} {good} on {self.held_out} other files."
        )

    def write(self, version: Path) -> None:
        """Write `training.json` into the version's folder."""
        (version / FILE).write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_card(version: Path) -> Card | None:
    """Return the card of the version in this folder, or None if it was not trained here."""
    path = version / FILE
    if not path.exists():
        return None
    try:
        return Card(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ModelError(
            f"{path} is damaged ({error}): remove this version of the model and train it again."
        ) from error
