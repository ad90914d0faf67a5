"""Search for the moments of kept jobs that are most similar to an embedding.

owner's done jobs (index) ──▶ coarse vectors in memory ──▶ CANDIDATES best ──▶ embeddings in the journals ──▶ moments

The index of jobs says at each search which jobs there are, so that a removed job is in no answer. Coarse vectors are
read once a job and kept in memory, the least recently used ones are dropped first.
"""

import logging
import threading
from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.files import DamagedFile, open_file
from app.jobs.storage.journal import HEAD_BYTES, Head, read_head, read_records
from app.jobs.storage.store import Job, JobStore
from app.jobs.storage.vectors import COARSE, ROW_BYTES, JobVectors, Vectors, project, read_vectors

CANDIDATES = 128  # windows whose embeddings are read
CANDIDATES_A_MOMENT = 8
MAX_JOBS = 10_000  # jobs of a search, the newest

log = logging.getLogger(__name__)


class Moment(NamedTuple):
    """One window of a job.

    `similarity` is the cosine with the query, -1 to 1. `label` is the index of its best label, `score` the label's.
    `windows` is the number of all windows of the job.
    """

    job: Job
    window: int
    start_s: float
    end_s: float
    similarity: float
    label: int
    score: float
    windows: int


class Result(NamedTuple):
    """Moments, the most similar first, and how many jobs and windows were compared."""

    moments: list[Moment]
    jobs: int
    windows: int


@dataclass(frozen=True, slots=True)
class Query:
    """A search for the windows most similar to an embedding."""

    embedding: Vectors  # float32 (size,), of length 1
    space: str  # of the embedding (`Model.embedding_space`)
    limit: int  # of moments
    apart_from: tuple[str, int] | None = None  # id of a job and number of its window, which the query is taken from


_Listed = tuple[str, float]


class _Entry(NamedTuple):
    listed: _Listed
    job: Job
    head: Head


@dataclass(frozen=True, slots=True)
class _Stack:
    """Coarse vectors of several jobs in one matrix; those of job `n` are in rows `starts[n]` to `starts[n + 1]`."""

    listed: list[_Listed]  # all jobs of the index: ids with the times of their ends, because an id may return
    jobs: list[_Entry]  # those with vectors in this space
    others: set[_Listed]  # those without
    starts: NDArray[np.int64]
    coarse: Vectors  # float32 (windows, COARSE)
    records: NDArray[np.uint32]  # numbers of the windows' records

    def part(self, number: int) -> JobVectors:
        """Return the vectors of one job."""
        rows = slice(self.starts[number], self.starts[number + 1])
        return JobVectors(self.coarse[rows], self.records[rows])


class MomentSearch:
    """Search over the job folders of `store`; `max_bytes` limits the coarse vectors in memory. Thread-safe."""

    def __init__(self, store: JobStore, max_bytes: int) -> None:
        self._store, self._max_rows = store, max_bytes // ROW_BYTES
        self._stacks: dict[tuple[str | None, str], _Stack] = {}  # by owner and space; the last used at the end
        self._lock = threading.Lock()

    def search(self, query: Query, owner: str | None) -> Result:
        """Return the moments of `owner`, or of all if None, most similar to the query; raise Unavailable."""
        stack = self._stack(owner, query.space)
        candidates = _candidates(stack, query)
        by_job = defaultdict[int, list[int]](list)
        for row in candidates.tolist():
            by_job[int(np.searchsorted(stack.starts, row, side="right")) - 1].append(row)
        moments = [moment for number, rows in by_job.items() for moment in _moments(stack, number, rows, query)]
        moments.sort(key=lambda moment: -moment.similarity)
        return Result(_without_neighbours(moments, query, stack), len(stack.jobs), len(stack.coarse))

    def _stack(self, owner: str | None, space: str) -> _Stack:
        listed = self._store.index.done(MAX_JOBS, owner)
        with self._lock:
            stack = self._stacks.pop((owner, space), None)
            if stack is None or stack.listed != listed:
                stack = self._updated(stack, listed, space)
            self._stacks[owner, space] = stack
            while len(self._stacks) > 1 and sum(len(kept.coarse) for kept in self._stacks.values()) > self._max_rows:
                del self._stacks[next(iter(self._stacks))]
            return stack

    def _updated(self, stack: _Stack | None, listed: list[_Listed], space: str) -> _Stack:
        """Return the stack of the jobs `listed`, the newest that fit; known ones are taken from `stack`."""
        known = {entry.listed: number for number, entry in enumerate(stack.jobs)} if stack else {}
        others = stack.others & set(listed) if stack else set[_Listed]()
        jobs, parts, rows = list[_Entry](), list[JobVectors](), 0
        for item in listed:
            if stack and item in known:
                entry, part = stack.jobs[known[item]], stack.part(known[item])
            elif item in others or (loaded := self._load(item, space)) is None:
                others.add(item)
                continue
            else:
                entry, part = loaded
            rows += len(part.coarse)
            if rows > self._max_rows:
                break
            jobs.append(entry)
            parts.append(part)
        starts = np.cumsum([0, *(len(part.coarse) for part in parts)])
        coarse = np.concatenate([np.empty((0, COARSE), np.float32), *(part.coarse for part in parts)])
        records = np.concatenate([np.empty(0, np.uint32), *(part.records for part in parts)])
        return _Stack(listed, jobs, others, starts, coarse, records)

    def _load(self, listed: _Listed, space: str) -> tuple[_Entry, JobVectors] | None:
        """Return a job with its vectors, or None if it has none in this space."""
        job = self._store.job(listed[0])
        try:
            if job is None or not job.vectors.exists():
                return None
            head = job_head(job)
            return (_Entry(listed, job, head), read_vectors(job.vectors)) if head.space == space else None
        except (FileNotFoundError, DamagedFile) as error:
            log.warning("job %s cannot be searched: %s", listed[0], error)
            return None


