"""Idempotency keys, lists, limits of keys and logins hold over all nodes."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.nightly.nodes.conftest import Cluster
from tests.support.api_keys import new_key
from tests.support.job_requests import wait_for_job

pytestmark = pytest.mark.timeout(900)  # three nodes start before the first test


def test_one_key_makes_one_job_whichever_node_gets_it(cluster: Cluster, http: httpx.Client, film: bytes) -> None:
    cluster.wait_ready()

    def submit(number: int) -> httpx.Response:
        with cluster.client(list(cluster.nodes.values())[number % 3]) as client:
            return client.post("/v1/jobs", content=film, headers={"Idempotency-Key": "one"})

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(submit, range(12)))
    assert {answer.status_code for answer in answers} <= {200, 202}, [answer.text for answer in answers]
    assert len({answer.json()["id"] for answer in answers}) == 1
    other = http.post("/v1/jobs", content=film + b"\0", headers={"Idempotency-Key": "one"})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_conflict")


def test_every_node_answers_for_every_job(cluster: Cluster, film: bytes) -> None:
    cluster.wait_ready()
    ids = set()
    for node in cluster.nodes.values():
        with cluster.client(node) as client:
            ids.add(client.post("/v1/jobs", content=film).json()["id"])
    assert {identity.partition("-")[0] for identity in ids} == set(cluster.nodes)
    for node in cluster.nodes.values():
        with cluster.client(node) as client:
            for identity in ids:
                assert wait_for_job(client, identity)["state"] == "done"
            first = client.get("/v1/jobs", params={"limit": 2}).json()
            rest = client.get("/v1/jobs", params={"limit": 500, "cursor": first["next_cursor"]}).json()
            listed = [job["id"] for job in first["jobs"] + rest["jobs"]]
            assert ids <= set(listed)
            assert len(listed) == len(set(listed))


def test_resumable_upload_is_used_through_any_node(cluster: Cluster, http: httpx.Client, film: bytes) -> None:
    cluster.wait_ready()
    tus = {"Tus-Resumable": "1.0.0"}
    for node in cluster.nodes.values():
        created = http.post("/v1/uploads", headers={**tus, "Upload-Length": str(len(film))})
        chunk = {**tus, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        assert http.patch(created.headers["Location"], content=film, headers=chunk).status_code == 204
        identity = created.json()["id"]
        with cluster.client(node) as client:
            job = client.post("/v1/jobs", json={"upload": identity})
        assert job.status_code == 202, job.text
        assert job.json()["id"].partition("-")[0] == identity.partition("-")[0]
        assert wait_for_job(http, job.json()["id"])["state"] == "done"


def test_feedback_is_listed_and_removed_through_any_node(cluster: Cluster, http: httpx.Client, film: bytes) -> None:
    cluster.wait_ready()
    given = []
    for node in cluster.nodes.values():
        with cluster.client(node) as client:
            job = client.post("/v1/jobs", content=film).json()["id"]
            assert wait_for_job(client, job)["state"] == "done"
        entry = http.post("/v1/feedback", params={"job": job, "labels": "pan_left"})
        assert entry.status_code == 200, entry.text
        given.append(entry.json()["id"])
    assert {identity.partition("-")[0] for identity in given} == set(cluster.nodes)
    for node in cluster.nodes.values():
        with cluster.client(node) as client:
            first = client.get("/v1/feedback", params={"limit": 2}).json()
            rest = client.get("/v1/feedback", params={"cursor": first["next_cursor"]}).json()
            assert sorted(entry["id"] for entry in first["feedback"] + rest["feedback"]) == sorted(given)
            assert rest["next_cursor"] is None
            assert all(len(client.get(f"/v1/feedback/{identity}/source").content) == len(film) for identity in given)
    for identity in given:
        assert http.delete(f"/v1/feedback/{identity}").status_code == 200
    assert http.get("/v1/feedback").json()["feedback"] == []


def test_rate_of_a_key_holds_over_all_nodes(cluster: Cluster, film: bytes) -> None:
    cluster.wait_ready()
    nodes = list(cluster.nodes.values())
    key = new_key(nodes[0].stack, "slow", rate=0.01, burst=3)
    for node in nodes[1:]:
        cluster.share_keys(node)
    statuses = []
    for node in nodes:
        with cluster.client(node) as client:
            statuses += [
                client.post("/v1/classify", content=film, headers={"X-API-Key": key}).status_code for _ in range(2)
            ]
    assert statuses == [200, 200, 200, 429, 429, 429]


def test_login_at_one_node_holds_at_all(cluster: Cluster) -> None:
    cluster.wait_ready()
    first, *others = cluster.nodes.values()
    with httpx.Client(timeout=60) as browser:
        url = f"http://{first.address}/login"
        token = re.findall(r'name="csrf" value="([^"]+)"', browser.get(url).text)[0]
        assert browser.post(url, data={"csrf": token, "key": cluster.key}).status_code == 303
        cookies = {"clipstack": browser.cookies["clipstack"]}
    for node in others:
        assert httpx.get(f"http://{node.address}/v1/jobs", cookies=cookies, timeout=60).status_code == 200
        assert httpx.get(f"http://{node.address}/v1/jobs", timeout=60).status_code == 401
