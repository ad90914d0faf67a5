"""A thread that samples the state of this process's components every SAMPLE_INTERVAL_S and records it."""

import logging
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from app.errors import NotReady
from app.metrics.recorder import MetricsRecorder

SAMPLE_INTERVAL_S = 2.0
# These start at 0, so that the first event is an increase; other reasons appear with their first event
REASONS = ("door", "full", "slow", "deadline", "waited")
ENDS = ("timeout", "cancelled", "idle", "SIGSEGV", "SIGABRT", "SIGKILL", "SIGSYS")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

Facts = Mapping[str, Any]

log = logging.getLogger(__name__)


class Sampler:
    """The sampler of one process: writes the state that `facts` returns (Pipeline.facts) to `recorder`."""

    def __init__(
        self, recorder: MetricsRecorder, facts: Callable[[], Facts], after_sample: Callable[[], object] = lambda: None
    ) -> None:
        self._recorder, self._facts, self._after_sample = recorder, facts, after_sample
        self._last_totals: dict[tuple[str, ...], int] = {}
        self._lock, self._stopping = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread; safe to call twice."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                self.sample()
                self._after_sample()
            except Exception:  # for example a full disk; the counts catch up with the next sample
                log.exception("numbers go on after a mistake")
            if self._stopping.wait(SAMPLE_INTERVAL_S):
                return

    def sample(self) -> None:
        """Record the current state; safe to call from any thread."""
        try:
            facts = self._facts()
        except NotReady:  # the worker is stopping
            return
        with self._lock:
            self._record(facts)

    def _record(self, facts: Facts) -> None:
        set_, program = self._recorder.set, self._recorder.program
        set_("clipstack_memory_bytes", _resident_bytes(), program)
        if program == "web":
            self._admission(facts["admission"])
        for state, count in facts["slots"].items():
            set_("clipstack_slots", count, program, state)
        decoder, transports, decoding = facts["decoder"], facts["transports"], facts["decoding"]
        set_("clipstack_decoders", decoder["busy"], program, "busy")
        set_("clipstack_decoders", decoder["processes"] - decoder["busy"], program, "free")
        set_("clipstack_decoder_waiting", decoder["waiting"], program)
        self._totals("clipstack_decoder_ends_total", dict.fromkeys(ENDS, 0) | decoder["ends"], program)
        zeros = dict.fromkeys(transports["chain"], 0)
        self._totals("clipstack_clips_total", zeros | transports["clips"], program)
        self._totals("clipstack_transport_refusals_total", zeros | transports["refusals"], program)
        self._totals("clipstack_region_registrations_total", zeros | transports["registrations"], program)
        for transport in transports["chain"]:
            set_("clipstack_transport_in_use", transport == transports["last"], program, transport)
        self._totals("clipstack_videos_decoded_total", {"cpu": 0} | decoding["videos"], program)
        self._total("clipstack_videos_not_on_gpu_total", sum(decoding["not_on_gpu"].values()), program)

    def _admission(self, stats: Facts) -> None:
        for lane, (at_work, waiting) in stats["lanes"].items():
            self._recorder.set("clipstack_at_work", at_work, lane)
            self._recorder.set("clipstack_waiting", waiting, lane)
        self._recorder.set("clipstack_work_limit", stats["limit"])
        self._recorder.set("clipstack_backlog_seconds", stats["backlog_s"])
        self._totals("clipstack_refusals_total", dict.fromkeys(REASONS, 0) | stats["refused_by"])

    def _totals(self, name: str, totals: Mapping[str, int], *labels: str) -> None:
        """Update one counter for each entry of `totals`, whose key is the last label."""
        for last, total in totals.items():
            self._total(name, total, *labels, last)

    def _total(self, name: str, total: int, *labels: str) -> None:
        """Add what `total` grew by since the last sample to the counter."""
        key = (name, *labels)
        if total != self._last_totals.get(key):
            self._recorder.count(name, *labels, by=max(0, total - self._last_totals.get(key, 0)))
        self._last_totals[key] = total


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
