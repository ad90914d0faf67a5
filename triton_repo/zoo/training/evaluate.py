"""Shared parts of the evaluations: answers of a service to files with known labels, and tables of the results."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from clipstack_client import Client


class Labelled(Protocol):
    """A file to be made, with its right label."""

    @property
    def label(self) -> str:
        """Return the right label."""
        ...


Item = TypeVar("Item", bound=Labelled)


@dataclass(frozen=True)
class Answer(Generic[Item]):
    """The service's answer to one file."""

    asked: Item
    label: str
    score: float

    @property
    def right(self) -> bool:
        """Return whether the service's label is the right one."""
        return self.label == self.asked.label


def answers(
    client: Client, model: str, items: Sequence[Item], make: Callable[[Item], bytes], jobs: int,
    sampling: str | None = None,
) -> list[Answer[Item]]:  # fmt: skip
    """Return the model's best label for each file; errors of the client and of `make` propagate."""

    def ask(item: Item) -> Answer[Item]:
        best = client.classify(make(item), model=model, top_k=1, sampling=sampling).predictions[0]
        return Answer(item, best.label, best.score)

    with ThreadPoolExecutor(jobs) as pool:
        return list(track(pool.map(ask, items), "making, asking", len(items), console=Console(stderr=True)))


def top_1(given: Iterable[Answer[Item]]) -> float:
    """Return the share of right answers."""
    return float(np.mean([answer.right for answer in given]))


def label_table(model: str, noun: str, labels: Sequence[str], given: list[Answer[Item]]) -> Table:
    """Return a table of top-1 for each label, with the wrong labels given instead."""
    table = Table("label", noun, "top-1", "said instead", title=f"{model} through the service")
    for label in labels:
        matching = [a for a in given if a.asked.label == label]
        wrong = Counter(a.label for a in matching if not a.right).most_common()
        wrong_labels = ", ".join(f"{name} {times}" for name, times in wrong)
        table.add_row(label, str(len(matching)), f"{top_1(matching):.1%}" if matching else "", wrong_labels)
    table.add_section()
    table.add_row("all", str(len(given)), f"{top_1(given):.1%}", "")
    return table


def ways_table(noun: str, ways: Iterator[tuple[str, Callable[[Item], bool]]], given: list[Answer[Item]]) -> Table:
    """Return a table of top-1 of the files that meet each condition."""
    table = Table("file", noun, "top-1")
    for name, belongs in ways:
        matching = [a for a in given if belongs(a.asked)]
        table.add_row(name, str(len(matching)), f"{top_1(matching):.1%}" if matching else "")
    return table


__all__ = ["Answer", "answers", "label_table", "top_1", "ways_table"]
