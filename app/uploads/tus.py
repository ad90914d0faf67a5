"""Headers of the resumable upload protocol tus 1.0 (https://tus.io/protocols/resumable-upload)."""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Any

from app.errors import BadRequest

VERSION = "1.0.0"
EXTENSIONS = ("creation", "creation-with-upload", "checksum", "expiration", "termination")
ALGORITHMS = ("sha1", "sha256")
CHUNK_TYPE = "application/offset+octet-stream"
MAX_METADATA = 4 << 10  # characters of Upload-Metadata
_MAX_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Checksum:
    """Expected digest of one chunk."""

    algorithm: str
    digest: bytes

    def new(self) -> Any:
        """Return a new hash object of the algorithm."""
        return hashlib.new(self.algorithm, usedforsecurity=False)


def parse_size(name: str, text: str) -> int:
    """Return the number of bytes in the header `name`; raises BadRequest."""
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise BadRequest(f"{name} must be a whole number of bytes, not {text[:40]!r}")
    return int(text)


def parse_checksum(text: str) -> Checksum | None:
    """Return the checksum in `Upload-Checksum`, None when there is none; raises BadRequest."""
    if not text:
        return None
    algorithm, _, encoded = text.strip().partition(" ")
    if algorithm not in ALGORITHMS:
        raise BadRequest(f"Upload-Checksum: {algorithm[:40]!r} is not supported: use {' or '.join(ALGORITHMS)}")
    digest = _decode(encoded.strip())
    if digest is None or len(digest) != hashlib.new(algorithm, usedforsecurity=False).digest_size:
        raise BadRequest(f"Upload-Checksum must be {algorithm} and its digest in base64")
    return Checksum(algorithm, digest)


def parse_metadata(text: str) -> dict[str, str]:
    """Return the pairs in `Upload-Metadata`: a key and a value in base64, with commas between the pairs.

    Raises:
        BadRequest: A pair is malformed, or the header is too long.
    """
    if len(text) > MAX_METADATA:
        raise BadRequest(f"Upload-Metadata has {len(text)} characters: at most {MAX_METADATA} are allowed")
    metadata: dict[str, str] = {}
    for pair in filter(None, map(str.strip, text.split(","))):
        key, _, encoded = pair.partition(" ")
        value = _decode(encoded.strip())
        if value is None or key in metadata or not (key.isascii() and key.isprintable()):
            raise BadRequest(
                f"Upload-Metadata: {pair[:40]!r} is not a new key, a space and a value in base64, as in "
                "'filename Y2xpcC5tcDQ='"
            )
        metadata[key] = value.decode("utf-8", "replace")
    return metadata


def _decode(encoded: str) -> bytes | None:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None
