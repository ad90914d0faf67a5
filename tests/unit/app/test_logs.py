"""Log lines in JSON and in text; clients cannot forge one."""

from __future__ import annotations

import errno
import io
import json
import logging
import sqlite3
import sys
from pathlib import Path

import pytest

from app import logs
from app.logs import request_id

HOSTILE = 'a\n{"level":"critical"}\r\x1b[2J\u2028\x00é'


def record(message: str, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("app.requests", logging.INFO, __file__, 1, "%s", (message,), None)
    made.facts = fields
    return made


def failed(phrase: str) -> logging.LogRecord:
    try:
        raise ValueError(phrase)
    except ValueError:
        return logging.LogRecord("app", logging.ERROR, __file__, 1, "it failed", (), sys.exc_info())


@pytest.fixture
def number() -> str:
    request_id.set("abc123")
    return "abc123"


def test_record_is_one_line_of_json_in_ascii(number: str) -> None:
    line = logs.JsonFormatter().format(record(HOSTILE, path=HOSTILE, ms=3.5, stages_ms={"infer": 2}))
    assert line.isascii() and line.isprintable()
    body = json.loads(line)
    assert body["message"] == body["path"] == HOSTILE
    assert (body["request_id"], body["level"], body["ms"], body["stages_ms"]) == (number, "info", 3.5, {"infer": 2})
    assert body["time"].endswith("Z") and len(body["time"]) == len("2026-01-01T00:00:00.000Z")


def test_extra_fields_do_not_replace_standard_ones(number: str) -> None:
    assert (
        json.loads(logs.JsonFormatter().format(record("x", level="none", request_id="forged")))["request_id"] == number
    )


def test_long_values_are_truncated() -> None:
    body = json.loads(logs.JsonFormatter().format(record("x" * 100_000, path="y" * 100_000)))
    assert (len(body["message"]), len(body["path"])) == (logs.MAX_MESSAGE + 1, logs.MAX_FIELD + 1)
    assert len(json.loads(logs.JsonFormatter().format(failed("x" * 100_000)))["story"]) == logs.MAX_TRACEBACK + 1


def test_terminal_text_has_one_line_without_control_codes(number: str) -> None:
    line = logs.TextFormatter().format(record(HOSTILE, path=HOSTILE, cache=""))
    assert line.isprintable()
    assert "\\n" in line and "\\x1b" in line and "é" in line and "[abc123]" in line
    assert "cache" not in line


def test_traceback_lines_are_indented() -> None:
    first, *rest = logs.TextFormatter().format(failed("one\n12:00:00 error   app: forged")).splitlines()
    assert first.endswith("it failed") or "it failed" in first
    assert rest and all(line.startswith("    ") for line in rest)
    assert "\n" not in logs.JsonFormatter().format(failed("one\ntwo"))


def test_auto_is_json_where_there_is_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    assert isinstance(logs.formatter("auto"), logs.JsonFormatter)
    assert isinstance(logs.formatter("text"), logs.TextFormatter)


def full_disk() -> logging.LogRecord:
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device", str(Path("/data/random")))
        except OSError as error:
            raise RuntimeError("deep inside") from error
    except RuntimeError:
        return logging.LogRecord("huey", logging.ERROR, __file__, 1, "Error reading %s", ("queue",), sys.exc_info())


def full_database() -> logging.LogRecord:
    with sqlite3.connect(":memory:") as connection:
        connection.execute("create table t (x)")
        connection.execute("pragma max_page_count = 2")
        try:
            connection.execute("insert into t values (zeroblob(100000))")
        except sqlite3.OperationalError:
            record = logging.LogRecord("huey", logging.ERROR, __file__, 1, "Error", (), sys.exc_info())
    connection.close()
    return record


def written(limit: logging.Filter, *records: logging.LogRecord) -> list[str]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.TextFormatter())
    handler.addFilter(limit)
    for record in records:
        handler.handle(record)
    return stream.getvalue().splitlines()


def test_full_disk_is_logged_once_a_minute() -> None:
    limit = logs.RepeatFilter()
    (line,) = written(limit, *(full_disk() for _ in range(600)), *(full_database() for _ in range(600)))
    assert "Error reading queue: the disk is full" in line
    assert "599 more" not in line
    soon = logs.RepeatFilter(every_s=0.0)
    assert len(written(soon, full_disk(), full_disk())) == 2


def test_repeated_error_is_logged_once() -> None:
    limit = logs.RepeatFilter()
    lines = written(limit, *(failed("same") for _ in range(50)), failed("other"))
    assert len([line for line in lines if "it failed" in line]) == 2
    limit._every_s = 0.0
    assert "(49 more like this since the last one)" in written(limit, failed("same"))[0]


def test_only_repeated_warnings_are_suppressed() -> None:
    lines = written(logs.RepeatFilter(), *(record("x") for _ in range(3)))
    requests = [logging.LogRecord("app", logging.ERROR, "", 1, "request %s failed", (n,), None) for n in range(3)]
    assert len(lines) == 3 and len(written(logs.RepeatFilter(), *requests)) == 3
