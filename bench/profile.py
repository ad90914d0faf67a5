"""Profiles of a run: everything, or the few minutes of QUICK=1."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

Result = TypeVar("Result")


class Profile(NamedTuple):
    """The extent of a benchmark run.

    Attributes:
        turns: Turns of each side.
        seconds: Length of a turn.
        baselines: Baselines of the throughput suite, each with its numbers of clients.
        workers: Numbers of workers of the memory suite.
        overload_s: Seconds of each rate of the load curve.
        repeats: Repetitions of operations that take milliseconds.
        starts: Starts of each side.
    """

    turns: int
    seconds: float
    baselines: Mapping[str, Sequence[int]]
    workers: tuple[int, int]
    overload_s: float
    repeats: int
    starts: int


BASELINES = {"litserve_openvino": (1, 4, 16), "flask_torch": (4, 16), "aiohttp_torch": (4,), "flask_triton": (4,)}
FULL = Profile(3, 3, BASELINES, (1, 4), 4, 5, 2)
QUICK = FULL._replace(baselines={"litserve_openvino": (1, 4, 16)})


def in_turns(turns: int, *sides: Callable[[], Result]) -> list[list[Result]]:
    """Return each side's figures, measured alternately, so that disturbances affect all sides."""
    results: list[list[Result]] = [[] for _ in sides]
    for number in range(turns):
        # Reverse every second round (A B B A), so that no side always follows the same one
        order: Sequence[int] = range(len(sides)) if number % 2 == 0 else range(len(sides) - 1, -1, -1)
        for place in order:
            results[place].append(sides[place]())
    return results
