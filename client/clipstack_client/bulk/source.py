"""Sources of an archive: a folder, a pattern, a list, or a bucket; and the files in them."""

import glob
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from ..errors import ClipstackError
from ..http.upload import Source
from ..sending.media_files import SUFFIXES, walk_folder
from ..sending.remote import is_url, open_remote
from .stores.buckets import bucket, bucket_errors, is_bucket

# Objects up to this size are read into memory by one request, larger ones in blocks
WHOLE_BYTES = BLOCK_BYTES = 8 << 20
MAX_LIST_BYTES = 1 << 30


class InvalidSource(ClipstackError):
    """The source names no files."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="invalid_source")


class Entry(NamedTuple):
    """One file: its path or address, its size in bytes, and what changes with its content, both None if unknown."""

    file: str
    size: int | None = None
    version: str | None = None


def list_source(source: str) -> list[Entry]:
    """Return all files of a source, sorted, each once; blocks.

    Raise InvalidSource if there is no such source, or no video and no picture in it, and OSError or StoreFailed if it
    cannot be read.
    """
    entries = {entry.file: entry for entry in _entries(source)}
    if not entries:
        raise InvalidSource(f"no video and no picture in {source!r}")
    return [entries[file] for file in sorted(entries)]


def _entries(source: str) -> Iterator[Entry]:
    if is_bucket(source):
        return _objects(source)
    path = Path(source)
    if path.is_dir():
        return map(_local, walk_folder(str(path)))
    if path.is_file():
        return iter([_local(source)]) if path.suffix.lower() in SUFFIXES else _listed(path)
    if glob.has_magic(source):
        matches = glob.iglob(source, recursive=True)  # noqa: PTH207 - takes absolute patterns
        return (_local(match) for match in matches if Path(match).is_file())
    raise InvalidSource(f"there is no folder, pattern, list or bucket {source!r}")


def _local(path: str) -> Entry:
    """Return the entry of a local file; without size and version if it cannot be read, which fails later."""
    full = os.path.abspath(path)  # noqa: PTH100 - keeps symbolic links
    try:
        status = Path(full).stat()
    except OSError:
        return Entry(full)
    return Entry(full, status.st_size, str(status.st_mtime_ns))


def _listed(path: Path) -> Iterator[Entry]:
    """Yield what a text file lists, one path or address a line; empty lines and those that begin with # are skipped."""
    if path.stat().st_size > MAX_LIST_BYTES:
        raise InvalidSource(f"{path} is no list: it has more than {MAX_LIST_BYTES} bytes")
    try:
        lines = path.read_text("utf-8").splitlines()
    except UnicodeDecodeError:
        raise InvalidSource(f"{path} is neither a video or picture nor a list of files in UTF-8") from None
    for line in map(str.strip, lines):
        if line and not line.startswith("#"):
            yield Entry(line) if is_bucket(line) or is_url(line) else _local(line)


def _objects(address: str) -> Iterator[Entry]:
    import obstore

    origin, prefix = split_address(address)
    with bucket_errors(address):
        for chunk in obstore.list(bucket(origin), prefix or None, chunk_size=1000):
            for meta in chunk:
                name = meta["path"].rpartition("/")[2]
                if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                    version = meta["e_tag"] or meta["last_modified"].isoformat()
                    yield Entry(f"{origin}/{meta['path']}", meta["size"], version)


def split_address(address: str) -> tuple[str, str]:
    """Return `s3://bucket` and the key or prefix in it."""
    scheme, _, rest = address.partition("://")
    name, _, key = rest.partition("/")
    if not name:
        raise InvalidSource(f"{address!r} names no bucket: write {scheme}://bucket/folder")
    return f"{scheme}://{name}", key.strip("/")


@contextmanager
def opened(entry: Entry) -> Iterator[Source]:
    """Open a file for sending; blocks. Raise OSError, DownloadFailed or StoreFailed if it cannot be read."""
    if is_url(entry.file):
        with open_remote(entry.file) as remote:
            yield remote
    elif is_bucket(entry.file):
        with _object(entry) as file:
            yield file
    else:
        yield entry.file


@contextmanager
def _object(entry: Entry) -> Iterator[BinaryIO]:
    import obstore

    origin, key = split_address(entry.file)
    name = key.rpartition("/")[2]
    with bucket_errors(origin):
        if entry.size is not None and entry.size <= WHOLE_BYTES:
            content = io.BytesIO(obstore.get(bucket(origin), key).bytes())
            yield _named(content, name)
            return
        reader = obstore.open_reader(bucket(origin), key, buffer_size=BLOCK_BYTES)
    with io.BufferedReader(_ObjectFile(reader, origin), BLOCK_BYTES) as file:
        yield _named(file, name)


def _named(file: Any, name: str) -> BinaryIO:
    """Return a file that says its name to the service."""
    return cast(BinaryIO, _NamedFile(file, name))


class _NamedFile:
    """A binary file with a name of its own."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self.name = file, name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._file, attribute)


class _ObjectFile(io.RawIOBase):
    """An object of a bucket, read block by block."""

    def __init__(self, reader: Any, origin: str) -> None:
        super().__init__()
        self._reader, self._origin = reader, origin

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with bucket_errors(self._origin):
            content = bytes(self._reader.read(len(buffer)))
        buffer[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with bucket_errors(self._origin):
            return int(self._reader.seek(offset, whence))

    def tell(self) -> int:
        return int(self._reader.tell())
