from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from deploy.stack.stack import Stack
from tests.support.api_keys import new_key, with_key


@pytest.fixture(scope="session")
def stack(configured_stack: Stack) -> Stack:
    return configured_stack


@pytest.fixture(scope="session")
def http(stack: Stack) -> Iterator[httpx.Client]:
    with with_key(stack, new_key(stack, "somebody")) as client:
        yield client
