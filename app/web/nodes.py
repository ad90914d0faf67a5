"""Requests that concern other nodes: a job or an upload that is there, an idempotency key, a list of all jobs."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from flask import current_app, request

from app.nodes.idempotency import IdempotencyKeys
from app.nodes.ids import RELAYED_HEADER, OnOtherNode, node_of
from app.nodes.peers import Peers, merge

PEERS, IDEMPOTENCY = "clipstack.peers", "clipstack.idempotency"


def require_here(identity: str) -> None:
    """Raise OnOtherNode if the job or upload of this id is on another node, which has not sent the request here."""
    node = node_of(identity)
    if node in _peers().addresses and not _is_relayed():
        raise OnOtherNode(node)


def claimed(owner: str, key: str | None) -> AbstractContextManager[None]:
    """Return the block in which this node accepts a job with an idempotency key; see IdempotencyKeys.claimed."""
    keys: IdempotencyKeys = current_app.extensions[IDEMPOTENCY]
    return keys.claimed(owner, key, is_relayed=_is_relayed())


def with_other_nodes(jobs: list[dict[str, Any]], limit: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the newest `limit` of this node's `jobs` and those of the others, and the nodes that did not answer."""
    peers = _peers()
    if not peers.addresses or _is_relayed():
        return jobs, []
    others = peers.jobs(request.query_string.decode("latin-1"), request.headers)
    return merge([jobs, *others.pages], limit), others.missing


def _peers() -> Peers:
    result: Peers = current_app.extensions[PEERS]
    return result


def _is_relayed() -> bool:
    return RELAYED_HEADER in request.headers
