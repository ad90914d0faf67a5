"""Parameters of a run: those that its results depend on, and those that may change from one run to the next."""

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
    """Bounds of the work on one service."""

    concurrency: int = 4  # files sent at the same time
    timeout_s: float = 120.0  # longest silence
    patience_s: float = 20.0  # wait of one request for a busy service, before another one gets the file
    retries: int = 3  # further attempts after a service failed on a file, before it gets a row with the error
    max_outage_s: float = 300.0  # without any answer, after which the service counts as lost
    retry_errors: bool = False  # repeat files of earlier runs on which a service failed
