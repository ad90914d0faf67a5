"""Lines of the log: one JSON object each for machines, words for a terminal; CLIPSTACK_LOG_FORMAT says which.

What others sent is never trusted in a log: it is escaped, so that it cannot begin a line, or steer a terminal, and cut.
Nothing here writes files or rotates them: lines go to stderr, which Supervisor keeps (supervisor/programs).
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from typing import Any

from app.request_id import request_id

MOST_WORDS, MOST_FACT, MOST_STORY = 2000, 300, 8000  # characters of a message, of a fact, of an exception's story


def set_up(level: str, form: str) -> None:
    """For this process and what it forks; `form` is `auto`, `json` or `text`."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(form))
    logging.basicConfig(level=level.upper(), handlers=[handler])


def formatter(form: str) -> logging.Formatter:
    """That of `form`; `auto` is text on a terminal and JSON elsewhere."""
    return Words() if form == "text" or (form == "auto" and sys.stderr.isatty()) else JsonLines()


class JsonLines(logging.Formatter):
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


class Words(logging.Formatter):
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
