"""Receive a file: as the raw body, in a multipart form, or as base64 in JSON.

nginx writes the body of every upload to a file and hands on its path (`X-Upload-Path`, which nginx alone can set:
it overwrites what a client sends, and nobody else may open our socket). A form's file is not copied out of that
body: the decoder opens the byte range in which it lies.
"""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import IO
from urllib.parse import unquote

from flask import Request

from app.errors import (
    BadRequest,
    EmptyFile,
    InvalidMultipart,
    MissingFile,
    RequestTimeout,
    StorageFull,
    TooLarge,
    UnsupportedMedia,
)
from app.media.types import Source
from app.uploads.json_body import read_json
from app.uploads.multipart import CHUNK_BYTES, boundary_of, find_file

MAX_JSON_BYTES = 16 << 20  # base64 is a third longer than the file: larger ones are better sent as they are
MAX_NAME = 200
LEAST_BYTES_S = 8 << 10  # of an upload, over minutes
_WAYS = "send the file as the form field 'file', as the raw body, or as base64 in JSON"
_HEAD_BYTES = 512
# What a body of another type than its Content-Type begins with; no picture and no video begins like that.
_JSON = re.compile(rb"""(?:\xef\xbb\xbf)?\s*\{\s*["}]""")
_MULTIPART = re.compile(rb"--[^\r\n]{1,200}\r?\nContent-", re.IGNORECASE)
_URLENCODED = re.compile(rb"[\w.%+-]{1,64}=")
_DATA_URL = re.compile(rb"data:[\w.+-]+/[\w.+-]+[;,]", re.IGNORECASE)


@dataclass(slots=True)
class Upload:
    """One received file and the form's or JSON's other fields; `name` is for showing only, never a path."""

    source: Source
    name: str
    fields: dict[str, str] = field(default_factory=dict)


@contextmanager
def receive(request: Request, folder: Path, max_bytes: int) -> Iterator[Upload]:
    """Yield the upload of this request; its temporary files in `folder` are removed when the block ends.

    Raises MissingFile, EmptyFile, TooManyFiles, InvalidMultipart, TooLarge, BadRequest, UnsupportedMedia or
    StorageFull.
    """
    codings = {coding.strip().lower() for coding in request.headers.get("Content-Encoding", "").split(",")}
    if compressed := sorted(codings - {"", "identity"}):
        raise UnsupportedMedia(f"the body is compressed ({', '.join(compressed)[:40]}): send the file as it is")
    with ExitStack() as temporary:
        body = _body_file(request, folder, max_bytes, temporary)
        upload = _parse(request, body, folder, temporary)
        if upload.source.length == 0:
            raise EmptyFile("the file is empty")
        upload.name = _shown(upload.name)
        try:
            yield upload
        except FileNotFoundError as error:
            if body.exists():
                raise
            raise BadRequest("the sender has gone, and the file with it") from error  # nginx removes it at once


def _shown(name: str) -> str:
    """Return the last part of a path of any system, without what cannot be printed."""
    return "".join(c for c in re.split(r"[/\\]", name)[-1] if c.isprintable())[:MAX_NAME]


def _parse(request: Request, body: Path, folder: Path, temporary: ExitStack) -> Upload:
    """Return the file in the body by its Content-Type; where that is plainly wrong, by what the body begins with."""
    content_type = request.headers.get("Content-Type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type.startswith("multipart/"):
        return _from_form(body, content_type)
    with body.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if media_type in ("application/json", "text/json") or media_type.endswith("+json") or _JSON.match(head):
        return _from_json(body, folder, temporary)
    _check_raw(head, media_type)
    name = unquote(_as_utf_8(request.headers.get("X-File-Name", "")))
    return Upload(Source(str(body), 0, body.stat().st_size), name)


def _as_utf_8(value: str) -> str:
    """Return a header's value, which WSGI reads as Latin-1, as UTF-8 where it is that."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _check_raw(head: bytes, media_type: str) -> None:
    """Raise an error that says what is missing where the body is not a file but something that carries one."""
    if _MULTIPART.match(head):
        raise InvalidMultipart(
            f"the body is a multipart form, but its Content-Type is {media_type[:40]!r}: it must be "
            "'multipart/form-data; boundary=...', as `curl -F file=@clip.mp4` sends it"
        )
    if media_type == "application/x-www-form-urlencoded" and _URLENCODED.match(head):
        raise MissingFile(
            "a form in application/x-www-form-urlencoded carries no file: send multipart/form-data "
            "(`curl -F file=@clip.mp4`), or the file as the raw body (`curl --data-binary @clip.mp4`)"
        )
    _check_content(head)


def _check_content(head: bytes) -> None:
    if _DATA_URL.match(head):
        raise BadRequest('the file is a data: URL: send its bytes, or the URL as "file" in JSON')


def given_up(path: Path) -> Path:
    """Return the name that the file of an upload gets when it was too slow (app/pipeline/upload_guard.py)."""
    return path.with_name(f"slow-{path.name.removeprefix('slow-')}")


def _body_file(request: Request, folder: Path, max_bytes: int, temporary: ExitStack) -> Path:
    handed_on = request.headers.get("X-Upload-Path")
    if handed_on:
        path = Path(handed_on)
        if given_up(path).exists():
            raise RequestTimeout(
                f"the upload was slower than {LEAST_BYTES_S >> 10} KiB/s for minutes and was given up: send a smaller "
                "file, or send it over a faster connection"
            )
        if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
            raise BadRequest("the upload cannot be read")
        return path
    if (request.content_length or 0) > max_bytes:
        raise TooLarge(f"the file is larger than the {max_bytes >> 20} MiB allowed")
    if request.content_length == 0 or request.headers.get("X-Upload-Length") == "0":
        raise EmptyFile("the file is empty")
    if request.content_length is None and "chunked" not in request.headers.get("Transfer-Encoding", "").lower():
        raise MissingFile(f"the request has no body: {_WAYS}")
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
    temporary.callback(os.close, os.dup(descriptor))  # open for as long as it is used (app/pipeline/leftovers.py)
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
    path, file = _temporary_file(folder, temporary)
    with file, _disk_errors():
        members = read_json(body, file)
    fields = {name: _as_text(value) for name, value in members.items() if isinstance(value, str | int | float)}
    return Upload(Source(str(path), 0, path.stat().st_size), fields.pop("name", ""), fields)


def _as_text(value: str | float) -> str:
    """Return a JSON value as a form would send it; some programs have no whole numbers but 3.0."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _from_form(body: Path, content_type: str) -> Upload:
    boundary = boundary_of(content_type)
    if not boundary:
        raise InvalidMultipart(
            "the form has no boundary: Content-Type must be 'multipart/form-data; boundary=...'; programs set it "
            "themselves when they are not given a Content-Type"
        )
    file = find_file(body, boundary)
    source = Source(str(body), file.offset, file.length)
    _check_content(source.read(_HEAD_BYTES))
    return Upload(source, file.name, file.fields)
