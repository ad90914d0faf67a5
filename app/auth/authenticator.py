"""Authentication of requests and the quotas of their keys, as one worker sees them."""

import hmac
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress

from flask import Request

from app.admission.controller import MAX_RETRY_S
from app.admission.flags import RejectFlags, free_places
from app.auth.keys import Key, KeyFile
from app.auth.limits import CONCURRENT_MESSAGE, Quotas, RateState
from app.auth.sessions import Session, Sessions
from app.auth.shared_limits import SharedLimits
from app.auth.shared_sessions import SharedSessions
from app.errors import TooManyRequests, Unauthorized
from app.nodes.shared_state import SharedState, SharedStateAway
from app.settings import Settings

LEASE_SLACK_S = 30  # a slot of a killed node is free again so long after its last request must have ended
DEFAULT_SHARE = 0.5  # share of the service's capacity for a key without a limit of its own


class Authenticator:
    """The keys, sessions and quotas of one worker."""

    def __init__(
        self, settings: Settings, backlog_s: Callable[[], float], shared_state: SharedState | None = None
    ) -> None:
        self.required = settings.asks_for_keys
        self.keys = KeyFile(settings.keys_file)
        self.sessions = SharedSessions(shared_state) if shared_state else Sessions(settings.data_dir / "sessions")
        self.quotas = Quotas(settings.run_dir / "web" / "quota")
        lease_s = settings.longest_answer_s + LEASE_SLACK_S
        self._shared_limits = SharedLimits(shared_state, lease_s) if shared_state else None
        # Browsers accept a `__Host-` cookie from this host alone, and only over TLS
        self.cookie = "__Host-clipstack" if settings.tls else "clipstack"
        self.secure = settings.tls
        capacity = settings.web_workers * (settings.max_inflight + settings.max_queue)
        self._reject_flags = RejectFlags(settings.run_dir / "web" / "shut")
        self._backlog_s = backlog_s
        self._default_concurrent = max(1, math.ceil(capacity * DEFAULT_SHARE))

    def authenticate(self, request: Request) -> tuple[Key, Session | None]:
        """Return the key of a request, and its session if it came with one.

        Raises Unauthorized without a known key, and KeyStoreUnavailable if the keys cannot be read.
        """
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            text = request.headers.get("X-Api-Key", "")
        if text:
            key = self.keys.find(text.strip())
            if key is None:
                raise Unauthorized("unknown API key: check it, or ask for a new one; it may have been revoked")
            return key, None
        session = self.session(request.cookies)
        if session is None:
            raise Unauthorized("this service needs an API key: send it as `Authorization: Bearer <key>`")
        return session

    def session(self, cookies: Mapping[str, str]) -> tuple[Key, Session] | None:
        """Return the key and the session of a browser's cookie, None without a valid one."""
        session = self.sessions.find(cookies.get(self.cookie, ""))
        key = self.keys.all().get(session.key) if session else None
        return (key, session) if session and key and hmac.compare_digest(key.sha256, session.sha256) else None

    def max_concurrent(self, key: Key) -> int:
        """Return how many files of this key may be in progress at a time."""
        return key.concurrent or self._default_concurrent

    def acquire(self, key: Key, quota: ExitStack) -> RateState | None:
        """Count one file of this key until `quota` is closed; return as `count`, and raise TooManyRequests."""
        quota.callback(
            self._reject_flags.clear_flag, key.id, lambda: self._has_room(key)
        )  # runs after the slot is released
        try:
            quota.enter_context(self.quotas.slot(key.id, "work", self.max_concurrent(key), self._retry_after_s()))
        except TooManyRequests:
            self._reject_flags.raise_flag(key.id, lambda: self._has_room(key))
            raise
        self._hold_shared_slot(key, quota)
        return self.count(key)

    def _hold_shared_slot(self, key: Key, quota: ExitStack) -> None:
        """Hold a slot of the key's limit over all nodes; the default share is of this node's capacity alone."""
        if self._shared_limits and key.concurrent:
            slot = self._shared_limits.slot(key.id, key.concurrent, self._retry_after_s())
            quota.enter_context(slot)

    def count(self, key: Key) -> RateState | None:
        """Count one file against the key's rate: over all nodes, or at this one while the shared state is away.

        Returns what the rate still allows, None without a rate limit. Raises RateLimited if the key is too fast.
        """
        if key.rate is None:
            return None
        if self._shared_limits:
            with suppress(SharedStateAway):
                return self._shared_limits.count_request(key.id, key.rate, key.burst)
        return self.quotas.count_request(key.id, key.rate, key.burst)

    @contextmanager
    def slot(self, key: Key) -> Iterator[None]:
        """Hold a slot for one more file of this key in the block; raises TooManyRequests on entry."""
        with ExitStack() as quota:
            quota.enter_context(self.quotas.slot(key.id, "work", self.max_concurrent(key)))
            self._hold_shared_slot(key, quota)
            yield

    def _has_room(self, key: Key) -> bool:
        """Return whether free_places of the key's slots are free for nginx to admit its uploads again."""
        maximum = self.max_concurrent(key)
        return self.quotas.has_slots(key.id, "work", maximum, free_places(maximum))

    def _retry_after_s(self) -> int:
        """Return the Retry-After in seconds: the time that the current queue needs, at least 1."""
        return min(MAX_RETRY_S, max(1, math.ceil(self._backlog_s())))

    def check(self, key: Key) -> None:
        """Raise TooManyRequests if `acquire` would raise it now; count nothing."""
        if not self.quotas.has_slots(key.id, "work", self.max_concurrent(key), 1):
            self._reject_flags.raise_flag(key.id, lambda: self._has_room(key))
            raise TooManyRequests(CONCURRENT_MESSAGE.format(self.max_concurrent(key)), self._retry_after_s())
        if self._shared_limits and (key.rate or key.concurrent):
            with suppress(SharedStateAway):
                if key.concurrent:
                    self._shared_limits.require_slot(key.id, key.concurrent, self._retry_after_s())
                if key.rate:
                    self._shared_limits.count_request(key.id, key.rate, key.burst, count=False)
                return
        if key.rate:
            self.quotas.check_rate(key.id, key.rate, key.burst)
