"""Parser for a JSON body that carries a file in base64.

{"name": "clip.mp4", "file": "AAAAIGZ0eXBpc29t...", "top_k": 3}
                              `--------,---------'
                       any length: decoded piece by piece into a file

The rest of the body has at most MAX_REST characters. Memory, and how long the interpreter's lock is held, depend
on CHUNK_BYTES, never on the size of the body.
"""

import binascii
import codecs
import json
import mmap
import re
import secrets
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

from app.errors import BadRequest, MissingFile, TooLarge

CHUNK_BYTES = 256 << 10
MAX_REST = 64 << 10  # characters of the body that are not the file
MAX_STRING = 16 << 10  # characters of a string that is not the file
_EXAMPLE = '{"file": "<base64>", "name": "clip.mp4"}'
_NOT_BASE64 = 'the field "file" is not base64: it must be the file itself, encoded, not its name or address'
REMOTE = ("url", "s3")  # fields that name a file elsewhere, instead of `file`
_FILE_KEY = re.compile(rb'[{,]\s*"file"\s*:\s*"')
_SHORT = re.compile(rb'(?:[^"\\]|\\.)*+"', re.DOTALL)  # a string after its first quote
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_ESCAPE = re.compile(r"\\.", re.DOTALL)
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_WHITESPACE = b" \t\r\n\f\v"
_DATA_URL = re.compile(r"\s*data:[^,]*,", re.IGNORECASE)


def read_json(
    body: Path, content: IO[bytes], references: Collection[str] = (), file_optional: bool = False
) -> dict[str, Any]:
    """Write the decoded `file` of the JSON in `body` to `content` and return the other members.

    Without `file` there is exactly one member of REMOTE or of `references`, and nothing is written. With
    `file_optional` there may be none of them.

    Raises:
        BadRequest: The body is not JSON, `file` is not base64, or the JSON names several files.
        MissingFile: There is no file.
        TooLarge: The rest of the body, or one of its strings, is too long.
    """
    decoder = Base64Decoder(content)
    placeholder = secrets.token_hex(16)
    try:
        with _open_utf_8(body) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            start, end = _long_file(data)
            for piece in _pieces(data, start, end):
                decoder.feed(piece)
            members = _parse(data, start, end, placeholder)
    except (ValueError, RecursionError):
        raise BadRequest(f"the body is not valid JSON; it must look like {_EXAMPLE}") from None
    members = members if isinstance(members, dict) else {}
    sources = [name for name in ("file", *REMOTE, *references) if members.get(name) is not None]
    if not sources and file_optional and members:
        return members
    if not sources:
        raise MissingFile(f'the JSON body needs a field "file" with the file in base64, or "url": {_EXAMPLE}')
    if len(sources) > 1:
        raise BadRequest(f"the JSON body names several files, by {' and '.join(sources)}: send one of these fields")
    if sources != ["file"]:
        return members
    encoded = members.pop("file")
    if not isinstance(encoded, str):
        raise BadRequest('the field "file" must be a string: the file in base64')
    if not end:
        decoder.feed(encoded)
    elif encoded != placeholder:
        raise BadRequest('the JSON body has the field "file" twice')
    decoder.finish()
    return members


@contextmanager
def _open_utf_8(body: Path) -> Iterator[BinaryIO]:
    """Open the body, or a temporary copy in UTF-8 if it has another encoding."""
    with body.open("rb") as file:
        encoding = json.detect_encoding(file.read(4))
        if encoding.startswith("utf-8"):
            yield file
            return
    with body.open(encoding=encoding) as text, tempfile.TemporaryFile(dir=body.parent) as copy:
        while chunk := text.read(CHUNK_BYTES):
            copy.write(chunk.encode())
        copy.flush()
        yield copy


def _long_file(data: mmap.mmap) -> tuple[int, int]:
    """Return start and end of the string `file`, without its quotes, if it is longer than MAX_STRING; else 0, 0."""
    for key in _FILE_KEY.finditer(data[: 4 * MAX_REST]):
        start = key.end()
        if not _SHORT.match(data[start : start + MAX_STRING + 1]):
            return start, _next_quote(data, start)  # which ends it: base64 contains no backslash and no quote
    return 0, 0


