"""Logging setup: one JSON object per line, or text on a terminal, chosen by CLIPSTACK_LOG_FORMAT.

Untrusted text is escaped and truncated, so that it can neither start a new line nor control a terminal.
Lines go to stderr. Supervisor writes and rotates the log files (supervisor/programs).
"""

import json
import logging
import os
import sys
import time
import traceback
from contextvars import ContextVar
from errno import EDQUOT, ENOSPC
from sqlite3 import SQLITE_FULL
from typing import Any

from app.files import FULL

# Id of the current request, for log lines and Triton; a coroutine submitted to an event loop keeps its submitter's
request_id: ContextVar[str] = ContextVar("request_id", default="")

MAX_MESSAGE, MAX_FIELD, MAX_TRACEBACK = 2000, 300, 8000  # characters of a message, a field, a traceback

REPEAT_INTERVAL_S = 60.0
MAX_REMEMBERED = 1000
DISK_FULL = "the disk is full"
DISK_FULL_TEXTS = (os.strerror(ENOSPC), os.strerror(EDQUOT), "database or disk is full")


def set_up(level: str, log_format: str) -> None:
    """Configure logging for this process and its forks; `log_format` is `auto`, `json` or `text`."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(log_format))
    handler.addFilter(RepeatFilter())
    logging.basicConfig(level=level.upper(), handlers=[handler])


class RepeatFilter(logging.Filter):
    """Filter that passes the same warning or error once a minute; the next one says how many were suppressed.

    All messages of one logger about a full disk count as the same and are logged without a traceback. Otherwise a
    program that polls ten times a second would fill the rest of the disk with tracebacks.
    """

    def __init__(self, every_s: float = REPEAT_INTERVAL_S) -> None:
        super().__init__()
        self._every_s = every_s
        self._last_logged: dict[tuple[str, str], tuple[float, int]] = {}  # when it last passed, suppressed since

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is logged; may rewrite its message."""
        if record.levelno < logging.WARNING:
            return True
        message = record.getMessage()
        full = _is_disk_full(record, message)
        key = (record.name, DISK_FULL if full else f"{message} {record.exc_info and record.exc_info[1]!r}")
        now = time.monotonic()
        passed, suppressed = self._last_logged.get(key, (-self._every_s, 0))
        if now - passed < self._every_s:
            self._last_logged[key] = (passed, suppressed + 1)
            return False
        if len(self._last_logged) >= MAX_REMEMBERED:
            self._last_logged.clear()
        self._last_logged[key] = (now, 0)
        if full:
            record.exc_info = None
            message = f"{message}: {DISK_FULL}; make room" if DISK_FULL not in message else message
        suffix = f" ({suppressed} more like this since the last one)" if suppressed else ""
        record.msg, record.args = message + suffix, ()
        return True


def _is_disk_full(record: logging.LogRecord, message: str) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    visited = set[int]()
    while error is not None and id(error) not in visited:
        visited.add(id(error))
        if getattr(error, "errno", None) in FULL or getattr(error, "sqlite_errorcode", None) == SQLITE_FULL:
            return True
        error = error.__cause__ or error.__context__
    return any(phrase in message for phrase in DISK_FULL_TEXTS)


def formatter(log_format: str) -> logging.Formatter:
    """Return the formatter for `log_format`; `auto` is text on a terminal and JSON elsewhere."""
    is_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    return TextFormatter() if is_text else JsonFormatter()


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
            "message": _truncate(record.getMessage(), MAX_MESSAGE),
        }
        for name, value in getattr(record, "facts", {}).items():
            entry.setdefault(name, _truncate(value, MAX_FIELD) if isinstance(value, str) else value)
        if record.exc_info:
            entry["story"] = _format_traceback(record)
        return json.dumps({name: value for name, value in entry.items() if value != ""}, default=str)


class TextFormatter(logging.Formatter):
    """Formatter for people: one line, followed by an indented traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text."""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        parts = [clock, f"{record.levelname.lower():7}", record.name + ":", _truncate(record.getMessage(), MAX_MESSAGE)]
        fields: dict[str, Any] = getattr(record, "facts", {})
        present = {name: value for name, value in fields.items() if value not in ("", None, {})}
        parts += [f"{name}={_truncate(_to_text(value), MAX_FIELD)}" for name, value in present.items()]
        if request_id.get():
            parts.append(f"[{request_id.get()}]")
        lines = [printable(" ".join(parts))]
        if record.exc_info:
            lines += ["    " + printable(line) for line in _format_traceback(record).splitlines()]
        return "\n".join(lines)


def printable(text: str) -> str:
    """Return `text` with line ends and terminal control characters escaped as in a Python literal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _to_text(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{name}:{entry}" for name, entry in value.items())
    return str(value)


def _format_traceback(record: logging.LogRecord) -> str:
    """Return the traceback, truncated to its end, which says most."""
    text = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
    return text if len(text) <= MAX_TRACEBACK else "…" + text[-MAX_TRACEBACK:]


def _truncate(text: str, max_length: int) -> str:
    return text if len(text) <= max_length else text[:max_length] + "…"


def _time(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z"
