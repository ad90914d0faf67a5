"""The command `clipstack-keys`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.auth.cli import main
from app.auth.keys import KeyFile


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "data" / "access" / "keys.json")


def typed(tmp_path: Path, *words: str) -> Result:
    return CliRunner(env={"CLIPSTACK_RUN_DIR": str(tmp_path)}).invoke(main, words)


def test_standard_output_holds_only_the_key(tmp_path: Path, keys: KeyFile) -> None:
    done = typed(tmp_path, "create", "alice", "--rate", "2.5", "--concurrent", "3", "--lanes", "picture, short")
    assert re.fullmatch(r"clipstack_\w{8}_\w{32}\n", done.stdout) and "shown this once" in done.stderr
    key = keys.find(done.stdout.strip())
    assert key is not None
    assert (key.name, key.rate, key.burst, key.concurrent, key.lanes) == ("alice", 2.5, 3, 3, ("picture", "short"))


def test_a_list_shows_the_limits_and_no_secret(tmp_path: Path) -> None:
    secret = typed(tmp_path, "create", "alice", "--rate", "2").stdout.strip().rpartition("_")[2]
    typed(tmp_path, "create", "bob")
    message = typed(tmp_path, "list").output
    assert [line.split()[0] for line in message.splitlines()] == ["name", "alice", "bob"]
    assert "2/s, 2 at once" in message and secret not in message


def test_revoked_and_rotated(tmp_path: Path, keys: KeyFile) -> None:
    first = typed(tmp_path, "create", "alice").stdout.strip()
    second = typed(tmp_path, "rotate", "alice").stdout.strip()
    assert (keys.find(first), keys.find(second) is None) == (None, False)
    assert "is revoked" in typed(tmp_path, "revoke", "alice").output
    assert keys.find(second) is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("create", "no/name"), "letters, digits"),
        (("create", "x" * 65), "64 letters"),
        (("create", "alice", "--lanes", "fast"), "'fast' is none of picture, short, long, jobs"),
        (("create", "alice", "--rate", "0"), "--rate"),
        (("create", "alice", "--burst", "3"), "--burst needs --rate"),
        (("create", "taken"), "a key taken already"),
        (("revoke", "nobody"), "no key nobody"),
        (("rotate", "nobody"), "no key nobody"),
    ],
)
def test_errors_are_reported(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    typed(tmp_path, "create", "taken")
    done = typed(tmp_path, *words)
    assert done.exit_code in (1, 2) and message in done.output and "Traceback" not in done.output


def test_damaged_file_is_named_and_unchanged(tmp_path: Path, keys: KeyFile) -> None:
    typed(tmp_path, "create", "alice")
    keys.path.write_text("{")
    done = typed(tmp_path, "create", "bob")
    assert (done.exit_code, keys.path.read_text()) == (1, "{") and "cannot be read" in done.output
