"""Two nodes that share a real Redis: limits of keys, idempotency keys and logins hold at both; and without Redis."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from app.auth.authenticator import Authenticator
from app.auth.keys import Key
from app.errors import RateLimited, TooManyRequests, Unavailable
from app.nodes.idempotency import IdempotencyKeys
from app.nodes.ids import OnOtherNode
from app.nodes.shared_state import PAUSE_S, PREFIX, TIMEOUT_S, SharedState
from app.settings import Settings
from tests.support.redis_server import running_redis
from tests.support.stacks import until

KEY = Key("abcdefgh", "alice", "2026-01-01T00:00:00Z", "0" * 64, rate=0.1, burst=3, concurrent=2)


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with running_redis(tmp_path) as url:
        yield url


@pytest.fixture
def states(url: str) -> Iterator[list[SharedState]]:
    with ExitStack() as cleanup:
        states = [SharedState(url) for _ in range(2)]
        for state in states:
            cleanup.callback(state.close)
        yield states


def server_pid(url: str) -> int:
    with redis.Redis.from_url(url) as connection:
        return int(connection.info("server")["process_id"])


def authenticator(folder: Path, state: SharedState) -> Authenticator:
    settings = Settings.from_environment({"CLIPSTACK_RUN_DIR": str(folder), "CLIPSTACK_KEYS": "required"})
    (folder / "web" / "shut").mkdir(parents=True)
    return Authenticator(settings, lambda: 0.0, state)


@pytest.fixture
def nodes(tmp_path: Path, states: list[SharedState]) -> list[Authenticator]:
    return [authenticator(tmp_path / name, state) for name, state in zip("ab", states, strict=True)]


def test_rate_of_a_key_holds_over_both_nodes(nodes: list[Authenticator]) -> None:
    remaining = []
    for number in range(3):
        state = nodes[number % 2].count(KEY)
        assert state is not None
        remaining.append(state.remaining)
    assert remaining == [2, 1, 0]
    for node in nodes:
        with pytest.raises(RateLimited) as refused:
            node.count(KEY)
        assert 1 <= (refused.value.retry_after_s or 0) <= 10
        with pytest.raises(RateLimited):
            node.check(KEY)


def test_checks_count_nothing(nodes: list[Authenticator]) -> None:
    for _ in range(5):
        nodes[0].check(KEY)
    state = nodes[1].count(KEY)
    assert state is not None
    assert state.remaining == 2


def test_concurrent_requests_of_a_key_are_counted_over_both_nodes(nodes: list[Authenticator]) -> None:
    key = Key(KEY.id, KEY.name, KEY.created, KEY.sha256, concurrent=2)
    with ExitStack() as first, ExitStack() as second:
        nodes[0].acquire(key, first)
        nodes[1].acquire(key, second)
        for node in nodes:
            with ExitStack() as third, pytest.raises(TooManyRequests):
                node.acquire(key, third)
            with pytest.raises(TooManyRequests):
                node.check(key)
        first.close()
        with ExitStack() as third:
            nodes[1].acquire(key, third)


def test_slot_of_a_killed_node_is_free_after_its_lease(url: str, nodes: list[Authenticator]) -> None:
    with redis.Redis.from_url(url) as connection:
        past = time.time() - 1
        connection.zadd(f"{PREFIX}slots:{KEY.id}", {"one": past, "two": past})
    with ExitStack() as quota:
        nodes[0].acquire(KEY, quota)


def test_without_redis_limits_hold_per_node_and_nothing_waits_long(tmp_path: Path, url: str) -> None:
    failures = []
    state = SharedState(url, lambda: failures.append(1))
    node = authenticator(tmp_path / "a", state)
    pid = server_pid(url)
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        for _ in range(KEY.burst):
            with ExitStack() as quota:
                node.acquire(KEY, quota)
        with pytest.raises(RateLimited):
            node.count(KEY)
        assert time.monotonic() - began < 2 * TIMEOUT_S + 0.5
        assert failures
    finally:
        os.kill(pid, signal.SIGCONT)
    time.sleep(PAUSE_S)  # the pause is what is tested: afterwards Redis is asked again
    shared = until(lambda: node.count(KEY), 5)
    assert shared.remaining == 2
    state.close()


def test_key_belongs_to_the_node_that_claimed_it(states: list[SharedState]) -> None:
    a, b = (IdempotencyKeys(own, ("a", "b"), state, 7) for own, state in zip("ab", states, strict=True))
    with a.claimed("owner", "key", is_relayed=False):
        pass
    with pytest.raises(OnOtherNode) as other, b.claimed("owner", "key", is_relayed=False):
        pass
    assert other.value.node == "a"
    for owner, key in (("other", "key"), ("owner", "other"), ("owner", None)):
        with b.claimed(owner, key, is_relayed=False):
            pass


def test_failed_job_leaves_its_key_free(states: list[SharedState]) -> None:
    a, b = (IdempotencyKeys(own, ("a", "b"), state, 7) for own, state in zip("ab", states, strict=True))
    with pytest.raises(Unavailable), a.claimed("", "key", is_relayed=False):
        raise Unavailable("full")
    with b.claimed("", "key", is_relayed=False):
        pass


def test_key_of_a_removed_node_is_taken_over(states: list[SharedState]) -> None:
    gone = IdempotencyKeys("z", (), states[0], 7)
    b = IdempotencyKeys("b", ("a",), states[1], 7)
    with gone.claimed("", "key", is_relayed=False):
        pass
    with b.claimed("", "key", is_relayed=False):
        pass
    with pytest.raises(OnOtherNode), IdempotencyKeys("a", ("b",), states[0], 7).claimed("", "key", is_relayed=False):
        pass


def test_request_that_was_passed_on_is_not_passed_on_again(states: list[SharedState]) -> None:
    a, b = (IdempotencyKeys(own, ("a", "b"), state, 7) for own, state in zip("ab", states, strict=True))
    with a.claimed("", "key", is_relayed=False):
        pass
    with b.claimed("", "key", is_relayed=True):
        pass


def test_login_at_one_node_holds_at_the_other(nodes: list[Authenticator]) -> None:
    token = nodes[0].sessions.create(KEY)
    session = nodes[1].sessions.find(token)
    assert session is not None
    assert (session.key, session.sha256) == (KEY.id, KEY.sha256)
    nodes[1].sessions.remove(token)
    assert nodes[0].sessions.find(token) is None
    assert nodes[0].sessions.find("x") is None


def test_newest_logins_of_a_key_are_kept(nodes: list[Authenticator]) -> None:
    tokens = [nodes[0].sessions.create(KEY) for _ in range(52)]
    alive = [nodes[1].sessions.find(token) is not None for token in tokens]
    assert alive[-1]
    assert sum(alive) == 50
