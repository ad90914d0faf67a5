"""One stack that the tests of this folder stop, kill and reload in parts. Each test leaves it ready."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.stack.stack import Stack
from tests.support.stacks import running_stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    with running_stack(wait=False, web_workers="2", decoders="2", monitors="127.0.0.1") as stack:
        yield stack
