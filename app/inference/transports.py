"""The ways by which clips reach Triton, best first: which one may be tried now, and how often each was used."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Literal

Transport = Literal["cuda_shared_memory", "system_shared_memory", "inline"]

CUDA: Transport = "cuda_shared_memory"
SYSTEM: Transport = "system_shared_memory"
INLINE: Transport = "inline"
# What CLIPSTACK_TRANSPORT means. One that is named alone has nothing behind it.
CHAINS: dict[str, tuple[Transport, ...]] = {
    "auto": (CUDA, SYSTEM, INLINE), "cuda": (CUDA,), "shm": (SYSTEM,), "inline": (INLINE,),
}  # fmt: skip
RETRY_S = 30.0  # how long one that was refused is left alone

log = logging.getLogger(__name__)


class Transports:
    """Of one worker; used from one event loop. `clips`, `refusals` and `registrations` are counts, by transport."""

    def __init__(self, chain: tuple[Transport, ...], clock: Callable[[], float] = time.monotonic) -> None:
        self._chain, self._clock = chain, clock
        self._wait_until: dict[Transport, float] = {}
        self._last: Transport | None = None
        self.clips: Counter[Transport] = Counter()
        self.refusals: Counter[Transport] = Counter()
        self.registrations: Counter[Transport] = Counter()

    def usable(self, on_gpu: bool) -> Iterator[Transport]:
        """Those to try, in this order; CUDA's only for a model that runs on a GPU. Named alone, one is always tried."""
        for transport in self._chain:
            if len(self._chain) > 1 and transport == CUDA and not on_gpu:
                continue
            if len(self._chain) == 1 or self._clock() >= self._wait_until.get(transport, 0.0):
                yield transport

    def refused(self, transport: Transport, reason: str) -> None:
        """It did not work just now; one line in the log for each time that it is given up."""
        self.refusals[transport] += 1
        waits = self._clock() < self._wait_until.get(transport, 0.0)
        self._wait_until[transport] = self._clock() + RETRY_S
        if not waits:
            log.warning("%s refused, left alone for %g s: %s", transport, RETRY_S, reason[:300])

    def used(self, transport: Transport) -> None:
        """A clip got through by it."""
        self.clips[transport] += 1
        if transport != self._last:
            before, self._last = self._last, transport
            log.info("clips go by %s%s", transport, f", no longer by {before}" if before else "")

    def facts(self) -> dict[str, Any]:
        """For those who watch the service."""
        return {"last": self._last, "clips": dict(self.clips), "refusals": dict(self.refusals)}

    def details(self) -> dict[str, Any]:
        """The same with all ways there are, and how often regions were made known to Triton."""
        return self.facts() | {"chain": self._chain, "registrations": dict(self.registrations)}
