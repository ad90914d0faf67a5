"""Installation of a trained model: comparison with the version before, and one graph of backbone and last layer."""

import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from safetensors.torch import save_file

from triton_repo.zoo import ModelError
from triton_repo.zoo.architectures.downloads import sha256_of
from triton_repo.zoo.export import openvino as export
from triton_repo.zoo.names import PUBLISHED
from triton_repo.zoo.operations.add import Target, add_version, check_name
from triton_repo.zoo.repository import store
from triton_repo.zoo.repository.sources import Source
from triton_repo.zoo.spec import Scoring, Summary
from triton_repo.zoo.transfer.backbones import Backbone
from triton_repo.zoo.transfer.card import Card, read_card
from triton_repo.zoo.transfer.evaluate import Answers
from triton_repo.zoo.transfer.metrics import Figures, measure
from triton_repo.zoo.transfer.train import Trained, truth_matrix

WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Comparison:
    """One figure of the new version and of the version before, on the same held-out files."""

    files: int
    new: float
    before: float

    @property
    def is_worse(self) -> bool:
        """Return whether the new version is worse."""
        return self.new < self.before


def earlier_version(models: Path, name: str) -> tuple[store.InstalledModel, Card] | None:
    """Return the model that a new version would follow, with its card, or None if there is none.

    Raises:
        ModelError: The name belongs to a model that was not trained here.
    """
    check_name(name)
    if name in PUBLISHED:
        raise ModelError(f"{name} is the name of a published network: choose another name.")
    if name not in store.names(models):
        return None
    model = store.installed(models, name)
    card = read_card(model.served)
    if card is None:
        raise ModelError(f"{name} is a model that was not trained here: choose another name, or remove it first.")
    return model, card


def compare(trained: Trained, before: store.InstalledModel, answers: Answers, multi_label: bool) -> Comparison | None:
    """Compare with the answers of the version before to held-out files, or return None if no label is the same.

    Only files count whose labels both versions know.
    """
    labels = trained.dataset.labels
    common = [label for label in labels if label in before.labels]
    numbers = {example: number for number, example in enumerate(trained.held_out)}
    rows = [n for n, example in enumerate(answers.examples) if set(example.labels) <= set(common)]
    if not rows:
        return None
    examples = [answers.examples[n] for n in rows]
    new_scores = trained.scores[[numbers[example] for example in examples]]
    new = measure(new_scores, truth_matrix(examples, labels), labels)
    old = measure(answers.scores[rows], truth_matrix(examples, before.labels), before.labels)
    return Comparison(len(rows), main_figure(new, multi_label), main_figure(old, multi_label))


def main_figure(figures: Figures, multi_label: bool) -> float:
    """Return the figure by which versions are compared."""
    return figures.mean_average_precision if multi_label else figures.accuracy


def make_card(trained: Trained, backbone: Backbone, multi_label: bool, seed: int, epochs: int = 0) -> Card:
    """Return the card of a trained model; `epochs` is the number of those that fine-tuned the backbone."""
    examples, labels = trained.dataset.examples, trained.dataset.labels
    figures = trained.figures.to_json()
    del figures["confusion"]  # the report has it; with many labels it is large
    return Card(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        backbone=backbone.name,
        backbone_digest=backbone.digest,
        kind=trained.dataset.kind,
        multi_label=multi_label,
        train=trained.train,
        held_out=len({example.sha256 for example in trained.held_out}),
        files={label: len({e.sha256 for e in examples if label in e.labels}) for label in labels},
        metrics=figures,
        temperature=trained.temperature,
        thresholds=dict(zip(labels, trained.thresholds, strict=True)),
        seed=seed,
        contents=trained.contents,
        finetuned_epochs=epochs,
    )


def install(target: Target, backbone: Backbone, trained: Trained, card: Card) -> int:
    """Add the trained model as the next version and return its number; nothing is left if that fails.

    Raises:
        ModelError: The version could not be exported, or the server cannot load it.
    """
    served = backbone.with_layer(trained.head.weight, trained.head.bias, trained.dataset.labels)
    # A softmax decides for its best label; several labels at a time need a threshold each.
    scoring = Scoring("sigmoid", thresholds=card.thresholds) if card.multi_label else Scoring()
    served = replace(served, summary=Summary(description=card.summary), scoring=scoring)
    with tempfile.TemporaryDirectory(prefix="clipstack-train-") as folder:
        weights = Path(folder, WEIGHTS)
        save_file({name: tensor.contiguous() for name, tensor in served.network.state_dict().items()}, weights)
        source = Source(
            served.architecture, WEIGHTS, sha256_of(weights), served.spec, served.mean, served.std, scoring=scoring
        )

        def write(making: Path, version: int) -> None:
            try:
                export.write_model(served, target.name, making, version)
            except export.ExportMismatch as error:
                raise ModelError(f"{target.name} was not added: {error}.") from error
            place = making / target.name / str(version)
            (place / WEIGHTS).write_bytes(weights.read_bytes())
            card.write(place)

        return add_version(target, source, write)