def _next_quote(data: mmap.mmap, start: int) -> int:
    """Return the place of the next quote; raise ValueError without one."""
    for place in range(start, len(data), CHUNK_BYTES):
        if (quote := data.find(b'"', place, place + CHUNK_BYTES)) >= 0:
            return quote
    raise ValueError("the string does not end")


def _parse(data: mmap.mmap, start: int, end: int, placeholder: str) -> Any:
    """Return the value of the JSON, with `placeholder` for the bytes from `start` to `end`.

    Raises ValueError if it is invalid, TooLarge if it is too long or has another long string.
    """
    replaced = data[:start] + placeholder.encode() if end else b""
    # An incremental decoder, because the slice may end inside a character
    rest = codecs.getincrementaldecoder("utf-8-sig")().decode(replaced + data[end : end + 4 * MAX_REST])
    if any(len(_ESCAPE.sub(" ", string[0])) > MAX_STRING for string in _STRING.finditer(rest[:MAX_REST])):
        raise TooLarge(f'no string in the JSON body but "file" may have more than {MAX_STRING >> 10} KiB')
    if len(rest) > MAX_REST:
        raise TooLarge(f'the JSON body may have at most {MAX_REST >> 10} KiB beside the field "file"')
    return json.loads(rest, strict=False)  # not strict: shells insert line breaks into strings


def _pieces(data: mmap.mmap, start: int, end: int) -> Iterator[str]:
    """Yield the text of the JSON string from `start` to `end`, without its escapes."""
    while start < end:
        stop = min(end, start + CHUNK_BYTES)
        escape = data.rfind(b"\\", max(start + 1, stop - len(r"\u002b") + 1), stop)
        if escape >= 0 and stop < end:
            stop = escape  # it may be incomplete
        piece = data[start:stop].decode(errors="replace")
        yield json.loads(f'"{piece}"', strict=False) if "\\" in piece else piece
        start = stop


class Base64Decoder:
    """A streaming decoder for all common variants of base64.

    It accepts both alphabets, line breaks, missing padding and the prefix of a `data:` URL.
    """

    def __init__(self, content: IO[bytes]) -> None:
        self._content = content
        self._tail = b""  # up to three undecoded characters
        self._started = self._padded = False

    def feed(self, text: str) -> None:
        """Write the decoded bytes of `text`; the first piece must contain any `data:` prefix. Raises BadRequest."""
        if not self._started:
            text = _without_prefix(text)
            self._started = True
        try:
            characters = text.encode("ascii").translate(_URL_SAFE, _WHITESPACE)
            self._decode(characters)
        except ValueError:  # includes the errors of binascii and Unicode
            raise BadRequest(_NOT_BASE64) from None

    def _decode(self, characters: bytes) -> None:
        """Write the bytes of all complete groups of four characters; raises ValueError."""
        characters, equals, rest_of_text = characters.partition(b"=")
        if (self._padded and characters) or rest_of_text.strip(b"="):
            raise ValueError("something comes after the padding")
        self._padded = self._padded or bool(equals)
        characters = self._tail + characters
        complete = len(characters) // 4 * 4
        self._tail = characters[complete:]
        self._content.write(binascii.a2b_base64(characters[:complete], strict_mode=True))

    def finish(self) -> None:
        """Write the last bytes; raises BadRequest if a single character is left over."""
        if len(self._tail) == 1:
            raise BadRequest('the base64 of the field "file" is cut off: one character is left over')
        try:
            self._content.write(binascii.a2b_base64(self._tail + b"=" * (-len(self._tail) % 4), strict_mode=True))
        except ValueError:
            raise BadRequest(_NOT_BASE64) from None


def _without_prefix(text: str) -> str:
    """Return the text after the prefix of a `data:` URL; raises BadRequest unless that says base64."""
    prefix = _DATA_URL.match(text)
    if prefix is None:
        return text
    if not prefix[0].rstrip(" ,").lower().endswith(";base64"):
        raise BadRequest('the field "file" is a data: URL without ";base64": send the file in base64')
    return text[prefix.end() :]
