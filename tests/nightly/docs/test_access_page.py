"""The commands of docs/access.md, run beside a stack that requires keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.stack.stack import Stack
from tests.nightly.docs.page_commands import run
from tests.support.api_keys import new_key
from tests.support.stacks import CHECKOUT, running_stack


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running_stack(keys="required", web_workers="1") as stack:
        yield stack


def blocks() -> list[list[str]]:
    page = (CHECKOUT / "docs" / "access.md").read_text()
    return [block.splitlines() for block in re.findall(r"```sh\n(.*?)```", page, re.S)]


def test_create_list_and_revoke_keys(stack: Stack, tmp_path: Path) -> None:
    own = stack.settings.environment() | {"CLIPSTACK_DATA_DIR": str(tmp_path / "data")}
    outputs = [run(stack, command, tmp_path, **own) for command in blocks()[0]]
    assert [text.partition("_")[0] for text in outputs[:2]] == ["clipstack"] * 2
    assert "picture,short" in outputs[2] and "bob" in outputs[4]


@pytest.mark.parametrize("command", blocks()[1])
def test_use_a_key(stack: Stack, tmp_path: Path, command: str) -> None:
    key = new_key(stack, f"user {len(command)}")
    (tmp_path / "key.txt").write_text(key)
    command = command.replace("clipstack_...", key)
    assert "camera_motion" in run(stack, command, tmp_path, CLIPSTACK_KEY="" if "file" in command else key)
