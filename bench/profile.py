"""How long everything may take: all of it, or the few minutes of QUICK=1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

Given = TypeVar("Given")


class Profile(NamedTuple):
    """Turns of each side, the seconds of one, how many clients, and which of the larger cases are done."""

    turns: int
    seconds: float
    clients: tuple[int, ...]
    workers: tuple[int, ...]
    upload_mb: tuple[int, ...]
    baselines: tuple[str, ...]
    film_s: tuple[int, ...]
    overload_s: float
    repeats: int  # of what takes milliseconds
    starts: int


ALL = ("flask_torch", "aiohttp_torch", "flask_torch_preload", "flask_triton", "litserve_openvino", "litserve_torch")
FULL = Profile(3, 2, (1, 4, 16, 64), (1, 2, 4, 8), (10, 200, 1000), ALL, (3, 10, 60, 300), 5, 30, 2)
QUICK = Profile(2, 1, (1, 4), (1, 2), (10, 200), ("litserve_openvino",), (3, 60), 2, 10, 2)


def in_turns(turns: int, *sides: Callable[[], Given]) -> list[list[Given]]:
    """Each side's figures: A B A B ..., so that what the machine does besides meets all of them."""
    told: list[list[Given]] = [[] for _ in sides]
    for number in range(turns):
        # The other one first every second time: A B B A, lest one side always follows the same one
        order: Sequence[int] = range(len(sides)) if number % 2 == 0 else range(len(sides) - 1, -1, -1)
        for place in order:
            told[place].append(sides[place]())
    return told


__all__ = ["ALL", "FULL", "QUICK", "Profile", "in_turns"]
