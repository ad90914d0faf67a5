"""Sessions: random tokens, limits of time and number, and no secret of the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.auth.keys import Key
from app.auth.sessions import MAX_SESSIONS_PER_KEY, Sessions

ALICE = Key("aaaaaaaa", "alice", "", "1" * 64)
BOB = Key("bbbbbbbb", "bob", "", "2" * 64)


@pytest.fixture
def sessions(tmp_path: Path) -> Sessions:
    return Sessions(tmp_path / "sessions")


def test_token_finds_its_key(sessions: Sessions, tmp_path: Path) -> None:
    token = sessions.create(ALICE)
    session = Sessions(tmp_path / "sessions").find(token)  # another worker's
    assert session is not None and (session.key, session.sha256) == (ALICE.id, ALICE.sha256)
    assert token not in "".join(path.name + path.read_text() for path in (tmp_path / "sessions").iterdir())
    assert sessions.create(ALICE) != token


@pytest.mark.parametrize("token", ["", "../keys.json", "a" * 42, "a" * 43, "é" * 43, "a" * 43 + "\n"])
def test_other_tokens_are_unknown(sessions: Sessions, token: str) -> None:
    sessions.create(ALICE)
    assert sessions.find(token) is None
    sessions.remove(token)


def test_ended_session_is_unknown(sessions: Sessions) -> None:
    token, other = sessions.create(ALICE), sessions.create(ALICE)
    sessions.remove(token)
    assert (sessions.find(token), sessions.find(other) is None) == (None, False)


def test_expired_session_is_removed(tmp_path: Path) -> None:
    over = Sessions(tmp_path / "sessions", life_s=-1.0)
    assert over.find(over.create(ALICE)) is None
    Sessions(tmp_path / "sessions").create(BOB)
    assert len(list((tmp_path / "sessions").iterdir())) == 1


def test_oldest_session_of_a_key_is_replaced(sessions: Sessions, tmp_path: Path) -> None:
    bobs = sessions.create(BOB)
    tokens = [sessions.create(ALICE) for _ in range(MAX_SESSIONS_PER_KEY + 1)]
    assert sessions.find(tokens[0]) is None
    assert all(map(sessions.find, [bobs, *tokens[1:]]))
