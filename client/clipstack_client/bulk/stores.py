"""Places of results: a folder, or a folder of a bucket (S3, Google Cloud Storage, Azure)."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import uuid
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import ClipstackError

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMES = ("s3://", "gs://", "az://")
RETRIES, RETRY_S = 5, 60.0
CONNECT_S, SILENCE_S, REQUEST_S = 10.0, 60.0, 900.0


class StoreFailed(ClipstackError):
    """A bucket, or the folder of the results, cannot be read or written."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="storage_failed")


class Appender(Protocol):
    """Writer of one journal."""

    def append(self, line: bytes) -> None:
        """Add a line without waiting; it is safe from a kill after the next `flush` at the latest."""
        ...

    def flush(self) -> None:
        """Write the lines that are still in memory."""
        ...

    def close(self) -> None:
        """Write the rest and release everything."""
        ...


class Store(Protocol):
    """Files by their names, which may contain slashes. All methods block and raise StoreFailed."""

    def names(self, folder: str = "") -> list[str]:
        """Return the names directly in a folder, without it; none if there is no such folder."""
        ...

    def exists(self, name: str) -> bool:
        """Return whether there is a file."""
        ...

    def read(self, name: str) -> bytes:
        """Return a file; raise FileNotFoundError if there is none."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically."""
        ...

    def create(self, name: str, content: bytes) -> bool:
        """Write a file atomically, unless there is one; return whether it was written."""
        ...

    def appender(self, folder: str) -> Appender:
        """Return a writer of a new journal in a folder."""
        ...

    def remove(self, folder: str) -> None:
        """Remove a folder with its files, if there is one."""
        ...


def writer_name() -> str:
    """Return a name that no other writer of any machine has."""
    return f"{socket.gethostname()[:32]}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def is_bucket(url: str) -> bool:
    """Return whether a text is the address of a bucket or of something in it."""
    return url.startswith(SCHEMES)


def open_store(address: str) -> Store:
    """Return the store at a path or an address such as s3://bucket/folder."""
    return BucketStore(address) if is_bucket(address) else FolderStore(Path(address).absolute())


