"""The load balancer's files, without nginx: nodes, upstreams, and which node an id is routed to."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.edge.checks import Condition
from deploy.edge.config import paths, upstreams, write
from deploy.edge.nodes import Edge, EdgeError, EdgeFile, Node, parse_node, parse_nodes

EDGE = Edge(nodes=parse_nodes(["a=10.0.0.1:8080", "b=10.0.0.2:8080", "ab=10.0.0.3:8080"]))
READY = dict.fromkeys(EDGE.nodes, Condition.READY)


def route(request: str, conditions: dict[str, Condition] = READY) -> str:
    """The upstream of `<header> <path> <job in the query>`, as nginx' map finds it."""
    for pattern, target in re.findall(r'^"~(.*)" (\w+);$', paths(EDGE, conditions), re.MULTILINE):
        if re.search(pattern, request):
            return str(target)
    return "nodes"


def new_work(edge: Edge, conditions: dict[str, Condition]) -> set[str]:
    """Addresses that get new work."""
    block = upstreams(edge, conditions).partition("}")[0]
    return set(re.findall(r"server (\S+) max_fails=1 fail_timeout=5s;", block))


@pytest.mark.parametrize(
    ("request_line", "target"),
    [
        (" /v1/jobs ", "nodes"),
        (" /v1/classify ", "nodes"),
        (" /v1/jobs/a-0123456789abcdef01234567 ", "node_a"),
        (" /v1/jobs/ab-0123456789abcdef01234567/events ", "node_ab"),
        (" /v1/uploads/b-0123456789abcdef0123456789abcdef ", "node_b"),
        (" /v1/feedback/b-0123456789abcdef01234567/source ", "node_b"),
        (" /v1/webhooks/msg_ab-0123456789abcdef0123456789abcdef/retry ", "node_ab"),
        (" /v1/webhooks/test ", "nodes"),
        (" /v1/search b-0123456789abcdef01234567", "node_b"),
        (" /v1/feedback ab-0123456789abcdef01234567", "node_ab"),
        (" /v1/jobs/0123456789abcdef01234567/timeline ", "node_a"),
        (" /v1/jobs/z-0123456789abcdef01234567 ", "nodes"),
        ("b /v1/webhooks ", "node_b"),
        ("bb /v1/webhooks ", "nodes"),
    ],
)
def test_request_is_routed_to_the_node_of_its_id(request_line: str, target: str) -> None:
    assert route(request_line) == target


def test_jobs_of_an_unreachable_node_are_refused() -> None:
    conditions = READY | {"b": Condition.AWAY}
    assert route(" /v1/jobs/b-0123456789abcdef01234567 ", conditions) == "away"
    assert new_work(EDGE, conditions) == {"10.0.0.1:8080", "10.0.0.3:8080"}


def test_jobs_of_a_node_that_is_not_ready_are_reachable() -> None:
    conditions = READY | {"a": Condition.NOT_READY}
    assert route(" /v1/jobs/a-0123456789abcdef01234567 ", conditions) == "node_a"
    assert new_work(EDGE, conditions) == {"10.0.0.2:8080", "10.0.0.3:8080"}


def test_without_a_ready_node_those_that_answer_get_the_work() -> None:
    conditions = {"a": Condition.NOT_READY, "b": Condition.AWAY, "ab": Condition.NOT_READY}
    assert new_work(EDGE, conditions) == {"10.0.0.1:8080", "10.0.0.3:8080"}


def test_drained_node_gets_no_work_and_keeps_its_jobs() -> None:
    edge = EDGE.with_node("b", replace(EDGE.node("b"), drained=True))
    assert new_work(edge, READY) == {"10.0.0.1:8080", "10.0.0.3:8080"}
    assert "upstream node_b { server 10.0.0.2:8080 max_fails=0; }" in upstreams(edge, READY)


def test_file_keeps_the_edge(tmp_path: Path) -> None:
    edge = replace(EDGE, listen="0.0.0.0:443", tls_cert="/etc/cert.pem", tls_key="/etc/key.pem")
    EdgeFile(tmp_path).write(edge)
    assert EdgeFile(tmp_path).read() == edge
    with EdgeFile(tmp_path).changing() as read:
        EdgeFile(tmp_path).write(read.without("a"))
    assert list(EdgeFile(tmp_path).read().nodes) == ["b", "ab"]


@pytest.mark.parametrize("content", ["", "[]", '{"nodes": 3}', '{"nodes": {"a": {"port": 1}}}'])
def test_damaged_file_is_an_error_that_names_it(content: str, tmp_path: Path) -> None:
    EdgeFile(tmp_path).path.write_text(content)
    with pytest.raises(EdgeError, match="nodes.json cannot be used"):
        EdgeFile(tmp_path).read()


@pytest.mark.parametrize("text", ["a", "a=host", "A=host:1", "a-b=host:1", "=host:1", "a=host:0", f"{'a' * 13}=host:1"])
def test_invalid_nodes(text: str) -> None:
    with pytest.raises(EdgeError, match="node|address"):
        parse_node(text)


def test_unknown_node_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(EdgeError, match="no node 'z': the nodes are a, b, ab"):
        EDGE.without("z")


def test_address_with_nginx_syntax_is_refused(tmp_path: Path) -> None:
    edge = Edge(nodes={"a": Node("host;:1")})
    with pytest.raises(ValueError, match="nginx cannot use"):
        write(tmp_path, edge, {})
