"""Search in kept jobs: the nearest windows, only in the owner's jobs, never in removed ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.jobs.near_duplicates import near_duplicates
from app.jobs.search import MomentSearch, Query
from app.jobs.storage.journal import read, read_windows
from app.jobs.storage.store import Job, JobStore
from app.jobs.storage.vectors import COARSE, ROW_BYTES, project, read_vectors
from bench.fixtures.kept_jobs import HOP_S, SPACE, keep_job

SIZE = 300
ROOM = 1 << 30


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    store = JobStore(tmp_path / "jobs")
    yield store
    store.index.close()


def directions(count: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, SIZE)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def near(vectors: np.ndarray, share: float, seed: int = 1) -> np.ndarray:
    moved = vectors + share * directions(len(vectors), seed)
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)


def found(search: MomentSearch, query: np.ndarray, owner: str | None = None, **more: object) -> list[tuple[str, int]]:
    request = Query(query, **({"space": SPACE, "limit": 5} | more))  # type: ignore[arg-type]
    return [(moment.job.id, moment.window) for moment in search.search(request, owner).moments]


def test_nearest_windows_of_all_jobs_come_first(store: JobStore) -> None:
    scenes = directions(12)
    jobs = [keep_job(store, near(scenes, 0.3, seed), cuts=(0, 3, 7)) for seed in range(1, 5)]
    search = MomentSearch(store, ROOM)
    for number, scene in enumerate(scenes):
        result = search.search(Query(scene, SPACE, 4), None)
        assert {(moment.job.id, moment.window) for moment in result.moments} == {(job.id, number) for job in jobs}
        assert (result.jobs, result.windows) == (4, 48)
        similarities = [moment.similarity for moment in result.moments]
        assert similarities == sorted(similarities, reverse=True)
        assert similarities[-1] > 0.9
        moment = result.moments[0]
        assert (moment.start_s, moment.end_s) == (number * HOP_S, number * HOP_S)
        assert (moment.label, round(moment.score, 3)) == (number % 2, 0.8 if number % 2 else 0.9)


def test_similarities_are_those_of_the_embeddings(store: JobStore) -> None:
    scenes = directions(40)
    job = keep_job(store, scenes)
    query = near(scenes, 0.8)[7]
    (moment, *_) = MomentSearch(store, ROOM).search(Query(query, SPACE, 1), None).moments
    assert (moment.job.id, moment.window) == (job.id, 7)
    assert moment.similarity == pytest.approx(float(scenes[7] @ query), abs=2e-3)


def test_neighbours_of_a_better_window_are_skipped(store: JobStore) -> None:
    still = np.repeat(directions(1), 10, axis=0)
    job = keep_job(store, near(still, 0.05))
    windows = sorted(window for _, window in found(MomentSearch(store, ROOM), still[0], limit=10))
    assert all(after - before > 1 for before, after in zip(windows, windows[1:], strict=False))
    apart = found(MomentSearch(store, ROOM), still[0], limit=10, apart_from=(job.id, 4))
    assert {window for _, window in apart}.isdisjoint({3, 4, 5})


def test_only_jobs_of_owner_and_space_are_searched(store: JobStore) -> None:
    scene = directions(1)
    own, other = keep_job(store, scene, owner="ann"), keep_job(store, scene, owner="ben")
    keep_job(store, scene, owner="ann", space="objects@2 0123456789abcdef")
    search = MomentSearch(store, ROOM)
    assert found(search, scene[0], "ann") == [(own.id, 0)]
    assert found(search, scene[0], "ben") == [(other.id, 0)]
    assert found(search, scene[0], "eve") == []
    assert {job for job, _ in found(search, scene[0], None)} == {own.id, other.id}
    assert found(search, scene[0], "ann", space="camera_motion@1 ff") == []


def test_removed_jobs_are_not_found_and_new_ones_are(store: JobStore) -> None:
    scenes = directions(3)
    search = MomentSearch(store, ROOM)
    first, second = keep_job(store, scenes), keep_job(store, near(scenes, 0.2))
    assert found(search, scenes[0], limit=2) == [(first.id, 0), (second.id, 0)]
    first.remove()
    assert found(search, scenes[0], limit=1) == [(second.id, 0)]
    third = keep_job(store, scenes)
    assert found(search, scenes[0], limit=2) == [(third.id, 0), (second.id, 0)]


def test_job_removed_during_search_is_left_out(store: JobStore) -> None:
    scenes = directions(3)
    search = MomentSearch(store, ROOM)
    gone, kept = keep_job(store, scenes), keep_job(store, near(scenes, 0.2))
    assert len(found(search, scenes[0], limit=2)) == 2
    gone.journal.unlink()  # the index does not know yet
    assert found(search, scenes[0], limit=1) == [(kept.id, 0)]


def test_newest_jobs_are_searched_when_memory_is_short(store: JobStore) -> None:
    scenes = directions(10)
    jobs = [keep_job(store, near(scenes, 0.1, seed)) for seed in range(1, 5)]
    search = MomentSearch(store, 25 * ROW_BYTES)
    result = search.search(Query(scenes[0], SPACE, 4), None)
    assert (result.jobs, result.windows) == (2, 20)
    newest = {job_id for job_id, _ in store.index.done(2)}
    assert {moment.job.id for moment in result.moments} == newest
    for job in jobs:
        if job.id in newest:
            job.remove()
    assert search.search(Query(scenes[0], SPACE, 4), None).windows == 20, "older ones have room now"


@pytest.mark.parametrize("damage", ["vectors", "journal"])
def test_damaged_files_only_hide_their_own_job(store: JobStore, damage: str) -> None:
    scenes = directions(4)
    broken, whole = keep_job(store, scenes), keep_job(store, near(scenes, 0.2))
    path: Path = getattr(broken, damage)
    path.write_bytes(path.read_bytes()[:-7])
    assert found(MomentSearch(store, ROOM), scenes[3], limit=1) == [(whole.id, 3)]


def test_journal_keeps_embeddings_beside_scores(store: JobStore) -> None:
    scenes = directions(6)
    job = keep_job(store, scenes, cuts=(1, 2, 5))
    (chunk,) = read_windows(job.journal, 0, 6, 100)
    assert chunk.embeddings.dtype == np.float16
    np.testing.assert_allclose(chunk.embeddings, scenes, atol=1e-3)
    assert chunk.records.tolist() == [0, 2, 4, 5, 6, 8]
    assert read(job.journal).cuts_s == [0.5, 1.0, 2.5]
    (later,) = read_windows(job.journal, 2, 1, 100)
    assert (later.first, later.records.tolist()) == (2, [4])


def test_coarse_cosines_are_about_those_of_embeddings(store: JobStore) -> None:
    vectors = np.concatenate([directions(1), near(directions(1), 0.3), near(directions(1), 1.0)])
    job = keep_job(store, vectors)
    coarse = read_vectors(job.vectors).coarse
    assert coarse.shape == (3, COARSE)
    np.testing.assert_allclose(coarse @ coarse.T, vectors @ vectors.T, atol=0.15)
    small = np.eye(3, 8, dtype=np.float32)
    np.testing.assert_array_equal(project(small)[:, :8], small)


def test_copies_are_near_duplicates_and_parts_are_not(store: JobStore) -> None:
    scenes = directions(60)
    first = keep_job(store, scenes, owner="ann")
    keep_job(store, scenes, owner="ben")
    part = keep_job(store, scenes[:10], owner="ann")
    copy = keep_job(store, near(scenes, 0.15), owner="ann")
    assert near_duplicates(store, copy, "ann") == [first.id]
    assert near_duplicates(store, part, "ann") == []
    motion = [keep_job(store, scenes, space="camera_motion@1 ff") for _ in range(2)]
    assert near_duplicates(store, motion[0], "") == [], "the same movement is no copy"


def test_a_job_without_embeddings_has_no_vectors(store: JobStore) -> None:
    job: Job = keep_job(store, directions(2))
    job.vectors.unlink()
    assert found(MomentSearch(store, ROOM), directions(2)[0]) == []
    assert near_duplicates(store, job, "") == []
