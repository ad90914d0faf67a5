"""What is said of each file: its line of JSON, its rows of a CSV, and the exit code that it makes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from client.answers import Result
from client.cli.runs import Outcome
from client.errors import ClipstackError, JobFailed, KeyRefused, RequestRefused
from client.jobs import Job

# 2 is click's, for a wrong command line.
FINE, REFUSED, SERVICE, INTERRUPTED = 0, 1, 3, 130

# A spreadsheet runs a cell that begins with one of these as a formula, even when it is quoted in the CSV. The leading
# quotes are counted in, so that `unescape_formula` gives back exactly what was escaped.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠].", re.DOTALL)  # noqa: RUF001 - full-width signs too


def exit_code(outcome: Outcome) -> int:
    """0 for an answer, 1 where the file is at fault, 3 where the service is."""
    if outcome.answer is not None:
        return FINE
    return REFUSED if at_fault(outcome.error) else SERVICE


def at_fault(error: ClipstackError | OSError | None) -> bool:
    """Whether it is the file, so that another try would end the same way."""
    if isinstance(error, JobFailed):
        return error.at_fault != "service"
    return isinstance(error, RequestRefused | OSError) and not isinstance(error, KeyRefused)


def json_line(outcome: Outcome) -> dict[str, Any]:
    """The service's answer with the file before it, or `error` in the same shape as the service's."""
    file, answer = outcome.file, outcome.answer
    line: dict[str, Any] = {"file": file.path}
    if file.size is not None:
        line |= {"size": file.size, "mtime_ns": file.mtime_ns}
    if isinstance(answer, Job):
        sent = {} if answer.sent is None else {"sent": vars(answer.sent)}
        return {**line, **answer.answer, **sent}
    if isinstance(answer, Result):
        return {**line, **answer.answer, **({} if answer.cache is None else {"cache": answer.cache})}
    return {**line, "error": error_told(outcome.error)}


def error_told(error: ClipstackError | OSError | None) -> dict[str, Any]:
    """An error as JSON; none at all stands for a file that was not sent."""
    if isinstance(error, ClipstackError):
        told = {"code": error.code, "message": error.message, "request_id": error.request_id}
        job = {"job": error.job_id} if isinstance(error, JobFailed) else {}
        return {**told, "status": error.status, **job}
    code = "not_sent" if error is None else "unreadable_file"
    message = "the service was out of reach before its turn came" if error is None else str(error)
    return {"code": code, "message": message, "request_id": None, "status": None}


def columns(kind: str, top_k: int) -> list[str]:
    """The columns of a CSV: a row a file for `classify`, a row a segment for `timeline`."""
    if kind == "timeline":
        middle = ["start_s", "end_s", "label", "score"]
    else:
        middle = [name for place in range(1, top_k + 1) for name in (f"label_{place}", f"score_{place}")]
    return ["file", "size", "mtime_ns", "model", *middle, "error"]


def rows(outcome: Outcome, names: Sequence[str]) -> list[list[str]]:
    """The rows of one file under the columns `names`."""
    file, answer = outcome.file, outcome.answer
    told: dict[str, Any] = {"file": file.path, "size": file.size, "mtime_ns": file.mtime_ns}
    if answer is None:
        return [_row({**told, "error": error_told(outcome.error)["code"]}, names)]
    told["model"] = answer.model
    if isinstance(answer, Job):
        segments = answer.timeline.segments if answer.timeline else ()
        return [_row({**told, **vars(segment)}, names) for segment in segments]
    for place, prediction in enumerate(answer.predictions, 1):
        told |= {f"label_{place}": prediction.label, f"score_{place}": prediction.score}
    return [_row(told, names)]


def _row(told: dict[str, Any], names: Sequence[str]) -> list[str]:
    return [_cell(told.get(name)) for name in names]


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return escape_formula(value) if isinstance(value, str) else str(value)


def escape_formula(text: str) -> str:
    """Return text for a CSV cell that no spreadsheet runs as a formula: such text gets a quote in front."""
    return f"'{text}" if _FORMULA.match(text) else text


def unescape_formula(cell: str) -> str:
    """Return the text that `escape_formula` made `cell` of."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
