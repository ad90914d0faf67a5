"""Classification of several pictures of one form: each has its own answer or error.

The request's own thread works on the pictures, and up to MAX_HELPERS further threads while the worker has places for
them. So every picture under way holds a place in admission, and none is refused because others of its form run.
"""

import contextvars
import threading
from collections.abc import Callable, Sequence
from typing import Any

from app.errors import ClipstackError
from app.uploads.parser import Upload

MAX_HELPERS = 3
Classify = Callable[[Upload], dict[str, Any]]


class Batch:
    """The pictures of one form and their results, in the form's order."""

    def __init__(self, uploads: Sequence[Upload], classify: Classify) -> None:
        self._uploads, self._classify = uploads, classify
        self._lock, self._next = threading.Lock(), 0
        self._results: list[dict[str, Any]] = [{} for _ in uploads]
        self._failure: BaseException | None = None

    def run(self, help_out: Callable[[Callable[[], None]], None]) -> list[dict[str, Any]]:
        """Classify all pictures and return their results; raises a mistake of the service.

        `help_out` runs in each helper: it calls its argument while it holds a place in admission, or does nothing.
        """
        count = min(MAX_HELPERS, len(self._uploads) - 1)
        # Flask's request is in context variables, which a thread does not inherit
        helpers = [
            threading.Thread(target=contextvars.copy_context().run, args=(help_out, self._work)) for _ in range(count)
        ]
        for helper in helpers:
            helper.start()
        self._work()
        for helper in helpers:
            helper.join()
        if self._failure is not None:
            raise self._failure
        return self._results

    def _work(self) -> None:
        """Classify pictures until none is left."""
        while (number := self._take()) is not None:
            upload = self._uploads[number]
            result: dict[str, Any] = {"name": upload.name}
            try:
                self._results[number] = result | {"status": 200, "answer": self._classify(upload)}
            except ClipstackError as error:
                self._results[number] = result | {
                    "status": error.status,
                    "error": {"code": error.code, "message": error.message},
                }
            except BaseException as error:
                self._failure = error

    def _take(self) -> int | None:
        """Return the number of the next picture, None when there is none."""
        with self._lock:
            if self._next >= len(self._uploads) or self._failure is not None:
                return None
            self._next += 1
            return self._next - 1
