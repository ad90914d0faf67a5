"""Streaming parser for a JSON body that carries a file in base64.

{"name": "clip.mp4", "file": "AAAAIGZ0eXBpc29t...", "top_k": 3}
                              `--------,---------'
                       any length: decoded piece by piece into a file

The rest of the body has at most MAX_REST characters and is parsed at the end. Memory and the time for which the
interpreter's lock is held depend on CHUNK_BYTES, never on the size of the body.
"""

import binascii
import codecs
import json
import re
import secrets
from collections.abc import Callable, Collection
from pathlib import Path
from typing import IO, Any

from app.errors import BadRequest, MissingFile, TooLarge

CHUNK_BYTES = 256 << 10
MAX_REST = 64 << 10  # characters of the body that are not the file
MAX_STRING = 16 << 10  # characters of a string that is not the file
_EXAMPLE = '{"file": "<base64>", "name": "clip.mp4"}'
REMOTE = ("url", "s3")  # fields that name a file elsewhere, instead of `file`
_QUOTE_OR_BACKSLASH = re.compile(r'["\\]')
_FILE_KEY = re.compile(r'[{,]\s*"file"\s*:\s*"\Z')
_KEY_CHARACTERS = 64  # more than enough for the pattern above
_LONGEST_ESCAPE = len(r"\u002b")
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
    unescaper = _Unescaper(decoder.feed)
    splitter = _Splitter(unescaper.feed)
    try:
        with body.open("rb") as file:
            chunk = file.read(CHUNK_BYTES)
            text = codecs.getincrementaldecoder(json.detect_encoding(chunk))()
            while chunk:
                splitter.feed(text.decode(chunk))
                chunk = file.read(CHUNK_BYTES)
        splitter.feed(text.decode(b"", final=True))
        members = splitter.parse()
        unescaper.finish()
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
    if not splitter.has_long:
        decoder.feed(encoded)
    elif encoded != splitter.placeholder:
        raise BadRequest('the JSON body has the field "file" twice')
    decoder.finish()
    return members


class _Splitter:
    """A state machine that separates the long string of `file` from the rest of a JSON text."""

    def __init__(self, on_long: Callable[[str], None]) -> None:
        """Pass the long string's text, escapes included, to `on_long` piece by piece."""
        self._on_long = on_long
        self.placeholder = secrets.token_hex(16)  # replaces the long string in the rest
        self._rest: list[str] = []
        self._rest_length = self._string_length = self._string_start = 0
        self._escaped = self.has_long = False
        self._step = self._outside

    def feed(self, text: str) -> None:
        """Process the next piece of text."""
        position = 0
        while position < len(text):
            position = self._step(text, position)

    def parse(self) -> Any:
        """Return the value of the rest; raises ValueError if it is invalid or incomplete JSON."""
        return json.loads("".join(self._rest), strict=False)  # not strict: shells insert line breaks into strings

    def _outside(self, text: str, position: int) -> int:
        """Keep text up to and including the next quote; return the index after it."""
        end = text.find('"', position) + 1
        self._append(text[position : end or len(text)])
        if end:
            self._step, self._string_start, self._string_length = self._inside, len(self._rest), 0
        return end or len(text)

    def _inside(self, text: str, position: int) -> int:
        """Keep the text of a string up to its end or next escape; return the index after it."""
        if self._escaped:
            self._escaped = False
            self._append(text[position])
            return position + 1
        special = _QUOTE_OR_BACKSLASH.search(text, position)
        chunk = text[position : special.start() if special else len(text)]
        self._string_length += len(chunk) + 1
        if self._string_length > MAX_STRING:
            self._start_long(chunk)
            return position + len(chunk)
        self._append(chunk)
        if special is None:
            return len(text)
        self._append(special[0])
        if special[0] == '"':
            self._step = self._outside
        else:
            self._escaped = True
        return special.end()

    def _start_long(self, chunk: str) -> None:
        """Replace the current string by the placeholder and pass on its text; raises TooLarge unless it is `file`."""
        rest, started = self._rest[: self._string_start], self._rest[self._string_start :]
        if self.has_long or not _FILE_KEY.search("".join(rest[-_KEY_CHARACTERS:])[-_KEY_CHARACTERS:]):
            raise TooLarge(f'no string in the JSON body but "file" may have more than {MAX_STRING >> 10} KiB')
        self.has_long, self._step = True, self._long
        self._rest = rest
        self._rest_length -= sum(map(len, started))
        self._append(self.placeholder)
        self._on_long("".join(started) + chunk)

    def _long(self, text: str, position: int) -> int:
        """Pass on the long string up to its closing quote; return the index after it."""
        # Base64 contains no backslash and no quote, so the next quote ends the string
        end = text.find('"', position)
        self._on_long(text[position:] if end < 0 else text[position:end])
        if end < 0:
            return len(text)
        self._append('"')
        self._step = self._outside
        return end + 1

    def _append(self, text: str) -> None:
        """Append text to the rest; raises TooLarge when the rest is too long."""
        self._rest_length += len(text)
        if self._rest_length > MAX_REST:
            raise TooLarge(f'the JSON body may have at most {MAX_REST >> 10} KiB beside the field "file"')
        self._rest.append(text)


class _Unescaper:
    """A decoder of the escapes of a JSON string that arrives in pieces."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._pending = ""  # an escape that is still incomplete

    def feed(self, chunk: str) -> None:
        """Pass on `piece` without escapes, holding back one that may be incomplete."""
        chunk = self._pending + chunk
        escape_start = chunk.rfind("\\", max(0, len(chunk) - _LONGEST_ESCAPE + 1))
        self._pending = chunk[escape_start:] if escape_start >= 0 else ""
        chunk = chunk[: len(chunk) - len(self._pending)]
        self._write(json.loads(f'"{chunk}"', strict=False) if "\\" in chunk else chunk)

    def finish(self) -> None:
        """Pass on the held escape; raises ValueError if it is incomplete."""
        if self._pending:
            self._write(json.loads(f'"{self._pending}"', strict=False))


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
            raise BadRequest(
                'the field "file" is not base64: it must be the file itself, encoded, not its name or address'
            ) from None

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
        if self._tail:
            self._content.write(binascii.a2b_base64(self._tail + b"=" * (4 - len(self._tail))))


def _without_prefix(text: str) -> str:
    """Return the text after the prefix of a `data:` URL; raises BadRequest unless that says base64."""
    prefix = _DATA_URL.match(text)
    if prefix is None:
        return text
    if not prefix[0].rstrip(" ,").lower().endswith(";base64"):
        raise BadRequest('the field "file" is a data: URL without ";base64": send the file in base64')
    return text[prefix.end() :]
