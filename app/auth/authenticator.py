"""Authentication of requests and the quotas of their keys, as one worker sees them."""

from __future__ import annotations

import hmac
import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from flask import Request

from app.admission.controller import LONGEST_RETRY_S
from app.admission.reject_flags import RejectFlags, enough
from app.auth.keys import Key, KeyFile
from app.auth.limits import Quotas
from app.auth.sessions import Session, Sessions
from app.errors import TooManyRequests, Unauthorized
from app.settings import Settings

SHARE = 0.5  # share of the service's capacity for a key without a limit of its own


class Authenticator:
    """The keys, sessions and quotas of one worker."""

    def __init__(self, settings: Settings, backlog_s: Callable[[], float]) -> None:
        self.required = settings.asks_for_keys
        self.keys = KeyFile(settings.keys_file)
        self.sessions = Sessions(settings.data_dir / "sessions")
        self.quotas = Quotas(settings.run_dir / "web" / "quota")
        # Browsers accept a `__Host-` cookie from this host alone, and only over TLS
        self.cookie = "__Host-clipstack" if settings.tls else "clipstack"
        self.secure = settings.tls
        held = settings.web_workers * (settings.max_inflight + settings.max_queue)
        self._shut = RejectFlags(settings.run_dir / "web" / "shut")
        self._backlog_s = backlog_s
        self._usual_share = max(1, math.ceil(held * SHARE))

    def who(self, asked: Request) -> tuple[Key, Session | None]:
        """Return the key of a request, and its session if it came with one.

        Raises:
            Unauthorized: The request has no key or an unknown one.
            KeyStoreUnavailable: The keys cannot be read.
        """
        scheme, _, text = asked.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            text = asked.headers.get("X-API-Key", "")
        if text:
            key = self.keys.find(text.strip())
            if key is None:
                raise Unauthorized("this key is not known here; it may have been revoked")
            return key, None
        session = self.session(asked.cookies)
        if session is None:
            raise Unauthorized("this service needs a key: send it as `Authorization: Bearer <key>`")
        return session

    def session(self, cookies: Mapping[str, str]) -> tuple[Key, Session] | None:
        """Return the key and the session of a browser's cookie, None without a valid one."""
        session = self.sessions.find(cookies.get(self.cookie, ""))
        key = self.keys.all().get(session.key) if session else None
        return (key, session) if session and key and hmac.compare_digest(key.sha256, session.sha256) else None

    def most_at_work(self, key: Key) -> int:
        """Return how many files of this key may be in progress at a time."""
        return key.concurrent or self._usual_share

    def take(self, key: Key, held: ExitStack) -> None:
        """Count one file of this key until `held` is closed; raises TooManyRequests."""
        held.callback(self._shut.opened, key.id, lambda: self._has_room(key))  # runs after the slot is released
        try:
            held.enter_context(self.quotas.seat(key.id, "work", self.most_at_work(key), self._come_back_s()))
        except TooManyRequests:
            self._shut.shut(key.id, lambda: self._has_room(key))
            raise
        if key.rate:
            self.quotas.take(key.id, key.rate, key.burst)

    def _has_room(self, key: Key) -> bool:
        """Return whether enough of the key's slots are free for nginx to admit its uploads again."""
        most = self.most_at_work(key)
        return self.quotas.has_seats(key.id, "work", most, enough(most))

    def _come_back_s(self) -> int:
        """Return the Retry-After in seconds: the time that the current queue needs, at least 1."""
        return min(LONGEST_RETRY_S, max(1, math.ceil(self._backlog_s())))

    def check(self, key: Key) -> None:
        """Raise TooManyRequests if `take` would raise it now; count nothing."""
        if not self.quotas.has_seat(key.id, "work", self.most_at_work(key)):
            self._shut.shut(key.id, lambda: self._has_room(key))
            raise TooManyRequests("this key has as many requests under way as it may have", self._come_back_s())
        if key.rate:
            self.quotas.check(key.id, key.rate, key.burst)
