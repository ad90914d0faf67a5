"""Outcomes of files as JSON lines, CSV rows and exit codes."""

import math
from collections.abc import Sequence
from typing import Any

from ...errors import ClipstackError, DownloadFailed, JobFailed, KeyRefused, RequestRefused
from ...exchange.csv_cells import escape_formula
from ...jobs import Job
from ...models import Result
from ..runner import Outcome

# click uses 2 for an invalid command line.
OK, REFUSED, SERVICE = 0, 1, 3


def exit_code(outcome: Outcome) -> int:
    """Return 0 for an answer, 1 if the file is at fault, 3 if the service is."""
    if outcome.answer is not None:
        return OK
    return REFUSED if file_at_fault(outcome.error) else SERVICE


def file_at_fault(error: ClipstackError | OSError | None) -> bool:
    """Return whether the file is at fault, so that a retry would fail too."""
    if isinstance(error, JobFailed):
        return error.at_fault != "service"
    return isinstance(error, RequestRefused | DownloadFailed | OSError) and not isinstance(error, KeyRefused)


def json_line(outcome: Outcome) -> dict[str, Any]:
    """Return the file and the service's answer, or the file and `error` in the service's format."""
    file, answer = outcome.file, outcome.answer
    line: dict[str, Any] = {"file": file.path}
    if file.size is not None:
        line |= {"size": file.size, "mtime_ns": file.mtime_ns}
    if isinstance(answer, Job):
        sent = {} if answer.sent is None else {"sent": vars(answer.sent)}
        return {**line, **answer.answer, **sent}
    if isinstance(answer, Result):
        return {**line, **answer.answer, **({} if answer.cache is None else {"cache": answer.cache})}
    return {**line, "error": error_record(outcome.error)}


def error_record(error: ClipstackError | OSError | None) -> dict[str, Any]:
    """Return an error in the service's JSON format; None stands for a file that was not sent."""
    if isinstance(error, ClipstackError):
        fields = {"code": error.code, "message": error.message, "request_id": error.request_id}
        job = {"job": error.job_id} if isinstance(error, JobFailed) else {}
        return {**fields, "status": error.status, **job}
    code = "not_sent" if error is None else "unreadable_file"
    message = "not sent: the service was unreachable" if error is None else str(error)
    return {"code": code, "message": message, "request_id": None, "status": None}


def columns(kind: str, top_k: int, decides: bool = False) -> list[str]:
    """Return the columns of a CSV: one row a file for `classify`, one row a segment for `timeline`.

    With `decides`, `classify` has the column `decision` too: the labels that pass, with semicolons, or `none`.
    """
    if kind == "timeline":
        middle = ["start_s", "end_s", "label", "score"]
    else:
        middle = [name for place in range(1, top_k + 1) for name in (f"label_{place}", f"score_{place}")]
        middle += ["decision"] if decides else []
    return ["file", "size", "mtime_ns", "model", *middle, "error"]


def rows(outcome: Outcome, names: Sequence[str]) -> list[list[str]]:
    """Return the rows of one file under the columns `names`."""
    file, answer = outcome.file, outcome.answer
    fields: dict[str, Any] = {"file": file.path, "size": file.size, "mtime_ns": file.mtime_ns}
    if answer is None:
        return [_row({**fields, "error": error_record(outcome.error)["code"]}, names)]
    fields["model"] = answer.model
    if isinstance(answer, Job):
        segments = answer.timeline.segments if answer.timeline else ()
        parts = [vars(segment) for segment in segments] or [{}]  # a row without a segment if no label passes
        return [_row({**fields, **part}, names) for part in parts]
    fields["decision"] = "; ".join(answer.decision) or "none"
    for place, prediction in enumerate(answer.predictions, 1):
        fields |= {f"label_{place}": prediction.label, f"score_{place}": prediction.score}
    return [_row(fields, names)]


def _row(record: dict[str, Any], names: Sequence[str]) -> list[str]:
    return [_cell(record.get(name)) for name in names]


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return escape_formula(value) if isinstance(value, str) else str(value)
