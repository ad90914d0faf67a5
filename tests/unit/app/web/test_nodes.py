"""Requests for other nodes, without servers: nginx is asked to pass them on, once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from app import create_app
from app.nodes.peers import Answers
from app.settings import InvalidSetting, Settings
from app.web import nodes
from deploy.nginx import peers
from deploy.stack.ports import free_ports

JOB = "0123456789abcdef01234567"
UPLOAD = "0123456789abcdef0123456789abcdef"


def settings_of(tmp_path: Path) -> Settings:
    (port,) = free_ports(1)
    listed = f"a=127.0.0.1:{port},b=127.0.0.1:{port}"
    environment = {"CLIPSTACK_RUN_DIR": str(tmp_path), "CLIPSTACK_NODE": "a", "CLIPSTACK_NODES": listed}
    return Settings.from_environment(environment)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[FlaskClient]:
    settings = settings_of(tmp_path)
    (tmp_path / "uploads").mkdir()
    (settings.data_dir / "jobs").mkdir(parents=True)
    app = create_app(settings)
    peers = app.extensions["Peers"]
    with app.test_client() as client:
        yield client
    peers.close()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/v1/jobs/b-{JOB}"),
        ("DELETE", f"/v1/jobs/b-{JOB}"),
        ("GET", f"/v1/jobs/b-{JOB}/timeline"),
        ("POST", f"/v1/search?job=b-{JOB}&window=0"),
    ],
)
def test_request_for_another_node_s_job_is_passed_on(client: FlaskClient, method: str, path: str) -> None:
    assert client.open(path, method=method).headers["X-Accel-Redirect"] == "@peer_b"


def test_upload_on_another_node_is_used_there(client: FlaskClient) -> None:
    answer = client.post("/v1/jobs", json={"upload": f"b-{UPLOAD}"})
    assert answer.headers["X-Accel-Redirect"] == "@peer_b"


@pytest.mark.parametrize("identity", [f"a-{JOB}", f"z-{JOB}", JOB])
def test_jobs_of_this_node_and_of_unknown_ones_are_not_passed_on(client: FlaskClient, identity: str) -> None:
    answer = client.get(f"/v1/jobs/{identity}")
    assert (answer.status_code, answer.headers.get("X-Accel-Redirect")) == (404, None)


def test_request_is_passed_on_once(client: FlaskClient) -> None:
    answer = client.get(f"/v1/jobs/b-{JOB}", headers={"X-Clipstack-Relayed": "b"})
    assert (answer.status_code, answer.json["error"]["code"]) == (404, "job_not_found")


def test_list_names_the_nodes_that_do_not_answer(client: FlaskClient) -> None:
    assert client.get("/v1/jobs").json == {"jobs": [], "next_cursor": None, "missing_nodes": ["b"]}
    assert client.get("/v1/jobs", headers={"X-Clipstack-Relayed": "b"}).json["missing_nodes"] == []


def merged(client: FlaskClient, own: nodes.Page, pages: list[dict[str, Any]]) -> dict[str, Any]:
    """The page of this node's items and those of another node, which answers `pages` in turn."""

    class Peers:
        addresses = {"b": "b:1"}

        def ask(self, path: str, headers: object, items: Any) -> Answers:
            page = pages.pop(0)
            return Answers(items(page), page["next_cursor"] is not None, [])

    client.application.extensions["Peers"] = Peers()
    with client.application.test_request_context("/v1/jobs"):
        return nodes.with_other_nodes(own, lambda job: (job["created"], job["id"]))


def job(identity: str, second: int) -> dict[str, Any]:
    return {"id": identity, "created": f"{second:02}"}


def test_pages_have_the_newest_of_all_nodes(client: FlaskClient) -> None:
    other = {"jobs": [job("b-2", 5), job("b-1", 5)], "next_cursor": None}
    page = merged(client, nodes.Page("jobs", [job("a-2", 9), job("a-1", 3)], None, 3), [other])
    assert [entry["id"] for entry in page["jobs"]] == ["a-2", "b-2", "b-1"]
    assert page["next_cursor"] == "05~b-1"


@pytest.mark.parametrize(
    ("own_cursor", "other_cursor", "cursor"), [(None, None, None), ("x", None, "03~a-1"), (None, "x", "03~a-1")]
)
def test_page_is_the_last_if_no_node_has_more(
    client: FlaskClient, own_cursor: str | None, other_cursor: str | None, cursor: str | None
) -> None:
    other = {"jobs": [job("b-1", 5)], "next_cursor": other_cursor}
    page = merged(client, nodes.Page("jobs", [job("a-1", 3)], own_cursor, 3), [other])
    assert page["next_cursor"] == cursor


def test_nginx_knows_only_the_other_nodes(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    address = settings.other_nodes["b"]
    assert peers.upstreams(settings) == f"upstream peer_b {{ server {address} max_fails=0; }}\n"
    assert peers.paths(settings) == '"~^ /v1/(jobs/|uploads/|feedback/|webhooks/msg_)b-" peer_b;\n'
    assert peers.locations(settings).startswith("location @peer_b {")
    alone = Settings.from_environment({})
    assert peers.upstreams(alone) + peers.paths(alone) + peers.locations(alone) == ""


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"CLIPSTACK_NODE": "A"}, "lower-case letters"),
        ({"CLIPSTACK_NODE": "a-b"}, "lower-case letters"),
        ({"CLIPSTACK_NODES": "a=h:1"}, "CLIPSTACK_NODE is ''"),
        ({"CLIPSTACK_NODE": "c", "CLIPSTACK_NODES": "a=h:1,b=h:2"}, "set it to one of them"),
        ({"CLIPSTACK_NODE": "a", "CLIPSTACK_NODES": "a=h:1,a=h:2"}, "each node once"),
        ({"CLIPSTACK_NODE": "a", "CLIPSTACK_NODES": "a"}, "host:port"),
        ({"CLIPSTACK_REDIS_URL": "redis://h"}, "set CLIPSTACK_NODE"),
        (
            {"CLIPSTACK_NODE": "a", "CLIPSTACK_NODES": "a=h:1", "CLIPSTACK_TLS_CERT": "c", "CLIPSTACK_TLS_KEY": "k"},
            "plain HTTP",
        ),
    ],
)
def test_settings_that_contradict_each_other(environment: dict[str, str], reason: str) -> None:
    with pytest.raises(InvalidSetting, match=reason):
        Settings.from_environment(environment)
