"""One node killed, frozen, cut off or added: its jobs answer 503 and continue, new work goes elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest

from tests.nightly.nodes.conftest import Cluster
from tests.support.job_requests import submit_job, wait_for_job
from tests.support.leaks import regions
from tests.support.nodes import NodeProcess
from tests.support.stacks import until

pytestmark = pytest.mark.timeout(900)  # three nodes start before the first test

NOTICED_S = 15  # until the load balancer takes a node that does not answer out


@pytest.fixture(autouse=True)
def all_ready(cluster: Cluster) -> Iterator[None]:
    cluster.wait_ready()
    yield
    for node in cluster.nodes.values():
        node.mend()
        node.thaw()
        if not node.stack.processes():
            node.up()
    until(lambda: not regions(), 60)  # of killed processes


def job_on(http: httpx.Client, name: str, film: bytes) -> str:
    """Submit jobs until one is on the node `name`."""
    for _ in range(60):
        identity = str(submit_job(http, film, hop_s=0.06)["id"])
        if identity.startswith(f"{name}-"):
            return identity
    raise AssertionError(f"no job came to node {name}")


def assert_away(http: httpx.Client, identity: str) -> None:
    """The job's node is away, and the answer says so at once."""
    began = time.monotonic()
    answer = http.get(f"/v1/jobs/{identity}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "node_away"), answer.text
    assert int(answer.headers["Retry-After"]) >= 1
    assert time.monotonic() - began < 3


def assert_new_work_is_done(http: httpx.Client, film: bytes, without: str) -> None:
    for _ in range(6):
        record = submit_job(http, film)
        assert not record["id"].startswith(f"{without}-")
        assert http.post("/v1/classify", content=film).status_code == 200
    listed = http.get("/v1/jobs", params={"limit": 500}).json()
    assert set(listed["missing_nodes"]) - {"d"} == {without}  # d is listed, and does not exist yet
    assert record["id"] in {job["id"] for job in listed["jobs"]}


def test_killed_node_s_jobs_continue_when_it_is_back(
    cluster: Cluster, http: httpx.Client, film: bytes, long_film: bytes
) -> None:
    node = cluster.nodes["a"]
    identity = job_on(http, "a", long_film)
    node.kill()
    until(lambda: cluster.edge.condition("a") == "away", NOTICED_S)
    assert_away(http, identity)
    assert_new_work_is_done(http, film, "a")
    node.up()
    until(lambda: cluster.edge.condition("a") == "ready", NOTICED_S)
    assert wait_for_job(http, identity)["state"] == "done"


@pytest.mark.parametrize(
    ("fault", "repair"),
    [(NodeProcess.freeze, NodeProcess.thaw), (NodeProcess.cut, NodeProcess.mend)],
    ids=["frozen", "cut off"],
)
def test_node_that_does_not_answer(
    cluster: Cluster, http: httpx.Client, film: bytes, long_film: bytes, fault, repair
) -> None:
    node = cluster.nodes["b"]
    identity = job_on(http, "b", long_film)
    fault(node)
    until(lambda: cluster.edge.condition("b") == "away", NOTICED_S)
    assert_away(http, identity)
    assert_new_work_is_done(http, film, "b")
    repair(node)
    until(lambda: cluster.edge.condition("b") == "ready", 60)
    assert wait_for_job(http, identity)["state"] == "done"


def test_reads_before_the_fault_is_noticed_go_to_another_node(cluster: Cluster, http: httpx.Client) -> None:
    cluster.nodes["c"].cut()
    for _ in range(6):
        assert http.get("/v1/models").status_code == 200


def test_added_node_gets_work(cluster: Cluster, http: httpx.Client, film: bytes) -> None:
    node = NodeProcess("d", cluster.network, cluster.folder, **cluster.settings)
    cluster.share_keys(node)
    try:
        node.up()
        cluster.edge.call("add", node.spec)
        until(lambda: cluster.edge.condition("d") == "ready", NOTICED_S)
        identity = job_on(http, "d", film)
        assert wait_for_job(http, identity)["state"] == "done"
        listed = http.get("/v1/jobs", params={"limit": 500}).json()
        assert listed["missing_nodes"] == []
        assert identity in {job["id"] for job in listed["jobs"]}
        cluster.edge.call("drain", "d")
        assert http.get(f"/v1/jobs/{identity}").status_code == 200
        assert all(not submit_job(http, film)["id"].startswith("d-") for _ in range(8))
    finally:
        cluster.edge.call("remove", "d")
        node.down()
