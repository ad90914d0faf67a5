"""Location of the files in a multipart form, by offset and length, so that they need not be copied."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData, State

from app.errors import InvalidMultipart, MissingFile, TooLarge, TooManyFiles

CHUNK_BYTES = 256 << 10  # larger chunks need fresh memory pages each time, which costs more than the search
MAX_FIELDS = 20
MAX_FIELD_BYTES = 8 << 10
MAX_HEAD_BYTES = 16 << 10  # headers of one part; parsing takes up to 1 ms per KiB
MAX_OUTSIDE_BYTES = 64 << 10  # bytes before, between and after the parts
_BOUNDARY = re.compile(r'; *boundary *= *(?:"([^"]*)"|([^;]*))', re.IGNORECASE)
_LONE_BACKSLASH = re.compile(rb'\\(?!["\\])')
_LARGE_HEAD = f"the headers of one part have more than {MAX_HEAD_BYTES >> 10} KiB, or much comes after the form's end"


class FormFile(NamedTuple):
    """A file's byte range in the form's body, and its name."""

    offset: int
    length: int
    name: str


def parse_boundary(content_type: str) -> str:
    """Return the boundary in a Content-Type, or ""; it may have unquoted characters that RFC 2046 wants quoted."""
    match = _BOUNDARY.search(content_type)
    return (match[1] or match[2] or "").strip() if match else ""


def find_files(body: Path, boundary: str, max_files: int) -> tuple[list[FormFile], dict[str, str]]:
    """Return the parts `file` of the form in `body`, at least one, and the form's other fields.

    Raises:
        InvalidMultipart: The form is damaged, cut off, or has its file in another field or a transfer encoding.
        MissingFile: There is no `file`.
        TooManyFiles: There are more than `max_files`.
        TooLarge: There are too many fields, or a field or a part's headers are too large.
    """
    form = _Form(boundary.encode("latin-1", "replace"), max_files)
    try:
        with body.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                for part in form.split(chunk):
                    form.feed(part)
            form.feed(None)
    except RequestEntityTooLarge:
        raise TooLarge(f"the form has more than {MAX_FIELDS} fields, or a very large one") from None
    except (ValueError, UnicodeError):
        raise InvalidMultipart("the form is not valid multipart/form-data, or was cut off") from None
    # Browsers send an empty, nameless part when no file is chosen.
    if not any(file.name or file.length for file in form.files):
        raise MissingFile("the form needs a field 'file' with a file in it")
    return form.files, form.fields


class _Decoder(MultipartDecoder):
    """Werkzeug's decoder, extended to headers that it rejects or misreads.

    curl on Windows sends names in Latin-1; old browsers send whole paths with backslashes.
    """

    def _parse_headers(self, data: bytes | bytearray) -> Headers:
        """Return the headers of a part; raises TooLarge."""
        if len(data) > MAX_HEAD_BYTES:
            raise TooLarge(_LARGE_HEAD)
        try:
            data.decode()
        except UnicodeDecodeError:
            data = data.decode("latin-1").encode()
        return super()._parse_headers(_LONE_BACKSLASH.sub(rb"\\\\", data))


class _Form:
    """A form reader that records the positions of files instead of their content."""

    def __init__(self, boundary: bytes, max_files: int) -> None:
        self._max_files = max_files
        self._decoder = _Decoder(boundary, max_form_memory_size=None, max_parts=MAX_FIELDS + max_files - 1)
        self._delimiter = b"--" + boundary
        self._received = 0
        self._field: str | None = None
        self._is_complete = False
        self.files: list[FormFile] = []
        self.fields: dict[str, str] = {}

    def split(self, chunk: bytes) -> Iterator[bytes]:
        """Split the chunk one line break before each possible delimiter.

        With a delimiter in its buffer the decoder searches the whole buffer with a regular expression: 10 ms per MiB.
        """
        start = end = 0
        for _ in range(MAX_FIELDS + self._max_files):
            position = chunk.find(self._delimiter, end)
            if position < 0:
                break
            start, previous_start, end = max(start, position - len(b"\r\n")), start, position + len(self._delimiter)
            if start > previous_start:
                yield chunk[previous_start:start]
        yield chunk[start:]

    def feed(self, chunk: bytes | None) -> None:
        """Process the next bytes of the body, None at its end; raises ValueError for an invalid form."""
        self._decoder.receive_data(chunk)
        self._received += len(chunk or b"")
        while not isinstance(event := self._decoder.next_event(), NeedData):
            self._handle(event)
            if self._is_complete:
                break
        # The decoder buffers everything but file content until it can parse it: without a bound, a whole body.
        if len(self._decoder.buffer) > MAX_OUTSIDE_BYTES:
            if self._decoder.state is State.PREAMBLE:
                raise ValueError("no part")
            raise TooLarge(_LARGE_HEAD)
        if chunk is None and not self._is_complete:
            raise ValueError("cut off")

    def _handle(self, event: Event) -> None:
        match event:
            case File() | Field(name="file"):  # some clients send no filename
                self._start_file(event)
            case Field():
                self._field = event.name or ""
                self.fields[self._field] = ""
            case Data():
                self._add_data(event.data)
            case Epilogue():
                self._is_complete = True

    def _start_file(self, event: File | Field) -> None:
        """Record where a file begins; raises InvalidMultipart or TooManyFiles."""
        if event.name != "file":
            name = (event.name or "")[:40]
            raise InvalidMultipart(f"the file came in the form field {name!r}: send it in the field 'file'")
        if len(self.files) >= self._max_files:
            limit = "one file" if self._max_files == 1 else f"{self._max_files} files"
            raise TooManyFiles(f"the form has more than {limit}: send at most {limit} per request")
        encoding = event.headers.get("Content-Transfer-Encoding", "binary").strip().lower()
        if encoding not in ("binary", "8bit", "7bit"):
            raise InvalidMultipart(
                f"the file is sent in the transfer encoding {encoding[:40]!r}: send its bytes as they are"
            )
        # The decoder's unused bytes start with the line break before the file's first byte.
        line_break = 2 if self._decoder.buffer.startswith(b"\r\n") else 1
        offset = self._received - len(self._decoder.buffer) + line_break
        self.files.append(FormFile(offset, 0, event.filename if isinstance(event, File) else ""))
        self._field = None

    def _add_data(self, data: bytes) -> None:
        """Add to the last file's length or to the current field; raises TooLarge."""
        if self._field is None:
            file = self.files[-1]
            self.files[-1] = file._replace(length=file.length + len(data))
            return
        value = self.fields[self._field] + data.decode("utf-8", "replace")
        if len(value) > MAX_FIELD_BYTES:
            raise TooLarge(f"the form's field {self._field[:40]!r} is too large")
        self.fields[self._field] = value
