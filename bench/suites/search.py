"""Search among 100,000 windows of kept jobs: latency, recall against exact search, and memory.

The embeddings have the size of those of `objects`. Each of 2,000 scenes is in 50 jobs. Like the features of a network
with ReLU, they have no negative numbers and a large part in common.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.jobs.search import MomentSearch, Query
from app.jobs.storage.store import JobStore
from app.jobs.storage.vectors import ROW_BYTES
from bench.fixtures.kept_jobs import SPACE, keep_job
from bench.profile import Profile

SIZE, JOBS, WINDOWS, SCENES = 1280, 200, 500, 2000
NOISE = 0.5  # of a window within its scene, which gives cosines of about 0.9
NEAREST = 5
QUERIES = 100  # for each of the profile's repeats
SEED = 0

Vectors = NDArray[np.float32]


def measure(profile: Profile) -> dict[str, Any]:
    rng = np.random.default_rng(SEED)
    embeddings, scenes = make_embeddings(rng)
    with tempfile.TemporaryDirectory(prefix="search-") as folder:
        store = JobStore(Path(folder, "jobs"))
        numbers = {
            keep_job(store, embeddings[first : first + WINDOWS]).id: first
            for first in range(0, len(embeddings), WINDOWS)
        }
        search = MomentSearch(store, len(embeddings) * ROW_BYTES)
        began = time.perf_counter()
        search.search(Query(embeddings[0], SPACE, NEAREST), None)
        first_s = time.perf_counter() - began
        times_ms, recalls, same, cpu_s = [], [], [], 0.0
        for number in rng.choice(len(embeddings), QUERIES * profile.repeats, replace=False).tolist():
            query = normalised(embeddings[number] + NOISE * rng.standard_normal(SIZE).astype(np.float32) / SIZE**0.5)
            began, cpu_began = time.perf_counter(), time.process_time()
            result = search.search(Query(query, SPACE, NEAREST), None)
            times_ms.append((time.perf_counter() - began) * 1e3)
            cpu_s += time.process_time() - cpu_began
            rows = [numbers[moment.job.id] + moment.window for moment in result.moments]
            exact = np.argsort(-(embeddings @ query))[:NEAREST]
            recalls.append(len(set(rows) & set(exact.tolist())) / NEAREST)
            same.append(float((scenes[rows] == scenes[number]).mean()))
        store.index.close()
    return {
        "about": f"{len(embeddings):,} windows of {JOBS} jobs, embeddings of {SIZE} numbers, {len(times_ms)} queries.",
        "p50_ms": round(float(np.percentile(times_ms, 50)), 2),
        "p99_ms": round(float(np.percentile(times_ms, 99)), 2),
        "cpu_ms": round(cpu_s * 1e3 / len(times_ms), 2),
        "recall_at_5": round(float(np.mean(recalls)), 4),
        "same_scene": round(float(np.mean(same)), 4),
        "first_s": round(first_s, 3),
        "memory_mib": round(len(embeddings) * ROW_BYTES / 2**20, 1),
        "exact_memory_mib": round(embeddings.nbytes / 2**20, 1),
    }


def make_embeddings(rng: np.random.Generator) -> tuple[Vectors, NDArray[np.int64]]:
    """Return embeddings float32 (JOBS * WINDOWS, SIZE), and the number of each one's scene."""
    common = rng.exponential(1, SIZE)
    centres = np.maximum(0, common + rng.standard_normal((SCENES, SIZE))).astype(np.float32)
    scenes = np.concatenate([rng.permutation(SCENES) for _ in range(JOBS * WINDOWS // SCENES)])
    embeddings = np.empty((len(scenes), SIZE), np.float32)
    for first in range(0, len(scenes), SCENES):
        rows = slice(first, first + SCENES)
        noise = NOISE * rng.standard_normal((SCENES, SIZE)).astype(np.float32)
        embeddings[rows] = normalised(np.maximum(0, centres[scenes[rows]] + noise))
    return embeddings, scenes


def normalised(vectors: Vectors) -> Vectors:
    """Return the vectors at length 1."""
    result: Vectors = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)
    return result
