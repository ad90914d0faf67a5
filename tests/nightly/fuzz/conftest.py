"""The stack that the tests of this folder send damaged files to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.stack.stack import Stack
from tests.nightly.fuzz.run import SETTINGS
from tests.support.stacks import running_stack


@pytest.fixture(scope="session")
def fuzzed() -> Iterator[Stack]:
    with running_stack(**SETTINGS) as stack:
        yield stack
