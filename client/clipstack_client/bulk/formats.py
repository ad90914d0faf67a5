"""Results as Parquet, JSON lines or CSV."""

import csv
import io
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from ..errors import ClipstackError
from ..exchange.csv_cells import escape_formula
from .journal import Row
from .rows import COLUMNS, MEDIA

FORMATS = ("parquet", "jsonl", "csv")
# A cell of a list holds JSON; each media fact has a column of its own
CSV_COLUMNS = [
    column for name in COLUMNS for column in ([f"media_{fact}" for fact in MEDIA] if name == "media" else [name])
]


class FormatUnavailable(ClipstackError):
    """The package for a format cannot be used."""

    def __init__(self, reason: ImportError) -> None:
        install = "pip install './client[bulk]' in an environment of its own"
        message = f"Parquet needs pyarrow ({reason}): {install}, or use --format jsonl"
        super().__init__(message, code="format_unavailable")


def check_format(format: str) -> None:
    """Raise FormatUnavailable if a package for the format is missing, or does not go with this NumPy."""
    if format == "parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise FormatUnavailable(error) from error


def encode(rows: Sequence[Row], format: str) -> bytes:
    """Return the content of a file with these rows, in their order."""
    return {"parquet": _parquet, "jsonl": _json_lines, "csv": _csv}[format](rows)


def _json_lines(rows: Sequence[Row]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _csv(rows: Sequence[Row]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        media = {f"media_{name}": value for name, value in (row["media"] or {}).items()}
        cells = {name: value for name, value in row.items() if name != "media"} | media
        writer.writerow({name: _cell(value) for name, value in cells.items()})
    return text.getvalue().encode("utf-8", errors="replace")


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return json.dumps(value)
    return escape_formula(value) if isinstance(value, str) else value


def _parquet(rows: Sequence[Row]) -> bytes:
    from pyarrow import Table, parquet

    content = io.BytesIO()
    valid = [{name: _unicode(value) for name, value in row.items()} for row in rows]
    parquet.write_table(Table.from_pylist(valid, schema=schema()), content, compression="zstd")
    return content.getvalue()


def _unicode(value: Any) -> Any:
    """Return a text without the lone surrogates that stand for bytes of a file name that is no UTF-8."""
    return value.encode("utf-8", errors="backslashreplace").decode() if isinstance(value, str) else value


@lru_cache(maxsize=1)
def schema() -> Any:
    """Return the schema of Parquet files."""
    import pyarrow as pa

    text, whole, real, yes_no = pa.string(), pa.int64(), pa.float64(), pa.bool_()
    facts = {
        **dict.fromkeys(("kind", "container", "codec"), text),
        **dict.fromkeys(("width", "height", "rotation", "frames", "bytes"), whole),
        **dict.fromkeys(("duration_s", "fps"), real),
        **dict.fromkeys(("truncated", "mirrored"), yes_no),
    }
    segment = pa.struct({"start_s": real, "end_s": real, "label": text, "score": real})
    types = {
        "size": whole,
        "predictions": pa.list_(pa.struct({"label": text, "score": real})),
        "decision": pa.list_(text),
        "media": pa.struct([pa.field(name, facts[name]) for name in MEDIA]),
        "segments": pa.list_(segment),
        "embedding": pa.list_(pa.float32()),
        "error_status": pa.int32(),
        "attempts": pa.int32(),
        "seconds": real,
    }
    return pa.schema([pa.field(name, types.get(name, text), nullable=name != "file") for name in COLUMNS])
