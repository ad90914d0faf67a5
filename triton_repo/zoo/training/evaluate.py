"""What the evaluations share: the answers of a service to files of known labels, and how they are told."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from client import Client


class Labelled(Protocol):
    """Anything that is one file to be made, and says what the right answer to it is."""

    @property
    def label(self) -> str: ...


Item = TypeVar("Item", bound=Labelled)


@dataclass(frozen=True)
class Answer(Generic[Item]):
    asked: Item
    label: str
    score: float

    @property
    def right(self) -> bool:
        return self.label == self.asked.label


def answers(
    client: Client, model: str, items: Sequence[Item], make: Callable[[Item], bytes], jobs: int,
    sampling: str | None = None,
) -> list[Answer[Item]]:  # fmt: skip
    """What the model says of every file; raises what the client and `make` raise."""

    def ask(item: Item) -> Answer[Item]:
        best = client.classify(make(item), model=model, top_k=1, sampling=sampling).predictions[0]
        return Answer(item, best.label, best.score)

    with ThreadPoolExecutor(jobs) as pool:
        return list(track(pool.map(ask, items), "making, asking", len(items), console=Console(stderr=True)))


def top_1(given: Iterable[Answer[Item]]) -> float:
    return float(np.mean([answer.right for answer in given]))


def label_table(model: str, noun: str, labels: Sequence[str], given: list[Answer[Item]]) -> Table:
    """Top-1 of every label with what was said instead."""
    table = Table("label", noun, "top-1", "said instead", title=f"{model} through the service")
    for label in labels:
        asked = [a for a in given if a.asked.label == label]
        wrong = Counter(a.label for a in asked if not a.right).most_common()
        said = ", ".join(f"{name} {times}" for name, times in wrong)
        table.add_row(label, str(len(asked)), f"{top_1(asked):.1%}" if asked else "", said)
    table.add_section()
    table.add_row("all", str(len(given)), f"{top_1(given):.1%}", "")
    return table


def ways_table(noun: str, ways: Iterator[tuple[str, Callable[[Item], bool]]], given: list[Answer[Item]]) -> Table:
    """Top-1 of those files for which each way's condition holds."""
    table = Table("file", noun, "top-1")
    for name, belongs in ways:
        asked = [a for a in given if belongs(a.asked)]
        table.add_row(name, str(len(asked)), f"{top_1(asked):.1%}" if asked else "")
    return table


__all__ = ["Answer", "answers", "label_table", "top_1", "ways_table"]
