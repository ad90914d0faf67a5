"""Files that a request names by a URL instead of sending them."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from flask import request

from app.admission.deadline import HEADER
from app.admission.disconnect import has_closed
from app.errors import ClientDisconnected, EmptyFile, TooManyRequests
from app.fetch import client, policy
from app.fetch.errors import FetchDisabled, FetcherUnavailable, FetchTimeout
from app.fetch.messages import Limits
from app.parts import part
from app.pipeline.context import RequestContext
from app.settings import Settings
from app.settings.fetch_rules import parse
from app.uploads.parser import Upload, display_name


class RemoteFiles:
    """Downloads of one web worker: at most a third of its queue's places, and half of those for one key."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rules = parse(settings.fetch)
        self._client = client.FetchClient(settings.run_dir / client.SOCKET)
        self._lock, self._running = threading.Lock(), Counter[str]()
        self._most = max(2, settings.max_queue // 3)

    def check(self, url: str) -> str:
        """Check an address as far as that is possible without DNS, and return the name of its file.

        Raises FetchDisabled if nothing may be downloaded, else as `app.fetch.policy.check`.
        """
        if not self._settings.fetch:
            raise FetchDisabled("this service downloads no files (CLIPSTACK_FETCH is not set): send the file itself")
        return display_name(policy.check(self._rules, url).name)

    def check_results(self, folder: str) -> str:
        """Return the folder that results are written to without a slash at its end; raises as `check`."""
        if not folder:
            return ""
        if not self._settings.fetch:
            raise FetchDisabled("this service writes no results elsewhere (CLIPSTACK_FETCH is not set)")
        folder = folder.rstrip("/")
        policy.check(self._rules, f"{folder}/results.json", write=True)
        return folder

    @contextmanager
    def place(self, owner: str) -> Iterator[None]:
        """Hold the place of one download; raises FetcherUnavailable, or TooManyRequests if this key has half of all."""
        with self._lock:
            if self._running.total() >= self._most:
                raise FetcherUnavailable(f"{self._most} downloads run here, the most allowed; please try again later")
            if owner and self._running[owner] >= self._most // 2:
                raise TooManyRequests(f"this key has {self._most // 2} running downloads, the most allowed: wait")
            self._running[owner] += 1
        try:
            yield
        finally:
            with self._lock:
                self._running[owner] -= 1
                self._running += Counter()  # drop keys without a download

    def download(self, upload: Upload, context: RequestContext) -> None:
        """Download the file of `upload` to its source. Raises the errors of `check`, `place` and the fetcher."""
        name = self.check(upload.url)
        counts = HEADER in request.headers  # the default deadline begins when the file is here, as for uploads
        seconds = min(self._settings.fetch_timeout_s, context.deadline.left_s if counts else float("inf"))
        context.deadline.check("it waited for this worker")
        limits = Limits(self._settings.max_upload_mb << 20, seconds, self._settings.min_free_mb << 20)
        started = time.monotonic()
        with self.place(context.owner), Path(upload.source.path).open("wb") as file:
            try:
                length = self._client.download(upload.url, file, limits, lambda: has_closed(context.connection))
            except client.Stopped:
                raise ClientDisconnected("the client has closed its connection") from None
            except FetchTimeout:
                context.deadline.check("its file was downloaded")
                raise
        if not counts:
            context.deadline.extend(time.monotonic() - started)
        if length == 0:
            raise EmptyFile("the file at the URL is empty")
        upload.source = replace(upload.source, length=length)
        upload.name = upload.name or name


def download(upload: Upload, context: RequestContext) -> None:
    """Download the file that a request names by its URL, if it does; see `RemoteFiles.download`."""
    if upload.url:
        with context.timings.stage("fetch"):
            part(RemoteFiles).download(upload, context)
