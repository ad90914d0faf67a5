"""Ids with and without the name of a node."""

import re

import pytest

from app.jobs.storage.store import job_id
from app.nodes.ids import id_pattern, node_of, on_node

DIGITS = "0123456789abcdef01234567"


@pytest.mark.parametrize("node", ["", "a", "frankfurt12"])
def test_id_carries_its_node(node: str) -> None:
    identity = on_node(node, DIGITS)
    assert re.fullmatch(id_pattern(24), identity)
    assert node_of(identity) == node


@pytest.mark.parametrize(
    "text", ["", "a-", f"-{DIGITS}", f"A-{DIGITS}", f"a-b-{DIGITS}", f"../{DIGITS}", f"a-{DIGITS}0", "a"]
)
def test_invalid_ids(text: str) -> None:
    assert not re.fullmatch(id_pattern(24), text)


def test_job_id_of_an_idempotency_key_is_the_same_each_time() -> None:
    assert job_id("key", "owner", "a") == job_id("key", "owner", "a") == f"a-{job_id('key', 'owner')}"
    assert job_id("key", "other", "a") != job_id("key", "owner", "a")
    assert job_id(None, node="a").startswith("a-")
