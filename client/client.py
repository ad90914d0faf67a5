"""A connection to one Clipstack service: classify files, list its models, ask whether it is ready."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType

from client.answers import Health, Model, Result, read_model, read_result
from client.errors import ConnectFailed, ServiceFailed, ServiceUnavailable
from client.patience import Patience
from client.reply import Answer, error_of
from client.transport import Transport
from client.upload import Source, Upload, Watcher, open_upload

DEFAULT_URL = "http://127.0.0.1:8080"


class Client:
    """A client of the service at `url`; safe to share between threads, and to be closed after use.

    `timeout` is the longest silence, in seconds, before a request is given up. `patience` is how many seconds
    a call may spend waiting for a busy service, in all: it tries again after 429 and 503, no sooner than the
    service asks, and (three times at most) when no connection can be made. Nothing else is tried again.

    Raises ValueError for what is no http(s) URL.
    """

    def __init__(self, url: str = DEFAULT_URL, *, timeout: float = 120.0, patience: float = 20.0) -> None:
        self._transport = Transport(url, timeout)
        self._patience_s = patience

    @property
    def url(self) -> str:
        return self._transport.url

    def classify(
        self,
        source: Source,
        *,
        model: str | None = None,
        top_k: int = 5,
        clips: int | None = None,
        thumbnails: bool = False,
        progress: Watcher | None = None,
    ) -> Result:
        """Upload a path, bytes, or a file opened in binary mode, and return what is in it.

        `model` None means the service's default, `clips` None its usual number of clips. `progress` is called
        with a `Progress` as the upload goes, in the calling thread. A pipe is sent as it comes, and once.

        Raises RequestRefused, ServiceFailed, ServiceUnavailable, ServiceUnreachable, or OSError for a file
        that cannot be read.
        """
        flag = "true" if thumbnails else None
        wanted = {"model": model, "top_k": top_k, "clips": clips, "thumbnails": flag}
        params = {name: value for name, value in wanted.items() if value is not None}
        with open_upload(source, progress) as upload:
            answer = self._call("POST", "/v1/classify", params, upload)
        with self._expecting(answer):
            return read_result(answer.content)

    def models(self) -> tuple[Model, ...]:
        """The models that the service offers; raises like `classify`."""
        answer = self._call("GET", "/v1/models", {})
        with self._expecting(answer):
            return tuple(read_model(entry) for entry in answer.content["models"])

    def health(self) -> Health:
        """Whether the service is ready, asked once; raises ServiceUnreachable or ServiceFailed."""
        answer = self._transport.send("GET", "/readyz", {})
        if answer.status == 503:
            return Health(False, str(error_of(answer, self.url)))
        if answer.status != 200:
            raise error_of(answer, self.url)
        with self._expecting(answer):
            return Health(True, str(answer.content["status"]))

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, method: str, path: str, params: Mapping[str, str | int], upload: Upload | None = None) -> Answer:
        deadline = Patience(self._patience_s)
        while True:
            try:
                answer = self._transport.send(method, path, params, upload)
                if 200 <= answer.status < 300:
                    return answer
                raise error_of(answer, self.url)
            except (ConnectFailed, ServiceUnavailable) as error:
                again = upload is None or upload.repeatable
                pause_s = deadline.next_pause_s(error) if again else None
                if pause_s is None:
                    raise
            if upload is not None:
                upload.tell("waiting")
            time.sleep(pause_s)

    @contextmanager
    def _expecting(self, answer: Answer) -> Iterator[None]:
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ServiceFailed(
                f"{self.url} does not answer like Clipstack: {error!r}",
                code="unexpected_answer",
                status=answer.status,
                request_id=answer.request_id,
            ) from error
