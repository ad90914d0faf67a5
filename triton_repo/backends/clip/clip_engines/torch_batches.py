"""Batches of prepared sizes: clips are gathered in one buffer and padded up to the next prepared size."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

Run = Callable[[], Tensor]
Network = Callable[[Tensor], Tensor]
Record = Callable[[Network, Tensor], Run]

FIRST_SIZES = (1, 4, 16)  # recorded at the start, besides the largest
RECORD_AFTER = 50  # batches that were padded to a larger size, until their own one is recorded
WORTH_IT = 1.05  # another layout must be this much faster to replace the first: less may be chance


def sizes(most: int) -> list[int]:
    """Return the batch sizes to prepare: 1, 2, 3, 4, 6, 8, 12, 16, 24, ... and `most`.

    No batch is padded to twice its size.
    """
    candidates = {2**power for power in range(most.bit_length())} | {3 * 2**power for power in range(most.bit_length())}
    return sorted({size for size in candidates if size < most} | {most})


def cut(parts: Sequence[Tensor], most: int) -> Iterator[list[Tensor]]:
    """Yield the same clips in the same order, in batches of at most `most`."""
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
    """A network recorded for batch sizes of `sizes(most)`, over a fixed buffer of clips.

    The start records few sizes. Another size is recorded after RECORD_AFTER batches that would have used it; until then
    they use the next recorded size. Clips come from the host or from any GPU. A batch is padded with old contents of
    the buffer, whose rows are ignored.

    Args:
        shape: Shape of a clip.
        most: The largest batch.
        device: Device of the network.
        network: The network, from clips to rows.
        record: Makes a run of the network over the clips that it gets.
    """

    def __init__(self, shape: Sequence[int], most: int, device: torch.device, network: Network, record: Record) -> None:
        on_gpu = device.type == "cuda"
        self._most, self._sizes, self._device = most, sizes(most), device
        self._clips = torch.zeros((most, *shape), dtype=torch.uint8, device=device)
        # Copies from pinned memory are twice as fast and asynchronous.
        self._host = torch.zeros((most, *shape), dtype=torch.uint8, pin_memory=True) if on_gpu else self._clips
        self._network, self._record = network, record
        self._runs: dict[int, Run] = {}
        self._missed: Counter[int] = Counter()  # batches by a size that is not recorded

    def prepare_ends(self) -> None:
        """Record the largest size, whose memory is then enough for the others, and the smallest one."""
        for size in (self._most, 1):
            self._add(size)

    def prepare(self) -> None:
        """Record the sizes that the start needs."""
        self.prepare_ends()
        for size in reversed(FIRST_SIZES):
            if size in self._sizes:
                self._add(size)

    def _add(self, size: int) -> None:
        if size not in self._runs:
            self._runs[size] = self._record(self._network, self._clips[:size])

    def timed(self, clock: Callable[[Run], float]) -> float:
        """Return seconds of a lone clip times seconds a clip in the largest batch, so that both count alike."""
        return self.seconds(clock, 1)[1] * self.seconds(clock, self._most)[self._most] / self._most

    def seconds(self, clock: Callable[[Run], float], *sizes: int) -> dict[int, float]:
        """Return the seconds of a run by batch size; of all recorded sizes unless some are named."""
        return {size: clock(self._runs[size]) for size in sizes or sorted(self._runs)}

    def __call__(self, parts: Sequence[Tensor]) -> Tensor:
        """Return the rows float32 (sum of b, width) on the host for uint8 tensors (b, *shape) of any size."""
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
        size = min(size for size in self._runs if size >= count)
        # Copy, also on the host: the next run overwrites these rows. On a GPU the copy waits for the run.
        rows = self._runs[size]()[:count].to("cpu", torch.float32, copy=True)
        self._record_missed(next(size for size in self._sizes if size >= count))
        return rows

    def _record_missed(self, size: int) -> None:
        """Record a size that was missed often enough; print why that fails, and leave it."""
        if size in self._runs:
            return
        self._missed[size] += 1
        if self._missed[size] == RECORD_AFTER:
            try:
                self._add(size)
            except RuntimeError as error:
                print(f"torch: batches of {size} stay padded: {error}", file=sys.stderr, flush=True)


def fastest(seconds: Mapping[str, float]) -> str:
    """Return the first name, unless another one is faster by more than WORTH_IT."""
    first, best = next(iter(seconds)), min(seconds, key=lambda name: seconds[name])
    return best if seconds[first] > WORTH_IT * seconds[best] else first
