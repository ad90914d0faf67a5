"""The stack that the tests of this folder send damaged files to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.stack.stack import Stack
from tests.e2e.running import running_stack
from tests.nightly.fuzz.run import SETTINGS


@pytest.fixture(scope="session")
def fuzzed() -> Iterator[Stack]:
    with running_stack(**SETTINGS) as stack:
        yield stack
