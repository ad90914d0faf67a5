"""Profiles of a run: everything, or the few minutes of QUICK=1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

Given = TypeVar("Given")


class Profile(NamedTuple):
    """Turns of each side, seconds of a turn, numbers of clients, and the larger cases to run."""

    turns: int
    seconds: float
    clients: tuple[int, ...]
    workers: tuple[int, ...]
    upload_mb: tuple[int, ...]
    baselines: tuple[str, ...]
    film_s: tuple[int, ...]
    overload_s: float
    repeats: int  # of operations that take milliseconds
    starts: int


ALL = ("flask_torch", "aiohttp_torch", "flask_torch_preload", "flask_triton", "litserve_openvino", "litserve_torch")
FULL = Profile(3, 2, (1, 4, 16, 64), (1, 2, 4, 8), (10, 200, 1000), ALL, (3, 10, 60, 300), 5, 30, 2)
QUICK = Profile(2, 1, (1, 4), (1, 2), (10, 200), ("litserve_openvino",), (3, 60), 2, 10, 2)


def in_turns(turns: int, *sides: Callable[[], Given]) -> list[list[Given]]:
    """Return each side's figures, measured alternately, so that disturbances affect all sides."""
    results: list[list[Given]] = [[] for _ in sides]
    for number in range(turns):
        # Reverse every second round (A B B A), so that no side always follows the same one
        order: Sequence[int] = range(len(sides)) if number % 2 == 0 else range(len(sides) - 1, -1, -1)
        for place in order:
            results[place].append(sides[place]())
    return results


__all__ = ["ALL", "FULL", "QUICK", "Profile", "in_turns"]
