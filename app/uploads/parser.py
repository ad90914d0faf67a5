"""Uploads: a file as the raw body, in a multipart form, or as base64 in JSON.

nginx writes each body to a file and sends its path in `X-Upload-Path`. Only nginx can set that header: it overwrites
a client's, and no other program can connect to the app's socket. A form's file is not copied out of the body: the
decoder opens the byte range of the file.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import unquote

from flask import Request

from app.errors import BadRequest, EmptyFile, InvalidMultipart, MissingFile, RequestTimeout, TooLarge, UnsupportedMedia
from app.files import full_disk_errors
from app.media.types import Source
from app.uploads.json_body import REMOTE, read_json
from app.uploads.multipart import CHUNK_BYTES, find_files, parse_boundary

MAX_JSON_BYTES = 16 << 20  # base64 is a third longer than the file: larger files are better sent raw
MAX_NAME = 200
MIN_BYTES_S = 8 << 10  # minimum speed of an upload over minutes, bytes/s
_HOW_TO_SEND = "send the file as the form field 'file', as the raw body, or as base64 in JSON"
_HEAD_BYTES = 512
# First bytes of bodies with a wrong Content-Type; no picture or video starts like them.
_JSON = re.compile(rb"""(?:\xef\xbb\xbf)?\s*\{\s*["}]""")
_MULTIPART = re.compile(rb"--[^\r\n]{1,200}\r?\nContent-", re.IGNORECASE)
_URLENCODED = re.compile(rb"[\w.%+-]{1,64}=")
_DATA_URL = re.compile(rb"data:[\w.+-]+/[\w.+-]+[;,]", re.IGNORECASE)


@dataclass(slots=True)
class Upload:
    """A received file and the other fields of its form or JSON; `name` is for display only, never a path.

    Where the request names a file elsewhere, `url` is its address and `source` an empty file to download it to.
    `more` are the further files of the same form. With any, the files' content has not been checked.
    """

    source: Source
    name: str
    fields: dict[str, str] = field(default_factory=dict)
    url: str = ""
    more: tuple[Upload, ...] = ()

    def check(self) -> None:
        """Raise EmptyFile, or the error for content that is not a file but an encoding of one."""
        if self.source.length == 0:
            raise EmptyFile("the file is empty")
        _check_content(self.source.read(_HEAD_BYTES))


# Opens what a JSON body names instead of carrying the file, such as a resumable upload
Opener = Callable[[str], AbstractContextManager[Upload]]


@contextmanager
def receive(
    request: Request,
    folder: Path,
    max_bytes: int,
    openers: Mapping[str, Opener] | None = None,
    max_files: int = 1,
    file_optional: bool = False,
) -> Iterator[Upload]:
    """Yield the upload of this request; remove its temporary files in `folder` when the block ends.

    Args:
        request: The request.
        folder: Folder of nginx's files and of temporary ones.
        max_bytes: Largest body.
        openers: A function for each member that may stand in the place of `file` in JSON.
        max_files: Number of files that a form may have.
        file_optional: Whether JSON may have parameters alone; the upload's length is then 0.

    Raises:
        UnsupportedMedia: The body is compressed.
        MissingFile: The request carries no file.
        EmptyFile: The file is empty.
        TooManyFiles: The form has more than `max_files` files.
        InvalidMultipart: The form is damaged or cut off.
        TooLarge: The file or another part of the body is too large.
        RequestTimeout: The upload was too slow.
        BadRequest: The JSON is invalid, or the upload cannot be read.
        StorageFull: The disk is full.
    """
    encodings = {encoding.strip().lower() for encoding in request.headers.get("Content-Encoding", "").split(",")}
    if unsupported := sorted(encodings - {"", "identity"}):
        raise UnsupportedMedia(f"the body is compressed ({', '.join(unsupported)[:40]}): send the file as it is")
    with ExitStack() as cleanup:
        body = _body_file(request, folder, max_bytes, cleanup)
        upload = _parse(request, body, _Options(folder, openers or {}, max_files, file_optional), cleanup)
        lacks_file = upload.source.length == 0 and not upload.url and not upload.more
        if lacks_file and not (file_optional and upload.fields):
            raise EmptyFile("the file is empty")
        for item in (upload, *upload.more):
            item.name = display_name(item.name)
        try:
            yield upload
        except FileNotFoundError as error:
            if body.exists():
                raise
            # nginx deletes its file on disconnect.
            raise BadRequest("the client closed the connection before its file was read") from error


def display_name(name: str) -> str:
    """Return the last part of a path of any system, without unprintable characters, cut to MAX_NAME."""
    return "".join(c for c in re.split(r"[/\\]", name)[-1] if c.isprintable())[:MAX_NAME]


class _Options(NamedTuple):
    """The arguments of `receive` that parsing needs."""

    folder: Path
    openers: Mapping[str, Opener]
    max_files: int
    file_optional: bool


def _parse(request: Request, body: Path, options: _Options, cleanup: ExitStack) -> Upload:
    """Return the file in the body by its Content-Type; where that is plainly wrong, by the body's first bytes."""
    content_type = request.headers.get("Content-Type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type.startswith("multipart/"):
        return _from_form(body, content_type, options.max_files)
    with body.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if media_type in ("application/json", "text/json") or media_type.endswith("+json") or _JSON.match(head):
        return _from_json(body, options, cleanup)
    _check_raw(head, media_type)
    name = unquote(_as_utf_8(request.headers.get("X-File-Name", "")))
    return Upload(Source(str(body), 0, body.stat().st_size), name)


def _as_utf_8(value: str) -> str:
    """Return a header's value, which WSGI decodes as Latin-1, as UTF-8 where that is valid."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _check_raw(head: bytes, media_type: str) -> None:
    """Raise an error if the raw body is not a file but an encoding of one; it says what to send."""
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


def rejected_path(path: Path) -> Path:
    """Return the name that an upload's file gets when it was too slow (app/pipeline/upload_guard.py)."""
    return path.with_name(f"slow-{path.name.removeprefix('slow-')}")


def _body_file(request: Request, folder: Path, max_bytes: int, cleanup: ExitStack) -> Path:
    """Return the file with the body: the one that nginx wrote, or else a temporary copy of the stream."""
    upload_path = request.headers.get("X-Upload-Path")
    if upload_path:
        path = Path(upload_path)
        if rejected_path(path).exists():
            raise RequestTimeout(
                f"the upload was slower than {MIN_BYTES_S >> 10} KiB/s for minutes and was stopped: send a smaller "
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
        raise MissingFile(f"the request has no body: {_HOW_TO_SEND}")
    path, file = _temporary_file(folder, cleanup)
    with file, full_disk_errors():
        remaining = max_bytes
        while chunk := request.stream.read(min(CHUNK_BYTES, remaining + 1)):
            remaining -= len(chunk)
            if remaining < 0:
                raise TooLarge(f"the file is larger than the {max_bytes >> 20} MiB allowed")
            file.write(chunk)
    return path


def _temporary_file(folder: Path, cleanup: ExitStack) -> tuple[Path, IO[bytes]]:
    """Create a temporary file; `cleanup` removes it at the end."""
    with full_disk_errors():
        descriptor, name = tempfile.mkstemp(prefix="body-", dir=folder)
    path = Path(name)
    # An open descriptor marks the file as in use (app/pipeline/leftovers.py).
    cleanup.callback(os.close, os.dup(descriptor))
    cleanup.callback(path.unlink, missing_ok=True)
    return path, os.fdopen(descriptor, "wb")


def _from_json(body: Path, options: _Options, cleanup: ExitStack) -> Upload:
    if body.stat().st_size > MAX_JSON_BYTES:
        raise TooLarge(f"JSON bodies may have {MAX_JSON_BYTES >> 20} MiB: send larger files as a form or raw")
    path, file = _temporary_file(options.folder, cleanup)
    with file, full_disk_errors():
        members = read_json(body, file, options.openers.keys(), options.file_optional)
    url = _remote(members)
    fields = {name: _as_text(value) for name, value in members.items() if value is not None}
    name = fields.pop("name", "")
    for member, opener in options.openers.items():
        if member in fields:
            upload = cleanup.enter_context(opener(fields.pop(member)))
            return replace(upload, name=name or upload.name, fields=fields)
    return Upload(Source(str(path), 0, path.stat().st_size), name, fields, url)


def _remote(members: dict[str, Any]) -> str:
    """Take the address of a file elsewhere out of the JSON; "" if there is none. Raises BadRequest."""
    urls = {name: members.pop(name) for name in REMOTE if name in members}
    url = next((url for url in urls.values() if url is not None), "")
    if not isinstance(url, str) or (urls.get("s3") and not url.startswith("s3://")):
        raise BadRequest('"url" must be a string such as "https://host/clip.mp4", "s3" one such as "s3://bucket/key"')
    return url


def _as_text(value: Any) -> str:
    """Return a JSON value as a form would send it; some clients write whole numbers as 3.0, lists stay JSON."""
    if isinstance(value, list):
        return json.dumps(value)
    if isinstance(value, dict):
        return "{...}"  # no parameter takes it, but the message shows it
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _from_form(body: Path, content_type: str, max_files: int) -> Upload:
    """Return the uploads in a multipart form, as byte ranges of the body."""
    boundary = parse_boundary(content_type)
    if not boundary:
        raise InvalidMultipart(
            "the form has no boundary: Content-Type must be 'multipart/form-data; boundary=...'; programs set it "
            "themselves when they are not given a Content-Type"
        )
    files, fields = find_files(body, boundary, max_files)
    first, *more = [Upload(Source(str(body), file.offset, file.length), file.name, fields) for file in files]
    first.more = tuple(more)
    if not more:
        _check_content(first.source.read(_HEAD_BYTES))
    return first
