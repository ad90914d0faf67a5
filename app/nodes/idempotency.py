"""The node of each idempotency key, in the shared state: a repeated request goes to the node that has the job."""

import hashlib
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from app.nodes.ids import OnOtherNode
from app.nodes.shared_state import PREFIX, SharedState, SharedStateAway

DAY_S = 86_400
# Forget a key's node only if it is still this one
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


class IdempotencyKeys:
    """Claims of the node `own`, kept a day longer than the `days` of finished jobs; `state` None shares nothing."""

    def __init__(self, own: str, others: Container[str], state: SharedState | None, days: int) -> None:
        self._own, self._others, self._state, self._life_s = own, others, state, (days + 1) * DAY_S

    @contextmanager
    def claimed(self, owner: str, key: str | None, *, is_relayed: bool) -> Iterator[None]:
        """Let the key belong to this node in the block, and afterwards unless the block raises an exception.

        Without the shared state, and while it is away, each node has the keys that it knows. Raises OnOtherNode.
        """
        name = _name(owner, key) if key and self._state else ""
        is_new = bool(name) and self._claim(name, is_relayed)
        try:
            yield
        except BaseException:
            if is_new and self._state:
                with suppress(SharedStateAway):
                    self._state.call(lambda redis: redis.eval(_RELEASE, 1, name, self._own))
            raise

    def _claim(self, name: str, is_relayed: bool) -> bool:
        """Return whether the key was free until now; raises OnOtherNode."""

        def claim(redis: Any) -> bytes | None:
            before: bytes | None = redis.set(name, self._own, nx=True, get=True, ex=self._life_s)
            return before

        assert self._state is not None
        try:
            before = self._state.call(claim)
            node = before.decode(errors="replace") if before else self._own
            if node != self._own:
                if node in self._others and not is_relayed:
                    raise OnOtherNode(node)
                # A node that was taken away for good, or one that sent the request here
                self._state.call(lambda redis: redis.set(name, self._own, ex=self._life_s))
            return before is None
        except SharedStateAway:
            return False


def _name(owner: str, key: str) -> str:
    digest = hashlib.sha256(f"{owner}\0{key}".encode()).hexdigest()
    return f"{PREFIX}key:{digest}"
