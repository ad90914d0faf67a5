"""Files at https:// addresses, which the client downloads itself while it sends them on."""

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import unquote, urlsplit

import httpx

from ..errors import DownloadFailed

SCHEME = "https://"
MAX_BYTES = 8 << 30
MAX_REDIRECTS = 5
TIMEOUT_S = 30.0  # longest silence
COPY_BYTES = 1 << 20


def is_url(source: object) -> bool:
    """Return whether a source is a text that begins with https://."""
    return isinstance(source, str) and source[: len(SCHEME)].lower() == SCHEME


def url_name(url: str) -> str:
    """Return the file name in a URL; "" without one."""
    return unquote(urlsplit(url).path).rpartition("/")[2]


class RemoteFile(io.RawIOBase):
    """File at a URL, read from its start to its end; `seek(0)` downloads it again if its length is known.

    The server gets no key and no header of the service. httpx sends a password in the URL to its host alone. Only
    `read` and the constructor wait; they raise DownloadFailed if the server does not answer with the file, or not with
    https.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url, self._http = url, _client()
        self._response: httpx.Response | None = None
        self._chunks: Iterator[bytes] = iter(())
        self._buffer, self._position = b"", 0
        self.length: int | None = None
        try:
            self._open()
        except BaseException:
            self._http.close()
            raise

    @property
    def name(self) -> str:
        """Return the file name in the URL."""
        return url_name(self._url)

    def _open(self) -> None:
        """Send the request; raises DownloadFailed."""
        self._end_response()
        with _download_errors(self._url):
            request = self._http.build_request("GET", self._url)
            response = self._http.send(request, stream=True, follow_redirects=True)
        self._response = response
        if response.status_code != 200:
            raise _failed(self._url, f"the server answered with status {response.status_code}, not 200")
        if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise _failed(self._url, "the server compressed the file although it was asked not to")
        length = response.headers.get("Content-Length", "")
        self.length = int(length) if length.isascii() and length.isdigit() else None
        if (self.length or 0) > MAX_BYTES:
            raise _failed(self._url, f"the file has {self.length} bytes: at most {MAX_BYTES} are downloaded")
        self._chunks, self._buffer, self._position = response.iter_raw(), b"", 0

    def _end_response(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return whether the file can be read again from its start."""
        return self.length is not None

    def tell(self) -> int:
        """Return the number of bytes that were read."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Return the length for the end; go back to the start, where the next read repeats the request."""
        if whence == io.SEEK_END and offset == 0 and self.length is not None:
            return self.length
        if (offset, whence) != (0, io.SEEK_SET):
            raise io.UnsupportedOperation("only the start can be read again")
        if self._position:
            self._end_response()
            self._position = 0
        return 0

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes, and b"" at the end; blocks."""
        if self._response is None:
            self._open()
        with _download_errors(self._url):
            while not self._buffer:
                chunk = next(self._chunks, None)
                if chunk is None:
                    return b""
                self._buffer = chunk
        size = len(self._buffer) if size < 0 else size
        part, self._buffer = self._buffer[:size], self._buffer[size:]
        self._position += len(part)
        if self._position > MAX_BYTES:
            raise _failed(self._url, f"the file has more than the {MAX_BYTES} bytes that are downloaded")
        return part

    def close(self) -> None:
        """End the connection."""
        if not self.closed:
            self._end_response()
            self._http.close()
        super().close()


def open_remote(url: str) -> BinaryIO:
    """Return the file at a URL; blocks. Raises DownloadFailed."""
    return cast(BinaryIO, RemoteFile(url))


def download(url: str, folder: Path) -> Path:
    """Download a file into a folder and return its path; blocks. Raises DownloadFailed or OSError."""
    name = Path(url_name(url).replace("\0", "")).name[:100]
    path = folder / (name if name not in ("", "..") else "file")
    with RemoteFile(url) as source, path.open("wb") as target:
        while chunk := source.read(COPY_BYTES):
            target.write(chunk)
    return path


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a temporary folder for a download."""
    return tempfile.TemporaryDirectory(prefix="clipstack-")


def _client() -> httpx.Client:
    def require_https(request: httpx.Request) -> None:
        if request.url.scheme != "https":
            raise _failed(str(request.url), "the address leads to one without TLS")

    return httpx.Client(
        timeout=TIMEOUT_S,
        max_redirects=MAX_REDIRECTS,
        headers={"User-Agent": "clipstack-client", "Accept": "*/*", "Accept-Encoding": "identity"},
        event_hooks={"request": [require_https]},
    )


@contextmanager
def _download_errors(url: str) -> Iterator[None]:
    try:
        yield
    except httpx.TooManyRedirects as error:
        raise _failed(url, f"more than {MAX_REDIRECTS} redirects") from error
    except httpx.TimeoutException as error:
        raise _failed(url, f"the server was silent for {TIMEOUT_S:g} seconds") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _failed(url, str(error) or type(error).__name__) from error


def _failed(url: str, reason: str) -> DownloadFailed:
    host = urlsplit(url).hostname or url[:100]
    return DownloadFailed(f"the file at {host} cannot be downloaded: {reason}", code="download_failed")
