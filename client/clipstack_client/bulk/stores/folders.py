"""Results in a folder, which several machines may share."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .interface import Appender, StoreFailed, writer_name


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
