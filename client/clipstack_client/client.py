"""Blocking client: `AsyncClient`'s methods, run on an event loop in the client's own thread."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from .async_client import AsyncClient
from .loop_thread import LoopThread

P = ParamSpec("P")
T = TypeVar("T")


def _opening(method: Callable[Concatenate[AsyncClient, P], None]) -> Callable[Concatenate[Client, P], None]:
    @wraps(method)
    def call(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> None:
        self._client = AsyncClient(*args, **kwargs)  # type: ignore[arg-type]
        self._thread = LoopThread()

    return call


def _blocking(
    method: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Client, P], T]:
    @wraps(method)
    def call(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._thread.run(method(self._client, *args, **kwargs))

    return call


def _iterating(
    method: Callable[Concatenate[AsyncClient, P], AsyncIterator[T]],
) -> Callable[Concatenate[Client, P], Iterator[T]]:
    @wraps(method)
    def call(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return self._thread.iterate(method(self._client, *args, **kwargs))

    return call


class Client:
    """Blocking counterpart of `AsyncClient`; thread-safe; close it after use.

    Arguments, methods and errors are the same. Progress callbacks run in the client's thread.
    """

    _client: AsyncClient
    _thread: LoopThread

    __init__ = _opening(AsyncClient.__init__)

    @property
    def url(self) -> str:
        """Return the address of the service."""
        return self._client.url

    classify = _blocking(AsyncClient.classify)
    classify_many = _blocking(AsyncClient.classify_many)
    search = _blocking(AsyncClient.search)
    models = _blocking(AsyncClient.models)
    health = _blocking(AsyncClient.health)
    timeline = _blocking(AsyncClient.timeline)
    submit = _blocking(AsyncClient.submit)
    job = _blocking(AsyncClient.job)
    jobs = _blocking(AsyncClient.jobs)
    follow = _iterating(AsyncClient.follow)
    export = _blocking(AsyncClient.export)
    cancel = _blocking(AsyncClient.cancel)
    remove = _blocking(AsyncClient.remove)
    give_feedback = _blocking(AsyncClient.give_feedback)
    feedback = _iterating(AsyncClient.feedback)
    remove_feedback = _blocking(AsyncClient.remove_feedback)
    download_feedback = _blocking(AsyncClient.download_feedback)
    webhooks = _blocking(AsyncClient.webhooks)
    webhook = _blocking(AsyncClient.webhook)
    retry_webhook = _blocking(AsyncClient.retry_webhook)
    test_webhook = _blocking(AsyncClient.test_webhook)
    webhook_secret = _blocking(AsyncClient.webhook_secret)

    def close(self) -> None:
        """Cancel running calls and end the thread."""
        with suppress(RuntimeError):  # already closed
            self._thread.run(self._client.close())
        self._thread.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
