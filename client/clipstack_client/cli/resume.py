"""Resuming of an output file: find the finished files in it and drop its other lines."""

import csv
import io
import json
import os
from pathlib import Path
from typing import IO, Any

import click

from ..errors import JobFailed
from ..exchange.csv_cells import unescape_formula
from .output.formats import save

Key = tuple[str, int | None, int | None]

# HTTP statuses by which the service said that the file is at fault, so that a retry fails too
_FINAL_STATUSES = frozenset(range(400, 500)) - {429}


def open_output(path: Path, *, resume: bool, force: bool) -> IO[str]:
    """Open the output file for appending, or emptied with `force`.

    Raise click.UsageError if it has content and neither `resume` nor `force` is set, or it cannot be written.
    """
    try:
        if not (resume or force) and path.exists() and path.is_file() and path.stat().st_size:
            raise click.UsageError(f"{path} is not empty: continue it with --resume, or overwrite it with --force")
        return path.open("w" if force else "a", encoding="utf-8", newline="")
    except OSError as error:
        raise click.UsageError(f"{path} cannot be written: {error.strerror}") from error


def finished_keys(path: Path, format: str, kind: str, names: list[str], model: str | None) -> set[Key]:
    """Return the keys of the files with answers in `path`, after removing everything else from it.

    Removed are incomplete lines, failures of the service, and answers of another model. Raise click.UsageError if a CSV
    has other columns than `names`.
    """
    if not path.exists() or not (text := path.read_text("utf-8", errors="replace")):
        return set()
    kept, keys = _json_lines(text, kind, model) if format == "jsonl" else _csv_rows(path, text, names, model)
    if kept != text:
        save(path, kept.encode("utf-8", errors="replace"))
    return keys


def _json_lines(text: str, kind: str, model: str | None) -> tuple[str, set[Key]]:
    kept, keys = [], set()
    for line in text.splitlines(keepends=True):
        try:
            record = json.loads(line)
            key = _key(record["file"], record.get("size"), record.get("mtime_ns"))
        except (ValueError, TypeError, KeyError):
            continue
        if line.endswith("\n") and _is_final(record, kind, model):
            kept.append(line)
            keys.add(key)
    return "".join(kept), keys


def _is_final(record: dict[str, Any], kind: str, model: str | None) -> bool:
    error = record.get("error")
    if error is not None:
        if id := error.get("job"):
            return JobFailed("", code=str(error.get("code")), job_id=str(id)).at_fault == "file"
        return error.get("status") in _FINAL_STATUSES
    if ("timeline" in record) != (kind == "timeline") or record.get("state", "done") != "done":
        return False
    return model is None or model.partition("@")[0] == record.get("model")


def _csv_rows(path: Path, text: str, names: list[str], model: str | None) -> tuple[str, set[Key]]:
    complete = text[: text.rfind("\n") + 1]
    rows = list(csv.reader(io.StringIO(complete, newline="")))
    if not rows or rows[0] != names:
        raise click.UsageError(f"{path} has other columns than this command writes: use another file")
    kept, keys = [names], set()
    for row in rows[1:]:
        if len(row) != len(names):
            continue
        record = dict(zip(names, row, strict=True))
        size, mtime_ns = record["size"] or "0", record["mtime_ns"] or "0"  # standard input has neither
        used = unescape_formula(record["model"])
        answered = not record["error"] and (model is None or model.partition("@")[0] == used)
        if answered and size.isdecimal() and mtime_ns.isdecimal():
            kept.append(row)
            keys.add(_key(unescape_formula(record["file"]), int(size), int(mtime_ns)))
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(kept)
    return out.getvalue(), keys


def _key(path: str, size: int | None, mtime_ns: int | None) -> Key:
    return os.path.abspath(path), size, mtime_ns  # noqa: PTH100 - keeps symbolic links
