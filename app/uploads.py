"""How a file reaches us: nginx's body file or the request's own stream; raw, as a form, or as base64 in JSON.

nginx writes the body of every upload to a file and hands on its path (`X-Upload-Path`, which nginx alone can set:
it overwrites what a client sends, and nobody else may open our socket). A form's file is not copied out of that
body: the decoder opens the byte range in which it lies.
"""

import base64
import binascii
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote

from flask import Request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData, State

from app.errors import (
    BadRequest,
    EmptyFile,
    InvalidMultipart,
    MissingFile,
    StorageFull,
    TooLarge,
    TooManyFiles,
    UnsupportedMedia,
)
from app.media import Source

CHUNK_BYTES = 256 << 10  # larger ones are new pages of memory each time, which takes longer than to look at them
MAX_FIELDS = 20
MAX_FIELD_BYTES = 8 << 10
MAX_HEAD_BYTES = 64 << 10  # of one part, and of what stands around the parts
MAX_JSON_BYTES = 16 << 20  # held in memory, nearly three times over while it is decoded: 12 MB of file
MAX_NAME = 200


@dataclass(slots=True)
class Upload:
    """One received file and the form's or JSON's other fields; `name` is for showing only, never a path."""

    source: Source
    name: str
    fields: dict[str, str] = field(default_factory=dict)


@contextmanager
def receive(request: Request, folder: Path, max_bytes: int) -> Iterator[Upload]:
    """The upload of this request; temporary files in `folder` are gone when the block ends.

    Raises MissingFile, EmptyFile, TooManyFiles, InvalidMultipart, TooLarge, BadRequest, UnsupportedMedia or
    StorageFull.
    """
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise UnsupportedMedia("compressed request bodies are not supported: send the file as it is")
    with ExitStack() as temporary:
        body = _body_file(request, folder, max_bytes, temporary)
        kind, options = parse_options_header(request.headers.get("Content-Type"))
        if kind == "multipart/form-data":
            upload = _from_form(body, options.get("boundary", ""))
        elif kind == "application/json":
            upload = _from_json(body, folder, temporary)
        else:
            name = unquote(request.headers.get("X-File-Name", ""))
            upload = Upload(Source(str(body), 0, body.stat().st_size), name)
        if upload.source.length == 0:
            raise EmptyFile("the file is empty")
        upload.name = "".join(c for c in os.path.basename(upload.name) if c.isprintable())[:MAX_NAME]
        try:
            yield upload
        except FileNotFoundError as error:
            if body.exists():
                raise
            raise BadRequest("the sender has gone, and the file with it") from error  # nginx removes it at once


def _body_file(request: Request, folder: Path, max_bytes: int, temporary: ExitStack) -> Path:
    handed_on = request.headers.get("X-Upload-Path")
    if handed_on:
        path = Path(handed_on)
        if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
            raise BadRequest("the upload cannot be read")
        return path
    if (request.content_length or 0) > max_bytes:
        raise TooLarge(f"the file is larger than the {max_bytes >> 20} MiB allowed")
    if request.content_length == 0 or request.headers.get("X-Upload-Length") == "0":
        raise EmptyFile("the file is empty")
    if request.content_length is None and "chunked" not in request.headers.get("Transfer-Encoding", ""):
        raise MissingFile("send a file: as the form field 'file', as the raw body, or as base64 in JSON")
    path, file = _temporary_file(folder, temporary)
    with file, _disk_errors():
        left = max_bytes
        while chunk := request.stream.read(min(CHUNK_BYTES, left + 1)):
            left -= len(chunk)
            if left < 0:
                raise TooLarge(f"the file is larger than the {max_bytes >> 20} MiB allowed")
            file.write(chunk)
    return path


def _temporary_file(folder: Path, temporary: ExitStack) -> tuple[Path, IO[bytes]]:
    with _disk_errors():
        descriptor, name = tempfile.mkstemp(prefix="body-", dir=folder)
    path = Path(name)
    temporary.callback(path.unlink, missing_ok=True)
    return path, os.fdopen(descriptor, "wb")


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (ENOSPC, EDQUOT):
            raise StorageFull("the service has no room for this file now; please try again later") from error
        raise


