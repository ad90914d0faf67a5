"""Logging setup: one JSON object per line, or text on a terminal, chosen by CLIPSTACK_LOG_FORMAT.

Untrusted text is escaped and truncated, so that it can neither start a new line nor control a terminal.
Lines go to stderr. Supervisor writes and rotates the log files (supervisor/programs).
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
from errno import EDQUOT, ENOSPC
from sqlite3 import SQLITE_FULL
from typing import Any

from app.files import FULL
from app.request_id import request_id

MOST_WORDS, MOST_FACT, MOST_STORY = 2000, 300, 8000  # characters of a message, a field, a traceback

REPEAT_S = 60.0
MOST_REPEATS = 1000
DISK_FULL = "the disk is full"
FULL_WORDS = (os.strerror(ENOSPC), os.strerror(EDQUOT), "database or disk is full")


def set_up(level: str, form: str) -> None:
    """Configure logging for this process and its forks; `form` is `auto`, `json` or `text`."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(form))
    handler.addFilter(RepeatFilter())
    logging.basicConfig(level=level.upper(), handlers=[handler])


class RepeatFilter(logging.Filter):
    """Filter that passes the same warning or error once a minute; the next one says how many were suppressed.

    All messages of one logger about a full disk count as the same and are logged without a traceback. Otherwise a
    program that polls ten times a second would fill the rest of the disk with tracebacks.
    """

    def __init__(self, every_s: float = REPEAT_S) -> None:
        super().__init__()
        self._every_s = every_s
        self._passed: dict[tuple[str, str], tuple[float, int]] = {}  # when it last passed, suppressed since

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is logged; may rewrite its message."""
        if record.levelno < logging.WARNING:
            return True
        message = record.getMessage()
        full = _is_disk_full(record, message)
        key = (record.name, DISK_FULL if full else f"{message} {record.exc_info and record.exc_info[1]!r}")
        now = time.monotonic()
        passed, more = self._passed.get(key, (-self._every_s, 0))
        if now - passed < self._every_s:
            self._passed[key] = (passed, more + 1)
            return False
        if len(self._passed) >= MOST_REPEATS:
            self._passed.clear()
        self._passed[key] = (now, 0)
        if full:
            record.exc_info = None
            message = f"{message}: {DISK_FULL}; make room" if DISK_FULL not in message else message
        record.msg, record.args = message + (f" ({more} more like this since the last one)" if more else ""), ()
        return True


def _is_disk_full(record: logging.LogRecord, message: str) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if getattr(error, "errno", None) in FULL or getattr(error, "sqlite_errorcode", None) == SQLITE_FULL:
            return True
        error = error.__cause__ or error.__context__
    return any(words in message for words in FULL_WORDS)


def formatter(form: str) -> logging.Formatter:
    """Return the formatter for `form`; `auto` is text on a terminal and JSON elsewhere."""
    return TextFormatter() if form == "text" or (form == "auto" and sys.stderr.isatty()) else JsonFormatter()


class JsonFormatter(logging.Formatter):
    """Formatter that writes one ASCII JSON object per line; a record's `facts` (`extra=`) become fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a JSON object."""
        entry: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "request_id": request_id.get(),
            "message": _cut(record.getMessage(), MOST_WORDS),
        }
        for name, fact in _facts(record).items():
            entry.setdefault(name, _cut(fact, MOST_FACT) if isinstance(fact, str) else fact)
        if record.exc_info:
            entry["story"] = _story(record)
        return json.dumps({name: value for name, value in entry.items() if value != ""}, default=str)


class TextFormatter(logging.Formatter):
    """Formatter for people: one line, followed by an indented traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text."""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        parts = [clock, f"{record.levelname.lower():7}", record.name + ":", _cut(record.getMessage(), MOST_WORDS)]
        facts = _facts(record)
        parts += [
            f"{name}={_cut(_word(fact), MOST_FACT)}" for name, fact in facts.items() if fact not in ("", None, {})
        ]
        if request_id.get():
            parts.append(f"[{request_id.get()}]")
        lines = [printable(" ".join(parts))]
        if record.exc_info:
            lines += ["    " + printable(line) for line in _story(record).splitlines()]
        return "\n".join(lines)


def printable(text: str) -> str:
    """Return `text` with line ends and terminal control characters escaped as in a Python literal."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    facts: dict[str, Any] = getattr(record, "facts", {})
    return facts


def _word(fact: Any) -> str:
    if isinstance(fact, dict):
        return ",".join(f"{name}:{value}" for name, value in fact.items())
    return str(fact)


def _story(record: logging.LogRecord) -> str:
    """Return the traceback, truncated to its end, which says most."""
    story = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
    return story if len(story) <= MOST_STORY else "…" + story[-MOST_STORY:]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most] + "…"


def _time(record: logging.LogRecord) -> str:
    """Return the record's time in RFC 3339, in UTC, with milliseconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z"
