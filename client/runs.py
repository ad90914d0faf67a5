"""Classifies many files at once, and hands the outcomes on in the order of the files."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from client.answers import Result
from client.errors import ClipstackError, ServiceUnavailable, ServiceUnreachable


@dataclass(frozen=True)
class Outcome:
    """What became of one file: a result, an error, or neither when it was not sent at all."""

    file: str
    result: Result | None = None
    error: ClipstackError | OSError | None = None


def run(work: Callable[[str], Result], files: Sequence[str], jobs: int) -> Iterator[Outcome]:
    """Call `work` for every file, `jobs` at a time, and yield each outcome as soon as its turn has come.

    Once the service cannot be reached, or is busy beyond all patience, nothing more is sent.
    """
    todo: SimpleQueue[tuple[str, Future[Outcome]]] = SimpleQueue()
    futures = []
    for file in files:
        futures.append(Future[Outcome]())
        todo.put((file, futures[-1]))
    for _ in range(min(jobs, len(files))):
        # Daemons, so that Ctrl-C need not wait for answers that nobody will read.
        threading.Thread(target=_work_off, args=(todo, work), daemon=True).start()
    for future in futures:
        yield future.result()


def _work_off(todo: SimpleQueue[tuple[str, Future[Outcome]]], work: Callable[[str], Result]) -> None:
    while True:
        try:
            file, future = todo.get_nowait()
        except Empty:
            return
        try:
            future.set_result(Outcome(file, result=work(file)))
        except (ServiceUnavailable, ServiceUnreachable) as error:
            future.set_result(Outcome(file, error=error))
            _give_up(todo)
        except (ClipstackError, OSError) as error:
            future.set_result(Outcome(file, error=error))
        except BaseException as error:
            future.set_exception(error)


def _give_up(todo: SimpleQueue[tuple[str, Future[Outcome]]]) -> None:
    while True:
        try:
            file, future = todo.get_nowait()
        except Empty:
            return
        future.set_result(Outcome(file))
