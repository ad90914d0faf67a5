"""Evaluation of an installed model on labelled files, by the engine that serves it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from app.errors import ClipstackError
from app.inference.decision import SIGMOID_THRESHOLD
from app.settings import Settings
from triton_repo.zoo import ModelError, listed
from triton_repo.zoo.benchmark.engines import load, own
from triton_repo.zoo.repository.store import InstalledModel
from triton_repo.zoo.transfer.decode import clip_decoder
from triton_repo.zoo.transfer.examples import Example
from triton_repo.zoo.transfer.metrics import Scores


@dataclass(frozen=True)
class Answers:
    """A model's scores for the examples that it could be shown, and why it could not be shown the others."""

    examples: tuple[Example, ...]
    scores: Scores
    refused: tuple[str, ...]


def thresholds_of(model: InstalledModel) -> list[float] | None:
    """Return the threshold of each label, or None if the best label is right (softmax)."""
    if not model.is_independent:
        return None
    numbers = [float(number) for number in model.parameters.get("thresholds", "").split(",") if number.strip()]
    return numbers or [SIGMOID_THRESHOLD] * len(model.labels)


def answer(
    model: InstalledModel, examples: Sequence[Example], settings: Settings, advance: Callable[[], None]
) -> Answers:
    """Return the scores of one clip of each example, the one that the service takes by default.

    `advance` is called after each example.

    Raises:
        ModelError: No example could be shown to the model.
    """
    results = asyncio.run(_answer(model, examples, settings, advance))
    refused = tuple(
        f"{example.title}: {result}"
        for example, result in zip(examples, results, strict=True)
        if isinstance(result, ClipstackError)
    )
    kept = [(e, r) for e, r in zip(examples, results, strict=True) if not isinstance(r, ClipstackError)]
    if not kept:
        raise ModelError(f"{model.name} could be shown no file: {listed(list(refused))}.")
    return Answers(tuple(example for example, _ in kept), np.stack([scores for _, scores in kept]), refused)


async def _answer(
    model: InstalledModel, examples: Sequence[Example], settings: Settings, advance: Callable[[], None]
) -> list[Scores | ClipstackError]:
    engine = load(model, own(model), None, model.served)
    results: list[Scores | ClipstackError] = []
    async with clip_decoder(examples, model.spec, 1, settings) as decoder:
        async for _, clips in decoder.read_all(examples):
            results.append(clips if isinstance(clips, ClipstackError) else engine.infer(clips)[0])
            advance()
    return results
