"""Recorder of a running job: writes results to the journal at once and state.json twice a second."""

import io
import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.files import FULL, DamagedFile, write_file
from app.inference.decision import DecisionRule
from app.inference.model import Model, embedding
from app.jobs.storage.journal import Journal, read
from app.jobs.storage.records import DamagedRecord, JobState
from app.jobs.storage.store import Job
from app.jobs.storage.vectors import write_vectors
from app.media.types import Media
from app.timeline.scan import ScanStarted
from app.timeline.segments import Segment, limit_segments
from app.timeline.tracks import Extent, merge_passing
from app.timeline.windows import Grid, Windows

SAVE_INTERVAL_S = 0.5
MAX_MERGING_SHARE = 0.05  # largest share of the time spent on merging a timeline that is still growing
MAX_PICTURES = 60
# Every state.json holds all segments and cuts; a film that flickers for hours has a hundred thousand of them
MAX_CUTS = 10_000
MAX_SEGMENTS = 10_000
JPEG_QUALITY = 80
MIN_ETA_TIME_S = 1.0

log = logging.getLogger(__name__)


class JobRecorder:
    """Sink for the results of one attempt (`app/timeline/run.py`); the caller holds the job's lock."""

    def __init__(self, job: Job, state: JobState) -> None:
        self._job, self._state = job, state
        self._spec = job.spec()
        self._journal: Journal | None = None
        self._model: Model | None = None
        self._rule: DecisionRule | None = None
        self._windows: Windows | None = None
        self._scores = np.empty((0, 0), np.float32)
        self._cuts: list[float] = []
        self._first = self._done = 0
        self._position_s = self._duration_s = 0.0
        self._started = self._saved_at = self._merged_at = time.monotonic()
        self._merging_s = 0.0
        self.before_scan: Callable[[Model, Grid], None] | None = None  # called before the scan starts; may raise

    def record_download(self, length: int) -> None:
        """Record the size of the downloaded video, bytes."""
        if self._state.fetched_bytes != length:
            self._state.fetched_bytes = length
            self._save()

    def resume(self, model: Model, grid: Grid) -> int:
        """Open the journal and return its number of windows; raise InvalidParameter for a label that no model has."""
        self._model, self._rule = model, model.decision_rule(self._spec.selection)
        if self.before_scan is not None:
            self.before_scan(model, grid)
        # Results of other weights, another configuration or another version are not resumed
        header: dict[str, Any] = {"model": model.name, "version": model.version, "mark": model.digest}
        header["grid"] = [grid.frames, grid.step_s, grid.hop_s]
        if self._spec.embedding:
            header["space"] = model.embedding_space
        size = model.embedding_size if self._spec.embedding else 0
        self._journal = Journal(self._job.journal, header, len(model.labels), size)
        contents = self._journal.contents
        self._scores, self._cuts = contents.scores, list(contents.cuts_s)
        self._first = self._done = len(contents.scores)
        return self._done

    def start(self, model: Model, media: Media, scan: ScanStarted) -> None:
        """Record the size of the scan and the properties of the video."""
        self._windows, self._duration_s = scan.windows, scan.duration_s
        scores = np.zeros((scan.windows.count, len(model.labels)), np.float32)
        scores[: self._done] = self._scores[: self._done]
        self._scores = scores
        state = self._state
        state.model_version, state.windows = model.version, scan.windows.count
        state.media = media.to_json("", scan.total, scan.truncated, state.fetched_bytes or self._spec.bytes)
        state.media |= {"duration_s": scan.duration_s, "fps": scan.fps}
        self._started = time.monotonic()
        self._save()

    def advance(self, time_s: float) -> None:
        """Record that decoding has reached `time_s` seconds."""
        self._position_s = time_s
        self._save_if_due()

    def add_picture(self, index: int, clip: NDArray[np.uint8]) -> None:
        """Save a JPEG of the middle frame of window `index`, uint8 (frames, height, width, 3), if it is to be kept."""
        assert self._windows is not None
        step = math.ceil(self._windows.count / MAX_PICTURES)
        if index % step == 0:
            file = io.BytesIO()
            Image.fromarray(clip[len(clip) // 2]).save(file, "JPEG", quality=JPEG_QUALITY)
            # Replaced, not overwritten: another job may share the file through a hard link
            write_file(self._job.pictures / f"{index // step}.jpg", file.getvalue())

    def add_cut(self, time_s: float) -> None:
        """Record a cut at `time_s` seconds."""
        assert self._journal is not None
        # A resumed scan finds some cuts a second time
        if len(self._cuts) < MAX_CUTS and time_s not in self._cuts:
            self._journal.append_cut(time_s)
            self._cuts.append(time_s)
            self._cuts.sort()

    def add_window(
        self, index: int, padded: bool, scores: NDArray[np.float32], features: NDArray[np.float32] | None = None
    ) -> None:
        """Record the scores of the next window, float32 (classes,), and the direction of its features."""
        assert self._journal is not None
        if index != self._done:
            raise RuntimeError(f"window {index} came after {self._done - 1}")
        self._journal.append_window(index, padded, scores, None if features is None else embedding([features]))
        self._scores[index] = scores
        self._done += 1
        state = self._state
        had_failures = (state.tries, state.deaths, state.falls) != (1, 0, 0)
        state.tries, state.deaths, state.falls = 1, 0, 0  # only repeated failures at the same window count
        if had_failures:
            self._save()  # at once: the next attempt must see the reset after a kill
        else:
            self._save_if_due()

    def finish(self, decode_s: float, infer_s: float) -> None:
        """Record the seconds spent on decoding and inference, and the final timeline."""
        timing = self._state.timing_s
        timing["decode"] = round(timing.get("decode", 0.0) + decode_s, 3)
        timing["infer"] = round(timing.get("infer", 0.0) + infer_s, 3)
        self._write_vectors()
        self._save(merge=True)

    def record_cache_miss(self) -> None:
        """Record that the cache had no result."""
        self._state.cache = "miss"

    def copy_results(self, other: Job, grid: Grid) -> bool:
        """Link the results of `other` into this job; return False if they are gone or damaged."""
        assert self._model is not None
        try:
            source = other.state()
            if source.state != "done" or source.windows is None or source.timeline is None:
                return False
            self._job.journal.unlink(missing_ok=True)
            os.link(other.journal, self._job.journal)
            for picture in other.pictures.iterdir():
                (self._job.pictures / picture.name).unlink(missing_ok=True)
                os.link(picture, self._job.pictures / picture.name)
            contents = read(self._job.journal)
            if len(contents.scores) != source.windows:
                raise DamagedFile(f"{other.journal} has {len(contents.scores)} of {source.windows} windows")
        except (OSError, DamagedFile, DamagedRecord) as error:
            if getattr(error, "errno", None) in FULL:
                raise
            self._job.journal.unlink(missing_ok=True)
            return False
        state = self._state
        state.cache, state.media = "hit", source.media
        state.model_version, state.windows = source.model_version, source.windows
        self._windows, self._duration_s = Windows(grid, source.windows), source.timeline["duration_s"]
        self._scores, self._cuts, self._done = contents.scores, contents.cuts_s, len(contents.scores)
        self._write_vectors()
        self._save(merge=True)
        return True

    def _write_vectors(self) -> None:
        """Write the file that searches read, if the job keeps embeddings."""
        if self._spec.embedding:
            write_vectors(self._job.journal, self._done, self._job.vectors)

    def close(self) -> None:
        """Flush the journal to the disk and close it; safe to call twice."""
        journal, self._journal = self._journal, None
        if journal is not None:
            journal.close()

    def _save_if_due(self) -> None:
        if time.monotonic() - self._saved_at >= SAVE_INTERVAL_S:
            now = time.monotonic()
            self._save(merge=now - self._merged_at >= self._merging_s / MAX_MERGING_SHARE)

    def _save(self, *, merge: bool = False) -> None:
        state, self._saved_at = self._state, time.monotonic()
        state.windows_done = self._done
        if self._windows is not None:
            share = self._share(self._windows)
            state.percent, state.eta_s = round(100 * share, 1), self._eta_s(share)
        if merge:
            state.timeline = self._timeline()
            self._merged_at = time.monotonic()
            self._merging_s = self._merged_at - self._saved_at
        self._job.save(state)

    def _share(self, windows: Windows) -> float:
        """Return the finished share, 0 to 1, including decoding progress towards the next window."""
        towards_next = (self._position_s - windows.start_s(self._done)) / windows.grid.hop_s
        return min(1.0, (self._done + min(0.9, max(0.0, towards_next))) / windows.count)

    def _eta_s(self, share: float) -> float | None:
        assert self._windows is not None
        elapsed, progress = time.monotonic() - self._started, share - self._first / self._windows.count
        if elapsed < MIN_ETA_TIME_S or progress <= 0:
            return None
        return round(elapsed / progress * (1 - share), 1)

    def _timeline(self) -> dict[str, Any] | None:
        if not self._done or self._windows is None or self._model is None or self._rule is None:
            return None
        windows, grid = self._windows, self._windows.grid
        complete = self._done == windows.count
        end_s = (
            self._duration_s if complete else min(self._duration_s, windows.middle_s(self._done - 1) + grid.hop_s / 2)
        )
        extent = Extent(windows, end_s, self._cuts)
        merge = partial(merge_passing, self._scores[: self._done], extent, self._rule)
        merged = limit_segments(MAX_SEGMENTS, merge, self._spec.margin)
        labels = self._model.labels
        step = math.ceil(windows.count / MAX_PICTURES)
        return {
            "duration_s": self._duration_s,
            "complete_to_s": round(end_s, 3),
            "window_s": round(grid.span_s, 6),
            "hop_s": grid.hop_s,
            "margin": self._spec.margin,
            "labels": list(labels),
            "scores": self._model.scores,
            "thresholds": list(self._model.thresholds) or None,
            "segments": [_segment_json(segment, labels) for segment in merged],
            "cuts_s": [cut for cut in self._cuts if cut < end_s],
            "pictures_s": [round(windows.middle_s(index), 3) for index in range(0, self._done, step)],
        }


def _segment_json(segment: Segment, labels: Sequence[str]) -> dict[str, Any]:
    times_s = {"start_s": round(segment.start_s, 3), "end_s": round(segment.end_s, 3)}
    return times_s | {"label": labels[segment.label], "score": round(segment.score, 4)}
