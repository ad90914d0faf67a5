"""Job worker process: takes jobs from the queue until it receives SIGTERM.

Supervisor starts it as `python -m app.job_worker`. Settings come from the environment.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from huey.consumer import Consumer

from app import logs, tracing
from app.feedback.store import FeedbackStore
from app.feedback.unsure import keep_unsure_segments
from app.jobs.clock import Clock
from app.jobs.queue import Queue
from app.jobs.storage.reconcile import Reconciler
from app.jobs.storage.retention import RetentionLimits, remove_expired
from app.jobs.storage.store import JobStore
from app.jobs.transfers import Transfers
from app.jobs.worker import Worker
from app.metrics.service import MetricsService
from app.pipeline.cache import ResultCache
from app.pipeline.worker import Pipeline
from app.settings import Settings
from app.shm.pool import remove_stale_regions
from app.web.job_serializers import record_json

BOOT = Path("/proc/sys/kernel/random/boot_id")
START = 19  # field of /proc/<pid>/stat after the name: start time in ticks since boot
POLL_S = 0.1  # polling interval of the SQLite queue; Redis notifies by itself
CHORES_S = 20.0  # between two rounds of recovery and clean-up
END_S = 8.0  # shutdown timeout; Supervisor waits longer

log = logging.getLogger("app.jobs")


def main() -> None:
    """Run the job worker until it is asked to stop."""
    # Until the consumer handles it: a process that is stopped while it starts must remove its region, too
    is_stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: is_stopped.set())
    settings = Settings.from_environment(os.environ)
    logs.set_up(settings.log_level, settings.log_format)
    logging.getLogger("huey").setLevel(logging.WARNING)
    remove_stale_regions()
    folder = JobStore(settings.data_dir / "jobs")
    queue = Queue(settings.queue, settings.data_dir, settings.node)
    pipeline = Pipeline(replace(settings, decoders=settings.job_workers, decoder_device="cpu"))
    results = ResultCache(settings.data_dir / "results", settings.results_mb << 20)
    worker = Worker(folder, queue, pipeline, results, Transfers(settings, record_json), _parent_id())
    feedback = FeedbackStore.from_settings(settings)
    if settings.feedback == "on":
        worker.after_job = partial(keep_unsure_segments, feedback, settings.unsure_below)
    queue.set_handler(worker.work)
    tracing.start(settings.otel_endpoint, "jobs")
    pipeline.start()
    monitor = MetricsService(settings, "jobs", pipeline.facts)
    monitor.start()
    threading.Thread(target=_chores, args=(worker, folder, feedback, settings), name="chores", daemon=True).start()
    consumer = _Consumer(queue, worker, settings.job_workers)
    if not is_stopped.is_set():
        consumer.run()
    monitor.stop()
    pipeline.stop()
    queue.close()
    folder.close()
    feedback.close()
    tracing.stop()


def _parent_id() -> str:
    """Return an identity of the parent process that is unique across boots and reused PIDs.

    It is "" when the parent cannot be inspected; attempts then count as having the same parent.
    """
    parent = os.getppid()
    try:
        started = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[START]
        return f"{BOOT.read_text().strip()}-{parent}-{started}"
    except (OSError, IndexError):
        return ""


class _Consumer(Consumer):  # type: ignore[misc]
    """Huey consumer that interrupts running jobs on shutdown instead of waiting for them.

    The next process resumes the interrupted jobs.
    """

    def __init__(self, queue: Queue, worker: Worker, threads: int) -> None:
        super().__init__(
            queue.huey,
            workers=threads,
            worker_type="thread",
            periodic=False,
            initial_delay=POLL_S,
            max_delay=POLL_S,
            shutdown_timeout=END_S,
            graceful_signal="TERM",
        )
        self._worker = worker

    def stop(self, graceful: bool = False) -> None:
        """Interrupt the running jobs and stop the consumer."""
        self._worker.stop()
        super().stop(graceful)


def _chores(worker: Worker, folder: JobStore, feedback: FeedbackStore, settings: Settings) -> None:
    """Run recovery and clean-up every `CHORES_S` seconds, forever."""
    reconciler, clock = Reconciler(folder), Clock(folder.index, settings.job_days)
    limits = RetentionLimits(settings.job_days, settings.max_kept_jobs, settings.job_gb << 30)

    def clean_up_feedback() -> None:
        oldest = datetime.now(UTC) - timedelta(days=settings.job_days)
        feedback.clean_up(oldest if clock.is_trusted() else None)

    chores: list[Callable[[], None]] = [reconciler.run, worker.recover, lambda: remove_expired(folder, limits, clock)]
    chores.append(clean_up_feedback)
    once = [feedback.recover]
    while True:
        # A failing chore must not keep the others from running
        for chore in once + chores:
            try:
                chore()
            except Exception:
                log.exception("chores go on after a mistake")
        once = []
        time.sleep(CHORES_S)


if __name__ == "__main__":
    main()
