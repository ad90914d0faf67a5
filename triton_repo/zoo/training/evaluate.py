"""Shared parts of the evaluations: their command line, a service's answers to files with known labels, and tables."""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from clipstack_client import Client, ClipstackError


def evaluation_parser(description: str | None, bar: str) -> argparse.ArgumentParser:
    """Return a parser with the options of every evaluation; `bar` describes the lowest figure that passes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--footage", type=Path, required=True, help="folder of videos to take frames from")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bar", type=float, default=0.95, help=bar)
    return parser


def exit_code(evaluate: Callable[[Client, argparse.Namespace], bool], arguments: argparse.Namespace) -> int:
    """Return 0 if the evaluation passes, 1 if it does not, and 2, after printing the error, if it fails."""
    try:
        with Client(arguments.url) as client:
            return 0 if evaluate(client, arguments) else 1
    except (ClipstackError, ValueError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 2


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

    item: Item
    label: str
    score: float

    @property
    def right(self) -> bool:
        """Return whether the service's label is the right one."""
        return self.label == self.item.label


@dataclass(frozen=True)
class Evaluation(Generic[Item]):
    """Files to be made and classified.

    `encode` makes the file of an item, `jobs` files at a time; `sampling` is that of the service, or None for its
    default.
    """

    model: str
    items: Sequence[Item]
    encode: Callable[[Item], bytes]
    jobs: int
    sampling: str | None = None

    def run(self, client: Client) -> list[Answer[Item]]:
        """Return the model's best label for each file; errors of the client and of `encode` propagate."""

        def classify(item: Item) -> Answer[Item]:
            result = client.classify(self.encode(item), model=self.model, top_k=1, sampling=self.sampling)
            best = result.predictions[0]
            return Answer(item, best.label, best.score)

        with ThreadPoolExecutor(self.jobs) as pool:
            results = pool.map(classify, self.items)
            console = Console(stderr=True)
            return list(track(results, "encoding, classifying", len(self.items), console=console))


def top_1(answers: Iterable[Answer[Item]]) -> float:
    """Return the share of right answers."""
    return float(np.mean([answer.right for answer in answers]))


def label_table(model: str, noun: str, labels: Sequence[str], answers: list[Answer[Item]]) -> Table:
    """Return a table of top-1 for each label, with the wrong labels that it got instead."""
    table = Table("label", noun, "top-1", "instead", title=f"{model} through the service")
    for label in labels:
        matching = [a for a in answers if a.item.label == label]
        wrong = Counter(a.label for a in matching if not a.right).most_common()
        wrong_labels = ", ".join(f"{name} {times}" for name, times in wrong)
        table.add_row(label, str(len(matching)), f"{top_1(matching):.1%}" if matching else "", wrong_labels)
    table.add_section()
    table.add_row("all", str(len(answers)), f"{top_1(answers):.1%}", "")
    return table


def conditions_table(
    noun: str, conditions: Iterator[tuple[str, Callable[[Item], bool]]], answers: list[Answer[Item]]
) -> Table:
    """Return a table of top-1 of the files that meet each condition."""
    table = Table("file", noun, "top-1")
    for name, matches in conditions:
        matching = [a for a in answers if matches(a.item)]
        table.add_row(name, str(len(matching)), f"{top_1(matching):.1%}" if matching else "")
    return table
