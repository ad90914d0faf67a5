"""Find the file in a multipart form without copying it: where it starts in the body, and how long it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData, State

from app.errors import InvalidMultipart, MissingFile, TooLarge, TooManyFiles

CHUNK_BYTES = 256 << 10  # larger ones are new pages of memory each time, which takes longer than to search them
MAX_FIELDS = 20
MAX_FIELD_BYTES = 8 << 10
MAX_HEAD_BYTES = 16 << 10  # headers of one part; a millisecond of parsing for each KiB at worst
MAX_OUTSIDE_BYTES = 64 << 10  # what stands around the parts
_BOUNDARY = re.compile(r'; *boundary *= *(?:"([^"]*)"|([^;]*))', re.IGNORECASE)
_LONE_BACKSLASH = re.compile(rb'\\(?!["\\])')
_LARGE_HEAD = f"the headers of one part have more than {MAX_HEAD_BYTES >> 10} KiB, or much comes after the form's end"


class FormFile(NamedTuple):
    """The range of the body in which the form's file lies, its name, and the other fields."""

    offset: int
    length: int
    name: str
    fields: dict[str, str]


def boundary_of(content_type: str) -> str:
    """Return the boundary that a Content-Type names; empty when it names none.

    Unquoted characters that should be quoted (RFC 2046: / : = ?) are taken as they come.
    """
    match = _BOUNDARY.search(content_type)
    return (match[1] or match[2] or "").strip() if match else ""


def find_file(body: Path, boundary: str) -> FormFile:
    """Return where the part `file` of the form in `body` lies.

    Raises InvalidMultipart, MissingFile, TooManyFiles or TooLarge.
    """
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
    return FormFile(form.offset, form.length, form.name, form.fields)


class _Decoder(MultipartDecoder):
    """Werkzeug's decoder, with the headers that it refuses or misreads.

    Names in Latin-1 come from curl on Windows, whole paths with backslashes from old browsers.
    """

    def _parse_headers(self, data: bytes | bytearray) -> Headers:
        if len(data) > MAX_HEAD_BYTES:
            raise TooLarge(_LARGE_HEAD)
        try:
            data.decode()
        except UnicodeDecodeError:
            data = data.decode("latin-1").encode()
        return super()._parse_headers(_LONE_BACKSLASH.sub(rb"\\\\", data))


class _Form:
    """Feed the decoder and keep positions instead of content."""

    def __init__(self, boundary: bytes) -> None:
        self._decoder = _Decoder(boundary, max_form_memory_size=None, max_parts=MAX_FIELDS)
        self._delimiter = b"--" + boundary
        self._fed = 0
        self._part: str | None = None
        self._whole = False
        self.offset: int | None = None
        self.length = 0
        self.name = ""
        self.fields: dict[str, str] = {}

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """Cut the chunk a line break before what may be a delimiter.

        With one in its buffer the decoder searches all of it with a regular expression: 10 ms a MiB.
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
        """Take the next bytes of the body, None at its end; raises ValueError for what is no form."""
        self._decoder.receive_data(chunk)
        self._fed += len(chunk or b"")
        while not isinstance(event := self._decoder.next_event(), NeedData):
            self._handle(event)
            if self._whole:
                break
        # The decoder keeps all but a file's content until it can be parsed; unbounded, that is a whole body.
        if len(self._decoder.buffer) > MAX_OUTSIDE_BYTES:
            if self._decoder.state is State.PREAMBLE:
                raise ValueError("no part")
            raise TooLarge(_LARGE_HEAD)
        if chunk is None and not self._whole:
            raise ValueError("cut off")

    def _handle(self, event: Event) -> None:
        match event:
            case File() | Field(name="file"):  # some programs send the file without a filename
                self._start_file(event)
            case Field():
                self._part = event.name or ""
                self.fields[self._part] = ""
            case Data():
                self._data(event.data)
            case Epilogue():
                self._whole = True

    def _start_file(self, event: File | Field) -> None:
        if event.name != "file":
            name = (event.name or "")[:40]
            raise InvalidMultipart(f"the file came in the form field {name!r}: send it in the field 'file'")
        if self.offset is not None:
            raise TooManyFiles("send one file at a time")
        encoding = event.headers.get("Content-Transfer-Encoding", "binary").strip().lower()
        if encoding not in ("binary", "8bit", "7bit"):
            raise InvalidMultipart(
                f"the file is sent in the transfer encoding {encoding[:40]!r}: send its bytes as they are"
            )
        # What the decoder has not used yet starts with the line break before the file's first byte.
        line_break = 2 if self._decoder.buffer.startswith(b"\r\n") else 1
        self.offset = self._fed - len(self._decoder.buffer) + line_break
        self.name, self._part = event.filename if isinstance(event, File) else "", None

    def _data(self, data: bytes) -> None:
        if self._part is None:
            self.length += len(data)
            return
        value = self.fields[self._part] + data.decode("utf-8", "replace")
        if len(value) > MAX_FIELD_BYTES:
            raise TooLarge(f"the form's field {self._part[:40]!r} is too large")
        self.fields[self._part] = value
