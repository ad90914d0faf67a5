"""Asks the parts of this process every LOOK_S what they did and hold, and writes it into the meter."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from app.errors import NotReady
from app.metrics.recorder import MetricsRecorder

LOOK_S = 2.0
# Counted from 0 on, so that the first of a kind is an increase too; others are counted when they come up
REASONS = ("door", "full", "slow", "deadline", "waited")
ENDS = ("timeout", "cancelled", "idle", "SIGSEGV", "SIGABRT", "SIGKILL", "SIGSYS")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

Facts = Mapping[str, Any]

log = logging.getLogger(__name__)


class Sampler:
    """Of one process, whose parts tell `facts` (Pipeline.facts); `also` is done with every look."""

    def __init__(
        self, meter: MetricsRecorder, facts: Callable[[], Facts], also: Callable[[], object] = lambda: None
    ) -> None:
        self._meter, self._facts, self._also = meter, facts, also
        self._seen: dict[tuple[str, ...], int] = {}
        self._looking, self._ending = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._live, name="metrics", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Safe to call twice."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def _live(self) -> None:
        while True:
            try:
                self.look()
                self._also()
            except Exception:  # a full disk, for one: what is counted meanwhile is told later
                log.exception("numbers go on after a mistake")
            if self._ending.wait(LOOK_S):
                return

    def look(self) -> None:
        """Writes down what holds now; from any thread."""
        try:
            facts = self._facts()
        except NotReady:  # it is about to end
            return
        with self._looking:
            self._take(facts)

    def _take(self, facts: Facts) -> None:
        set_, program = self._meter.set, self._meter.program
        set_("clipstack_memory_bytes", _resident_bytes(), program)
        if program == "web":
            self._admission(facts["admission"])
        for state, count in facts["slots"].items():
            set_("clipstack_slots", count, program, state)
        decoder, ways, decoding = facts["decoder"], facts["transports"], facts["decoding"]
        set_("clipstack_decoders", decoder["busy"], program, "busy")
        set_("clipstack_decoders", decoder["processes"] - decoder["busy"], program, "free")
        set_("clipstack_decoder_waiting", decoder["waiting"], program)
        self._totals("clipstack_decoder_ends_total", dict.fromkeys(ENDS, 0) | decoder["ends"], program)
        none = dict.fromkeys(ways["chain"], 0)
        self._totals("clipstack_clips_total", none | ways["clips"], program)
        self._totals("clipstack_transport_refusals_total", none | ways["refusals"], program)
        self._totals("clipstack_region_registrations_total", none | ways["registrations"], program)
        for way in ways["chain"]:
            set_("clipstack_transport_in_use", way == ways["last"], program, way)
        self._totals("clipstack_videos_decoded_total", {"cpu": 0} | decoding["videos"], program)
        self._total("clipstack_videos_not_on_gpu_total", sum(decoding["not_on_gpu"].values()), program)

    def _admission(self, told: Facts) -> None:
        for lane, (at_work, waiting) in told["lanes"].items():
            self._meter.set("clipstack_at_work", at_work, lane)
            self._meter.set("clipstack_waiting", waiting, lane)
        self._meter.set("clipstack_work_limit", told["limit"])
        self._meter.set("clipstack_backlog_seconds", told["backlog_s"])
        self._totals("clipstack_refusals_total", dict.fromkeys(REASONS, 0) | told["refused_by"])

    def _totals(self, name: str, totals: Mapping[str, int], *labels: str) -> None:
        for last, total in totals.items():
            self._total(name, total, *labels, last)

    def _total(self, name: str, total: int, *labels: str) -> None:
        """A counter is to have what was counted since the last look besides."""
        key = (name, *labels)
        if total != self._seen.get(key):
            self._meter.count(name, *labels, by=max(0, total - self._seen.get(key, 0)))
        self._seen[key] = total


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
