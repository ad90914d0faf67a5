"""Parameters of a run: those that its results depend on, and those that may change from one run to the next."""

from __future__ import annotations

from dataclasses import dataclass

TOP_K = 5


@dataclass(frozen=True)
class BulkRequest:
    """Parameters of every file; all results of a manifest have the same. See `AsyncClient` for their meanings.

    With `timeline`, videos get segments from start to end; pictures are classified.
    """

    timeline: bool = False
    model: str | None = None
    top_k: int = TOP_K
    clips: int | None = None
    sampling: str | None = None
    hop_s: float | None = None
    window_s: float | None = None
    embedding: bool = False
    min_score: float | None = None
    labels: str | None = None
    exclude: str | None = None


@dataclass(frozen=True)
class Limits:
    """Bounds of the work on one service.

    Attributes:
        concurrency: Files sent to a service at the same time.
        timeout_s: Longest silence of a service.
        patience_s: Seconds that one request waits for a busy service before its file is given to another.
        retries: Further attempts after a service failed on a file, before the file gets a row with the error.
        max_outage_s: Seconds without any answer after which a service counts as lost.
        retry_errors: Whether to repeat files of earlier runs on which a service failed.
    """

    concurrency: int = 4
    timeout_s: float = 120.0
    patience_s: float = 20.0
    retries: int = 3
    max_outage_s: float = 300.0
    retry_errors: bool = False
