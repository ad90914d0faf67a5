"""Results in a folder of a bucket: S3, Google Cloud Storage or Azure."""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from importlib import import_module
from typing import Any

from .interface import Appender, StoreFailed, writer_name

SCHEMES = ("s3://", "gs://", "az://")
RETRIES, RETRY_S = 5, 60.0
CONNECT_S, SILENCE_S, REQUEST_S = 10.0, 60.0, 900.0


def is_bucket(url: str) -> bool:
    """Return whether a text is the address of a bucket or of something in it."""
    return url.startswith(SCHEMES)


class BucketStore:
    """Objects below a prefix of a bucket."""

    def __init__(self, address: str) -> None:
        self._address = address.rstrip("/")
        self._store = bucket(self._address)
        self._obstore: Any = import_module("obstore")

    def names(self, folder: str = "") -> list[str]:
        """See Store."""
        with bucket_errors(self._address):
            found = self._obstore.list_with_delimiter(self._store, folder or None)
            return sorted(entry["path"].rpartition("/")[2] for entry in found["objects"])

    def exists(self, name: str) -> bool:
        """See Store."""
        with bucket_errors(self._address):
            try:
                self._obstore.head(self._store, name)
            except FileNotFoundError:
                return False
        return True

    def read(self, name: str) -> bytes:
        """See Store."""
        with bucket_errors(self._address):
            return bytes(self._obstore.get(self._store, name).bytes())

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
        try:
            self._obstore.put(self._store, name, content, **options)
        except FileNotFoundError as error:
            raise StoreFailed(f"{self._address}: there is no such bucket") from error

    def appender(self, folder: str) -> Appender:
        """See Store."""
        return _ObjectAppender(self, f"{folder}/{writer_name()}")

    def remove(self, folder: str) -> None:
        """See Store."""
        with bucket_errors(self._address):
            paths = [entry["path"] for chunk in self._obstore.list(self._store, folder) for entry in chunk]
            if paths:
                self._obstore.delete(self._store, paths)


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
    """Return obstore's store of a bucket, or of a folder of it; endpoint and credentials come from the environment.

    Raise StoreFailed if obstore is not installed, or the address or the environment (AWS_…, GOOGLE_…, AZURE_…) is
    wrong.
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
