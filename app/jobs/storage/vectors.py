"""Coarse vectors of a job's windows: searches choose candidates by them without reading whole journals.

vectors    float32 (windows, COARSE), each of length 1, then uint32 (windows,): the number of each window's record

A coarse vector is a random projection of the window's embedding (Johnson-Lindenstrauss): its cosines are about those of
the embeddings. docs/decisions/0025-search-without-an-index.md has the measurements. The file is written when the job is
done; the journal has the embeddings themselves.
"""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.files import DamagedFile, read_file, write_file
from app.jobs.storage.journal import MAX_BYTES, read_windows

COARSE = 128
ROW_BYTES = 4 * COARSE + 4
SEED = 1
CHUNK = 1000  # windows that are projected together

Vectors = NDArray[np.float32]


class JobVectors(NamedTuple):
    """Coarse vectors of a job's windows, float32 (windows, COARSE), and the numbers of their records."""

    coarse: Vectors
    records: NDArray[np.uint32]


@lru_cache(maxsize=8)
def _projection(size: int) -> Vectors:
    """Return the projection of embeddings of `size` numbers, float32 (size, COARSE), always the same."""
    if size <= COARSE:
        return np.eye(size, COARSE, dtype=np.float32)
    # RandomState's numbers are the same in all versions of NumPy, and files are compared with those of earlier versions
    return np.random.RandomState(SEED).standard_normal((size, COARSE)).astype(np.float32)


def project(embeddings: NDArray[np.float16] | Vectors) -> Vectors:
    """Return the coarse vectors, float32 (n, COARSE), of embeddings (n, size)."""
    coarse: Vectors = embeddings.astype(np.float32) @ _projection(embeddings.shape[1])
    coarse /= np.maximum(np.linalg.norm(coarse, axis=1, keepdims=True), np.float32(1e-12))
    return coarse


def write_vectors(journal: Path, count: int, target: Path) -> None:
    """Write the coarse vectors of the journal's `count` windows; raise the errors of `read_windows`, or DamagedFile."""
    coarse, records = np.empty((count, COARSE), "<f4"), np.empty(count, "<u4")
    done = 0
    for chunk in read_windows(journal, 0, count, CHUNK):
        end = done + len(chunk.records)
        coarse[done:end], records[done:end] = project(chunk.embeddings), chunk.records
        done = end
    if done != count:
        raise DamagedFile(f"{journal} has {done} of {count} windows")
    write_file(target, coarse.tobytes() + records.tobytes())


def read_vectors(path: Path) -> JobVectors:
    """Return the coarse vectors in a file; raise FileNotFoundError, or DamagedFile if `write_vectors` wrote another."""
    content = read_file(path, MAX_BYTES)
    count, rest = divmod(len(content), ROW_BYTES)
    coarse = np.frombuffer(content, "<f4", count * COARSE).reshape(count, COARSE)
    if rest or not np.isfinite(coarse).all():
        raise DamagedFile(f"{path} has no coarse vectors")
    return JobVectors(coarse, np.frombuffer(content, "<u4", count, 4 * count * COARSE))
