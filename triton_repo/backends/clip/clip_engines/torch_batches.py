"""Batches of the sizes that were prepared: clips are gathered in one place, and what is missing is left over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

Run = Callable[[], Tensor]
Network = Callable[[Tensor], Tensor]
Record = Callable[[Network, Tensor], Run]

WORTH_IT = 1.05  # so much faster another way must be to take the place of the first: less may be chance


def sizes(most: int) -> list[int]:
    """The batch sizes to prepare: 1, 2, 3, 4, 6, 8, 12, 16, 24, ... and `most`; none is twice as large as needed."""
    found = {2**power for power in range(most.bit_length())} | {3 * 2**power for power in range(most.bit_length())}
    return sorted({size for size in found if size < most} | {most})


def cut(parts: Sequence[Tensor], most: int) -> Iterator[list[Tensor]]:
    """The same clips in the same order, in batches of `most` at the most."""
    batch: list[Tensor] = []
    room = most
    for part in parts:
        while len(part):
            batch.append(part[:room])
            part, room = part[room:], room - len(batch[-1])
            if not room:
                yield batch
                batch, room = [], most
    if batch:
        yield batch


class Batches:
    """A network that was recorded once for each of `sizes(most)`; `record` makes a run over clips that stay in place.

    Clips come from the host or from any GPU. Those that fill a batch up to its size are what lay there before: their
    scores are not looked at.
    """

    def __init__(self, shape: Sequence[int], most: int, device: torch.device) -> None:
        on_gpu = device.type == "cuda"
        self._most, self._sizes, self._device = most, sizes(most), device
        self._clips = torch.zeros((most, *shape), dtype=torch.uint8, device=device)
        # From memory that is locked in its place a copy is twice as fast, and waits for nobody.
        self._host = torch.zeros((most, *shape), dtype=torch.uint8, pin_memory=True) if on_gpu else self._clips
        self._runs: dict[int, Run] = {}

    def prepare(self, network: Network, record: Record) -> None:
        """Records every size, the largest first, whose memory is then enough for the others."""
        for size in reversed(self._sizes):
            self._runs[size] = record(network, self._clips[:size])

    def timed(self, clock: Callable[[Run], float]) -> float:
        """Seconds of a lone clip and of each in the largest batch, multiplied: both count alike."""
        return clock(self._runs[1]) * clock(self._runs[self._most]) / self._most

    def __call__(self, parts: Sequence[Tensor]) -> Tensor:
        """uint8 tensors (b, *shape) -> float32 (sum of b, classes) on the host, for any number of clips."""
        return torch.cat([self._one(batch) for batch in cut(parts, self._most)])

    def _one(self, batch: Sequence[Tensor]) -> Tensor:
        count = 0
        for part in batch:
            place = slice(count, count + len(part))
            if part.device.type == "cpu":
                self._host[place].copy_(part)
                part = self._host[place]
            if self._clips[place].data_ptr() != part.data_ptr():
                self._clips[place].copy_(part, non_blocking=True)
            count += len(part)
        size = next(size for size in self._sizes if size >= count)
        # Copied off, also on the host: the next run overwrites what this one answered. On a GPU it waits for the run.
        return self._runs[size]()[:count].to("cpu", torch.float32, copy=True)


def fastest(seconds: Mapping[str, float]) -> str:
    """The first way, unless another one is faster by a margin that is no chance."""
    first, best = next(iter(seconds)), min(seconds, key=lambda name: seconds[name])
    return best if seconds[first] > WORTH_IT * seconds[best] else first


__all__ = ["Batches", "Network", "Record", "Run", "cut", "fastest", "sizes"]