def _from_json(body: Path, folder: Path, temporary: ExitStack) -> Upload:
    if body.stat().st_size > MAX_JSON_BYTES:
        raise TooLarge(f"JSON bodies may have {MAX_JSON_BYTES >> 20} MiB: send larger files as a form or raw")
    try:
        told: Any = json.loads(body.read_bytes())
        encoded = told["file"]
        content = base64.b64decode(encoded.rpartition("base64,")[2], validate=True)
    except (KeyError, TypeError):
        raise MissingFile('the JSON body needs a field "file" with the file in base64') from None
    except (ValueError, AttributeError, RecursionError, binascii.Error):
        raise BadRequest('the body must be JSON: {"file": "<base64>", "name": "clip.mp4"}') from None
    path, file = _temporary_file(folder, temporary)
    with file, _disk_errors():
        file.write(content)
    fields = {k: str(v) for k, v in told.items() if k != "file" and isinstance(v, str | int | float | bool)}
    return Upload(Source(str(path), 0, len(content)), fields.pop("name", ""), fields)


def _from_form(body: Path, boundary: str) -> Upload:
    """Walks through the parts and remembers where the file `file` starts and how long it is."""
    if not boundary:
        raise InvalidMultipart("the form has no boundary")
    form = _Form(boundary.encode("latin-1", "replace"))
    try:
        with body.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                for piece in form.pieces(chunk):
                    form.take(piece)
            form.take(None)
    except RequestEntityTooLarge:
        raise TooLarge(f"the form has more than {MAX_FIELDS} fields, or a very large one") from None
    except (ValueError, UnicodeError):
        raise InvalidMultipart("the form is not valid multipart/form-data, or was cut off") from None
    if form.offset is None or not (form.name or form.length):  # a browser's form with no file chosen
        raise MissingFile("the form needs a field 'file' with a file in it")
    return Upload(Source(str(body), form.offset, form.length), form.name, form.fields)


_LARGE_HEAD = "the form has a very large head of a part, or very much after its end"


def _size(headers: Headers) -> int:
    """Letters of a part's head."""
    return sum(len(name) + len(value) for name, value in headers)


class _Form:
    """Feeds Werkzeug's multipart decoder and keeps positions instead of content."""

    def __init__(self, boundary: bytes) -> None:
        self._decoder = MultipartDecoder(boundary, max_form_memory_size=None, max_parts=MAX_FIELDS)
        self._delimiter = b"--" + boundary
        self._fed = 0
        self._part: str | None = None
        self._whole = False
        self.offset: int | None = None
        self.length = 0
        self.name = ""
        self.fields: dict[str, str] = {}

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """The chunk, cut a line break before what may be a delimiter.

        Where it has one in its buffer, the decoder looks through all of that with a regular expression: 10 ms a MiB.
        """
        start = end = 0
        for _ in range(MAX_FIELDS + 1):
            place = chunk.find(self._delimiter, end)
            if place < 0:
                break
            start, cut, end = max(start, place - len(b"\r\n")), start, place + len(self._delimiter)
            if start > cut:
                yield chunk[cut:start]
        yield chunk[start:]

    def take(self, chunk: bytes | None) -> None:
        """The next bytes of the body, None at its end; raises ValueError for what is no form."""
        self._decoder.receive_data(chunk)
        self._fed += len(chunk or b"")
        while not isinstance(event := self._decoder.next_event(), NeedData):
            if isinstance(event, File | Field) and _size(event.headers) > MAX_HEAD_BYTES:
                raise TooLarge(_LARGE_HEAD)
            if isinstance(event, File):
                self._start_file(event)
            elif isinstance(event, Field):
                self._part = event.name or ""
                self.fields[self._part] = ""
            elif isinstance(event, Data):
                self._data(event.data)
            elif isinstance(event, Epilogue):
                self._whole = True
                break
        # All but a file's content stays in the decoder until it makes sense: without a bound a whole body would.
        if len(self._decoder.buffer) > MAX_HEAD_BYTES:
            if self._decoder.state is State.PREAMBLE:
                raise ValueError("no part")
            raise TooLarge(_LARGE_HEAD)
        if chunk is None and not self._whole:
            raise ValueError("cut off")

    def _start_file(self, event: File) -> None:
        if event.name != "file":
            raise InvalidMultipart("the file must be in the field 'file'")
        if self.offset is not None:
            raise TooManyFiles("send one file at a time")
        # What the decoder has not used yet starts with the line break before the file's first byte.
        line_break = 2 if self._decoder.buffer.startswith(b"\r\n") else 1
        self.offset = self._fed - len(self._decoder.buffer) + line_break
        self.name, self._part = event.filename, None

    def _data(self, data: bytes) -> None:
        if self._part is None:
            self.length += len(data)
            return
        value = self.fields[self._part] + data.decode("utf-8", "replace")
        if len(value) > MAX_FIELD_BYTES:
            raise TooLarge(f"the form's field {self._part[:40]!r} is too large")
        self.fields[self._part] = value
