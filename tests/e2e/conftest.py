"""Fixtures of the stack tests alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.stack.stack import Stack
from tests.support.stacks import running_stack


@pytest.fixture(scope="module")
def small_stack() -> Iterator[Stack]:
    """A stack that a module may disturb: one worker, uploads of 1 MiB at most."""
    with running_stack(web_workers="1", max_upload_mb="1") as stack:
        yield stack