def job_head(job: Job) -> Head:
    """Return the head of a job's journal; raises FileNotFoundError or DamagedFile."""
    with open_file(job.journal) as file:
        return read_head(job.journal, file.read(HEAD_BYTES))


def _candidates(stack: _Stack, query: Query) -> NDArray[np.int64]:
    """Return the rows of the best coarse vectors."""
    count = max(CANDIDATES, CANDIDATES_A_MOMENT * query.limit)
    cosines = stack.coarse @ project(query.embedding[None])[0]
    if len(cosines) <= count:
        return np.arange(len(cosines))
    return np.argpartition(cosines, len(cosines) - count)[-count:]


def _moments(stack: _Stack, number: int, rows: list[int], query: Query) -> list[Moment]:
    """Return the moments of rows of one job, by its embeddings; none if the job was removed meanwhile."""
    _, job, head = stack.jobs[number]
    first, count = int(stack.starts[number]), int(stack.starts[number + 1] - stack.starts[number])
    try:
        records = read_records(job.journal, head.record_type, stack.records[rows].tolist())
    except FileNotFoundError:
        return []
    except DamagedFile as error:
        log.warning("job %s cannot be searched: %s", job.id, error)
        return []
    similarities = records["embedding"].astype(np.float32) @ query.embedding
    labels, scores = records["scores"].argmax(axis=1), records["scores"].max(axis=1)
    frames, step_s, hop_s = head.grid
    moments = []
    for row, similarity, label, score in zip(
        rows, similarities.tolist(), labels.tolist(), scores.tolist(), strict=True
    ):
        window = row - first
        start_s = window * hop_s
        moments.append(Moment(job, window, start_s, start_s + (frames - 1) * step_s, similarity, label, score, count))
    return moments


def _without_neighbours(moments: list[Moment], query: Query, stack: _Stack) -> list[Moment]:
    """Return at most `limit` moments, without those next to a better one or to the query's own window."""
    reaches = {entry.job.id: _reach(entry.head) for entry in stack.jobs}
    taken = defaultdict[str, list[int]](list)
    if query.apart_from is not None:
        taken[query.apart_from[0]].append(query.apart_from[1])
    chosen = []
    for moment in moments:
        windows = taken[moment.job.id]
        if all(abs(moment.window - other) > reaches[moment.job.id] for other in windows):
            windows.append(moment.window)
            chosen.append(moment)
            if len(chosen) == query.limit:
                break
    return chosen


def _reach(head: Head) -> int:
    """Return how many windows after another one a window is still its neighbour: it overlaps, or is the next."""
    frames, step_s, hop_s = head.grid
    return max(1, int((frames - 1) * step_s / hop_s))
