"""Transports of clips to Triton: their order of preference, their availability and their usage counts."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Literal

Transport = Literal["cuda_shared_memory", "system_shared_memory", "inline"]

CUDA: Transport = "cuda_shared_memory"
SYSTEM: Transport = "system_shared_memory"
INLINE: Transport = "inline"
# Transports to try for each value of CLIPSTACK_TRANSPORT; a single transport has no fallback.
CHAINS: dict[str, tuple[Transport, ...]] = {
    "auto": (CUDA, SYSTEM, INLINE),
    "cuda": (CUDA,),
    "shm": (SYSTEM,),
    "inline": (INLINE,),
}
RETRY_S = 30.0  # time for which a refused transport is skipped

log = logging.getLogger(__name__)


class Transports:
    """Transports of one worker, and the numbers of clips, refusals and registrations by each. Use in one event loop."""

    def __init__(self, chain: tuple[Transport, ...], clock: Callable[[], float] = time.monotonic) -> None:
        self._chain, self._clock = chain, clock
        self._wait_until: dict[Transport, float] = {}
        self._last: Transport | None = None
        self.clips: Counter[Transport] = Counter()
        self.refusals: Counter[Transport] = Counter()
        self.registrations: Counter[Transport] = Counter()

    def usable(self, on_gpu: bool) -> Iterator[Transport]:
        """Yield the transports to try, in order: CUDA shared memory for models on a GPU; a single transport always."""
        for transport in self._chain:
            if len(self._chain) > 1 and transport == CUDA and not on_gpu:
                continue
            if len(self._chain) == 1 or self._clock() >= self._wait_until.get(transport, 0.0):
                yield transport

    def record_refusal(self, transport: Transport, reason: str) -> None:
        """Record a refusal, and log it unless the transport is being skipped already."""
        self.refusals[transport] += 1
        waits = self._clock() < self._wait_until.get(transport, 0.0)
        self._wait_until[transport] = self._clock() + RETRY_S
        if not waits:
            log.warning("%s refused, left alone for %g s: %s", transport, RETRY_S, reason[:300])

    def record_use(self, transport: Transport) -> None:
        """Record that a clip was sent."""
        self.clips[transport] += 1
        if transport != self._last:
            before, self._last = self._last, transport
            log.info("clips go by %s%s", transport, f", no longer by {before}" if before else "")

    def facts(self) -> dict[str, Any]:
        """Return the last transport and the counts, for monitoring."""
        return {"last": self._last, "clips": dict(self.clips), "refusals": dict(self.refusals)}

    def details(self) -> dict[str, Any]:
        """Return `facts` with all transports in order and the counts of registrations."""
        return self.facts() | {"chain": self._chain, "registrations": dict(self.registrations)}
