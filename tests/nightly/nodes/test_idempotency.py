"""Idempotency keys and lists hold over all nodes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.nightly.nodes.conftest import Cluster
from tests.support.job_requests import wait_for_job


def test_one_key_makes_one_job_whichever_node_gets_it(cluster: Cluster, http: httpx.Client, film: bytes) -> None:
    cluster.wait_ready()

    def submit(number: int) -> httpx.Response:
        url = f"http://{list(cluster.nodes.values())[number % 3].address}/v1/jobs"
        return httpx.post(url, content=film, headers={"Idempotency-Key": "one"}, timeout=60)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(submit, range(12)))
    assert {answer.status_code for answer in answers} <= {200, 202}, [answer.text for answer in answers]
    assert len({answer.json()["id"] for answer in answers}) == 1
    other = http.post("/v1/jobs", content=film + b"\0", headers={"Idempotency-Key": "one"})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_conflict")


def test_every_node_answers_for_every_job(cluster: Cluster, film: bytes) -> None:
    cluster.wait_ready()
    urls = [f"http://{node.address}" for node in cluster.nodes.values()]
    ids = {httpx.post(f"{url}/v1/jobs", content=film, timeout=60).json()["id"] for url in urls}
    assert {identity.partition("-")[0] for identity in ids} == set(cluster.nodes)
    for url in urls:
        with httpx.Client(base_url=url, timeout=60) as client:
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
        job = httpx.post(f"http://{node.address}/v1/jobs", json={"upload": identity}, timeout=60)
        assert job.status_code == 202, job.text
        assert job.json()["id"].partition("-")[0] == identity.partition("-")[0]
        assert wait_for_job(http, job.json()["id"])["state"] == "done"
