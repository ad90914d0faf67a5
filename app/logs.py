"""Lines of the log: one JSON object each for machines, words for a terminal; CLIPSTACK_LOG_FORMAT says which.

What others sent is never trusted in a log: it is escaped, so that it cannot begin a line, or steer a terminal, and cut.
Nothing here writes files or rotates them: lines go to stderr, which Supervisor keeps (supervisor/programs).
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

MOST_WORDS, MOST_FACT, MOST_STORY = 2000, 300, 8000  # characters of a message, of a fact, of an exception's story

REPEAT_S = 60.0
MOST_REPEATS = 1000
DISK_FULL = "the disk is full"
FULL_WORDS = (os.strerror(ENOSPC), os.strerror(EDQUOT), "database or disk is full")


def set_up(level: str, form: str) -> None:
    """For this process and what it forks; `form` is `auto`, `json` or `text`."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(form))
    handler.addFilter(RepeatFilter())
    logging.basicConfig(level=level.upper(), handlers=[handler])


class RepeatFilter(logging.Filter):
    """Let a warning or error through once a minute, however often it comes; the next one says how often it came.

    All that a logger says of a full disk counts as the same, and is one line without the exception's story: a program
    that looks ten times a second would else fill what is left with tracebacks.
    """

    def __init__(self, every_s: float = REPEAT_S) -> None:
        super().__init__()
        self._every_s = every_s
        self._passed: dict[tuple[str, str], tuple[float, int]] = {}  # when it came through, and how often it came since

    def filter(self, record: logging.LogRecord) -> bool:
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
    """That of `form`; `auto` is text on a terminal and JSON elsewhere."""
    return TextFormatter() if form == "text" or (form == "auto" and sys.stderr.isatty()) else JsonFormatter()


class JsonFormatter(logging.Formatter):
    """One object a line, in ASCII; a record's `facts` (`extra=`) are fields of their own."""

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "request_id": request_id.get(),
            "message": _cut(record.getMessage(), MOST_WORDS),
        }
        for name, fact in _facts(record).items():
            told.setdefault(name, _cut(fact, MOST_FACT) if isinstance(fact, str) else fact)
        if record.exc_info:
            told["story"] = _story(record)
        return json.dumps({name: value for name, value in told.items() if value != ""}, default=str)


class TextFormatter(logging.Formatter):
    """For a person: a line, and an exception's story below it, set in."""

    def format(self, record: logging.LogRecord) -> str:
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
    """Without a character that would end the line or steer a terminal: they are written as in Python."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    facts: dict[str, Any] = getattr(record, "facts", {})
    return facts


def _word(fact: Any) -> str:
    if isinstance(fact, dict):
        return ",".join(f"{name}:{value}" for name, value in fact.items())
    return str(fact)


def _story(record: logging.LogRecord) -> str:
    """The end of it, which says most."""
    story = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
    return story if len(story) <= MOST_STORY else "…" + story[-MOST_STORY:]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most] + "…"


def _time(record: logging.LogRecord) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z"