@contextmanager
def folder_errors(path: Path) -> Iterator[None]:
    """Raise StoreFailed for errors of the file system, but for FileNotFoundError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreFailed(f"{path}: {error.strerror or error}") from error


class FolderStore:
    """Files below a folder, which several machines may share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self, folder: str = "") -> list[str]:
        """See Store."""
        with folder_errors(self._folder), suppress(FileNotFoundError):
            return sorted(path.name for path in (self._folder / folder).iterdir() if not path.name.startswith("."))
        return []

    def exists(self, name: str) -> bool:
        """See Store."""
        with folder_errors(self._folder):
            return (self._folder / name).exists()

    def read(self, name: str) -> bytes:
        """See Store."""
        with folder_errors(self._folder):
            return (self._folder / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """See Store."""
        with self._written(name, content) as part:
            part.replace(self._folder / name)

    def create(self, name: str, content: bytes) -> bool:
        """See Store."""
        with self._written(name, content) as part:
            try:
                os.link(part, self._folder / name)
            except FileExistsError:
                return False
        return True

    @contextmanager
    def _written(self, name: str, content: bytes) -> Iterator[Path]:
        """Write the content to a hidden file that is on the disk, and remove that afterwards."""
        path = self._folder / name
        part = path.with_name(f".{path.name}.{writer_name()}")
        with folder_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with part.open("xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                yield part
            finally:
                part.unlink(missing_ok=True)

    def appender(self, folder: str) -> Appender:
        """See Store."""
        return _FileAppender(self._folder / folder / f"{writer_name()}.jsonl")

    def remove(self, folder: str) -> None:
        """See Store."""
        with folder_errors(self._folder), suppress(FileNotFoundError):
            shutil.rmtree(self._folder / folder)


class _FileAppender:
    """Journal in a file that is opened with the first line; a line is safe once `append` has returned."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def append(self, line: bytes) -> None:
        with folder_errors(self._path):
            if self._descriptor is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            view = memoryview(line + b"\n")
            while view:
                view = view[os.write(self._descriptor, view) :]

    def flush(self) -> None:
        """Nothing is in memory."""

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class BucketStore:
    """Objects below a prefix of a bucket."""

    def __init__(self, address: str) -> None:
        self._address = address.rstrip("/")
        self._store = bucket(self._address)

    def names(self, folder: str = "") -> list[str]:
        """See Store."""
        import obstore

        with bucket_errors(self._address):
            found = obstore.list_with_delimiter(self._store, folder or None)
            return sorted(entry["path"].rpartition("/")[2] for entry in found["objects"])

    def exists(self, name: str) -> bool:
        """See Store."""
        import obstore

        with bucket_errors(self._address):
            try:
                obstore.head(self._store, name)
            except FileNotFoundError:
                return False
        return True

    def read(self, name: str) -> bytes:
        """See Store."""
        import obstore

        with bucket_errors(self._address):
            return bytes(obstore.get(self._store, name).bytes())

    def write(self, name: str, content: bytes) -> None:
        """See Store."""
        with bucket_errors(self._address):
            self._put(name, content)

    def create(self, name: str, content: bytes) -> bool:
        """See Store."""
        from obstore.exceptions import AlreadyExistsError

        with bucket_errors(self._address):
            try:
                self._put(name, content, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
        return True

    def _put(self, name: str, content: bytes, **options: Any) -> None:
        import obstore

        try:
            obstore.put(self._store, name, content, **options)
        except FileNotFoundError as error:
            raise StoreFailed(f"{self._address}: there is no such bucket") from error

    def appender(self, folder: str) -> Appender:
        """See Store."""
        return _ObjectAppender(self, f"{folder}/{writer_name()}")

    def remove(self, folder: str) -> None:
        """See Store."""
        import obstore

        with bucket_errors(self._address):
            paths = [entry["path"] for chunk in obstore.list(self._store, folder) for entry in chunk]
            if paths:
                obstore.delete(self._store, paths)


class _ObjectAppender:
    """Journal in objects, because a bucket cannot append: each flush writes one more."""

    def __init__(self, store: BucketStore, prefix: str) -> None:
        self._store, self._prefix = store, prefix
        self._lock = threading.Lock()
        self._lines: list[bytes] = []
        self._written = 0

    def append(self, line: bytes) -> None:
        with self._lock:
            self._lines.append(line + b"\n")

    def flush(self) -> None:
        with self._lock:
            if not self._lines:
                return
            self._store.write(f"{self._prefix}-{self._written:06d}.jsonl", b"".join(self._lines))
            self._written += 1
            self._lines.clear()

    def close(self) -> None:
        self.flush()


@lru_cache(maxsize=256)
def bucket(address: str) -> Any:
    """Return obstore's store of a bucket, or of a folder of it.

    The endpoint and the credentials come from the environment: `AWS_…`, `GOOGLE_…`, `AZURE_…`.

    Raises:
        StoreFailed: obstore is not installed, or the address or the environment is wrong.
    """
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ImportError as error:
        raise StoreFailed("buckets need obstore: in Clipstack's checkout, pip install './client[bulk]'") from error
    options: Any = {
        "allow_http": _allows_http(os.environ),
        "connect_timeout": timedelta(seconds=CONNECT_S),
        "read_timeout": timedelta(seconds=SILENCE_S),
        "timeout": timedelta(seconds=REQUEST_S),
        "user_agent": "clipstack-client",
    }
    retries: Any = {"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_S)}
    try:
        return from_url(address, client_options=options, retry_config=retries)
    except (BaseError, ValueError) as error:
        raise StoreFailed(f"{address}: {_first_line(error)}") from error


def _allows_http(environment: Mapping[str, str]) -> bool:
    """Return whether the environment names an endpoint without TLS, for example of a server in the own network."""
    names = [name for name in environment if name.startswith(("AWS_", "AZURE_", "GOOGLE_")) and "ENDPOINT" in name]
    return any(environment[name].startswith("http://") for name in names)


@contextmanager
def bucket_errors(address: str) -> Iterator[None]:
    """Raise StoreFailed for obstore's errors, but for FileNotFoundError."""
    from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

    try:
        yield
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise StoreFailed(f"{address} refuses these credentials: see AWS_…, GOOGLE_… or AZURE_…") from error
    except (BaseError, ValueError) as error:
        raise StoreFailed(f"{address}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]
