"""Lists of several nodes: merged, with a bound on their time, and honest about nodes that are missing."""

from __future__ import annotations

import time
from typing import Any

from werkzeug.datastructures import Headers

from app.nodes.peers import TIMEOUT_S, Peers, merge
from deploy.stack.ports import free_ports


def job(identity: str, second: int) -> dict[str, Any]:
    return {"id": identity, "created": f"2026-05-04T10:00:{second:02}.000Z"}


def test_newest_of_all_pages_come_first() -> None:
    pages = [[job("a-1", 9), job("a-2", 3)], [], [job("b-1", 5), job("b-2", 5)]]
    assert [entry["id"] for entry in merge(pages, 3)] == ["a-1", "b-2", "b-1"]


def test_pages_go_on_where_the_one_before_ended() -> None:
    jobs = [[job(f"{node}-{number}", number) for number in range(20, 0, -1)] for node in "abc"]
    seen: list[str] = []
    before = ("~", "~")
    while True:
        pages = [[entry for entry in own if (entry["created"], entry["id"]) < before][:7] for own in jobs]
        page = merge(pages, 7)
        if not page:
            break
        seen += [entry["id"] for entry in page]
        before = (page[-1]["created"], page[-1]["id"])
    assert len(seen) == len(set(seen)) == 60


def test_node_that_does_not_answer_is_named_and_then_left_alone() -> None:
    (port,) = free_ports(1)
    peers = Peers("a", {"b": f"127.0.0.1:{port}"})
    try:
        began = time.monotonic()
        assert peers.jobs("limit=5", Headers()).missing == ["b"]
        assert time.monotonic() - began < TIMEOUT_S + 1
        assert peers.jobs("limit=5", Headers()).missing == ["b"]
    finally:
        peers.close()
