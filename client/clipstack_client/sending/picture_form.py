"""Forms with several pictures: each is one request, and each picture has its own result."""

import io
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ClipstackError, RequestRefused, ServiceFailed, ServiceUnavailable
from ..http.response import UNAVAILABLE_STATUSES
from ..http.upload import MAX_NAME_BYTES, Source, Upload, file_name
from ..models import Result
from ..parsing import parse_result

MAX_PICTURES = 64
# Pictures of one form are held in memory; a larger picture has a form of its own
MAX_FORM_BYTES = 32 << 20


@dataclass(frozen=True)
class PictureForm:
    """The body of one request; `names` are those of its pictures."""

    body: bytes
    boundary: str
    names: tuple[str, ...]

    def upload(self) -> Upload:
        """Return the form as the body of a request."""
        return Upload(io.BytesIO(self.body), None)

    @property
    def content_type(self) -> str:
        """Return the form's Content-Type."""
        return f"multipart/form-data; boundary={self.boundary}"


def picture_forms(sources: Sequence[Source]) -> Iterator[PictureForm]:
    """Yield forms with all pictures in order; raise OSError for one that cannot be read."""
    pictures: list[tuple[str, bytes]] = []
    size = 0
    for source in sources:
        content = _read(source)
        if pictures and (len(pictures) == MAX_PICTURES or size + len(content) > MAX_FORM_BYTES):
            yield _form(pictures)
            pictures, size = [], 0
        pictures.append((file_name(source) or "", content))
        size += len(content)
    if pictures:
        yield _form(pictures)


def parse_results(content: dict[str, object], names: Sequence[str]) -> list[Result | ClipstackError]:
    """Return the result of each picture; raise KeyError, TypeError or ValueError for invalid data."""
    if "results" not in content:  # the answer to a form with one picture
        return [parse_result(content)]
    rows = content["results"]
    if not isinstance(rows, list) or len(rows) != len(names):
        raise ValueError(f"{names!r} have no results")
    request_id = str(content["request_id"])
    return [_parse_row(row, request_id) for row in rows]


def _parse_row(row: dict[str, dict[str, object]], request_id: str) -> Result | ClipstackError:
    if "answer" in row:
        return parse_result(row["answer"])
    status, error = int(str(row["status"])), row["error"]
    kind = RequestRefused if 400 <= status < 500 else ServiceFailed
    kind = ServiceUnavailable if status in UNAVAILABLE_STATUSES else kind
    return kind(str(error["message"]), code=str(error["code"]), status=status, request_id=request_id)


def _form(pictures: Sequence[tuple[str, bytes]]) -> PictureForm:
    boundary = secrets.token_hex(16)
    parts = []
    for name, content in pictures:
        escaped = os.fsencode(name)[:MAX_NAME_BYTES].translate(None, b"\r\n").replace(b'"', b"%22")
        head = b'--%s\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n' % (boundary.encode(), escaped)
        parts += [head, b"Content-Type: application/octet-stream\r\n\r\n", content, b"\r\n"]
    body = b"".join([*parts, f"--{boundary}--\r\n".encode()])
    return PictureForm(body, boundary, tuple(name for name, _ in pictures))


def _read(source: Source) -> bytes:
    if isinstance(source, bytes):
        return source
    if isinstance(source, str | os.PathLike):
        return Path(source).read_bytes()
    return source.read()
