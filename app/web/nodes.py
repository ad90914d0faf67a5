"""Requests that concern other nodes: a job or an upload that is there, an idempotency key, a list of all jobs."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from operator import itemgetter
from typing import Any, NamedTuple

from flask import request

from app.nodes.idempotency import IdempotencyKeys
from app.nodes.ids import RELAYED_HEADER, OnOtherNode, node_of
from app.nodes.peers import Peers
from app.parts import part


class Page(NamedTuple):
    """A page of at most `limit` items of the list `name`, and the cursor of the next one."""

    name: str
    items: list[dict[str, Any]]
    next_cursor: str | None
    limit: int


def require_here(identity: str) -> None:
    """Raise OnOtherNode if the job or upload of this id is on another node, which has not sent the request here."""
    node = node_of(identity)
    if node in part(Peers).addresses and not _is_relayed():
        raise OnOtherNode(node)


def claimed(owner: str, key: str | None) -> AbstractContextManager[None]:
    """Return the block in which this node accepts a job with an idempotency key; see IdempotencyKeys.claimed."""
    return part(IdempotencyKeys).claimed(owner, key, is_relayed=_is_relayed())


def with_other_nodes(own: Page, key: Callable[[dict[str, Any]], tuple[Any, str]]) -> dict[str, Any]:
    """Return the JSON of a page of all nodes' items, and the names of the nodes that did not answer.

    `key` returns time and id of an item, by which lists are sorted, the largest first. They are its cursor, too.
    """
    peers, items, cursor, missing = part(Peers), own.items, own.next_cursor, list[str]()
    if peers.addresses and not _is_relayed():
        path = f"{request.path}?{request.query_string.decode('latin-1')}"
        others = peers.ask(path, request.headers, lambda answer: [(key(item), item) for item in answer[own.name]])
        missing = others.missing
        found = sorted([*((key(item), item) for item in items), *others.items], key=itemgetter(0), reverse=True)
        items = [item for _, item in found[: own.limit]]
        has_more = len(found) > own.limit or own.next_cursor is not None or others.has_more
        cursor = "{}~{}".format(*found[len(items) - 1][0]) if has_more and items else None
    return {own.name: items, "next_cursor": cursor, "missing_nodes": missing}


def _is_relayed() -> bool:
    return RELAYED_HEADER in request.headers
