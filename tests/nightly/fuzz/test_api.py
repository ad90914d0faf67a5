"""A short run of odd requests: every answer is as the description of the API says."""

from __future__ import annotations

import pytest

from deploy.stack.stack import Stack
from tests.nightly.fuzz.api import tried

EXAMPLES = 3


def test_every_answer_is_as_described(fuzzed: Stack) -> None:
    pytest.importorskip("schemathesis", reason="deploy/setup fuzz was not run")
    result = tried(fuzzed, EXAMPLES, seed=1)
    assert result["status"] == 0, result["said"]
    assert result["requests"] > 200
