"""Training of a model: features, split, last layer, calibration and figures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from app.errors import ClipstackError
from app.settings import Settings
from triton_repo.zoo import ModelError, listed
from triton_repo.zoo.calibration import fit_temperature, label_thresholds
from triton_repo.zoo.transfer.backbones import Features
from triton_repo.zoo.transfer.card import DIGITS
from triton_repo.zoo.transfer.examples import Dataset, Example, check_counts, label_names
from triton_repo.zoo.transfer.features import FeatureCache, compute_features
from triton_repo.zoo.transfer.head import PENALTIES, Examples, Head, train_head
from triton_repo.zoo.transfer.metrics import Figures, Scores, Truths, measure
from triton_repo.zoo.transfer.split import split

# Starts a task of so many steps, and returns what is called after each
Progress = Callable[[str, int], Callable[[], None]]
VALIDATION_SHARE = 0.2  # of the files that are not held out: they decide when to stop, and calibrate


@dataclass(frozen=True)
class Options:
    """Options of a training.

    `holdout` is the share of the files to hold out. `earlier` says of contents that the version before knew (first
    DIGITS digits) whether they were held out.
    """

    holdout: float
    seed: int
    multi_label: bool
    earlier: Mapping[str, bool]


@dataclass(frozen=True)
class Trained:
    """A trained last layer with its figures.

    Attributes:
        dataset: The examples that could be decoded.
        head: The last layer; its logits are calibrated.
        fitted: The examples that the layer was trained on.
        validation: The examples that decided when to stop, and that it was calibrated on.
        held_out: The examples that are held out.
        train: Number of the other contents.
        scores: Probabilities float32 (held-out examples, classes).
        truths: bool, of the same shape.
        temperature: Divisor of the logits, which `head` has already.
        thresholds: Threshold of each label.
        figures: Figures of the held-out examples.
        contents: For each content (first DIGITS digits): whether it is held out.
    """

    dataset: Dataset
    head: Head
    fitted: list[Example]
    validation: list[Example]
    held_out: list[Example]
    train: int
    scores: Scores
    truths: Truths
    temperature: float
    thresholds: list[float]
    figures: Figures
    contents: dict[str, bool]


def train(dataset: Dataset, cache: FeatureCache, options: Options, settings: Settings, progress: Progress) -> Trained:
    """Train a last layer for the dataset.

    Raises:
        ModelError: Too few files of a label could be decoded.
    """
    computed = compute_features(dataset.examples, cache, settings, progress("features", len(dataset.examples)))
    dataset, features = _decodable(dataset, computed)
    examples, labels = dataset.examples, dataset.labels
    earlier = {e.sha256: options.earlier[e.sha256[:DIGITS]] for e in examples if e.sha256[:DIGITS] in options.earlier}
    sides = split(examples, options.holdout, options.seed, earlier)
    rest = [examples[n] for n in sides.train]
    inner = split(rest, VALIDATION_SHARE, options.seed + 1)
    numbers = [[sides.train[n] for n in side or range(len(rest))] for side in inner]  # all, if there are too few
    training, validation = (_rows(examples, features, side, labels) for side in numbers)
    advance = progress("last layer", len(PENALTIES))
    head = train_head(training, validation, options.multi_label, options.seed, advance)
    # Every clip of the validation files counts here: more of them make a better calibration.
    logits = head.logits(validation.features)
    targets = validation.targets.astype(int) if options.multi_label else validation.targets.argmax(axis=1)
    temperature = fit_temperature(logits, targets)
    head = head.divided(temperature)
    thresholds = label_thresholds(_probabilities(head.logits(validation.features), options.multi_label), targets)
    held_out = [examples[n] for n in sides.held_out]
    middles = np.stack([features[n][len(features[n]) // 2] for n in sides.held_out])
    scores = _probabilities(head.logits(middles), options.multi_label)
    truths = truth_matrix(held_out, labels)
    figures = measure(scores, truths, labels, thresholds if options.multi_label else None)
    contents = {e.sha256[:DIGITS]: False for e in rest} | {e.sha256[:DIGITS]: True for e in held_out}
    count = len({e.sha256 for e in rest})
    fitted, validated = ([examples[n] for n in side] for side in numbers)
    return Trained(
        dataset, head, fitted, validated, held_out, count, scores, truths, temperature, thresholds, figures, contents
    )


def truth_matrix(examples: Sequence[Example], labels: Sequence[str]) -> Truths:
    """Return bool (N, classes): whether the example has the label."""
    numbers = {label: number for number, label in enumerate(labels)}
    truths = np.zeros((len(examples), len(labels)), bool)
    for row, example in enumerate(examples):
        truths[row, [numbers[label] for label in example.labels if label in numbers]] = True
    return truths


def _decodable(dataset: Dataset, computed: Sequence[Features | ClipstackError]) -> tuple[Dataset, list[Features]]:
    """Return the dataset without the files that cannot be decoded, and the features of the others."""
    pairs = list(zip(dataset.examples, computed, strict=True))
    refused = [f"{e.title}: {result}" for e, result in pairs if isinstance(result, ClipstackError)]
    kept = tuple(e for e, result in pairs if not isinstance(result, ClipstackError))
    if not kept:
        raise ModelError(f"no file could be decoded: {listed(refused)}.")
    if refused:
        warning = f"{len(refused)} files are left out because they cannot be decoded: {listed(refused)}"
        dataset = replace(dataset, warnings=(*dataset.warnings, warning))
    lost = set(dataset.labels) - set(label_names(kept))
    if lost:
        raise ModelError(f"no file of {listed(sorted(lost))} can be decoded: {listed(refused)}.")
    features = [result for result in computed if not isinstance(result, ClipstackError)]
    return check_counts(replace(dataset, examples=kept)), features


def _rows(
    examples: Sequence[Example], features: Sequence[Features], numbers: Sequence[int], labels: Sequence[str]
) -> Examples:
    """Return one row for each clip of these examples."""
    truths = truth_matrix([examples[n] for n in numbers], labels)
    counts = [len(features[n]) for n in numbers]
    targets = np.repeat(truths.astype(np.float32), counts, axis=0)
    return Examples(np.concatenate([features[n] for n in numbers]), targets)


def _probabilities(logits: Scores, multi_label: bool) -> Scores:
    if multi_label:
        sigmoid: Scores = (1 / (1 + np.exp(-logits))).astype(np.float32)
        return sigmoid
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    softmax: Scores = (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)
    return softmax
