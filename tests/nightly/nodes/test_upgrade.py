"""Rolling upgrade of all nodes under load, and 200 jobs with a node that is killed and one that is upgraded."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import pytest

from clipstack_client import Client, ClipstackError
from tests.nightly.nodes.conftest import Cluster
from tests.support.nodes import NodeProcess
from tests.support.stacks import CHECKOUT, until

pytestmark = pytest.mark.timeout(900)  # three nodes start before the first test

JOBS = 200
SENDERS = 3
PAUSE_S = 0.3
AWAY_S = 15  # the load balancer has noticed a fault


@dataclass
class Load:
    """Requests that flow while something happens, and the failures among them, each with its begin and its end."""

    film: bytes
    submits: bool = False
    accepted: list[str] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)
    failures: list[tuple[float, float, str]] = field(default_factory=list)

    def send(self, http: httpx.Client) -> None:
        """Send one file; a failure is anything but an answer that says it was taken."""
        path, expected = ("/v1/jobs", 202) if self.submits else ("/v1/classify", 200)
        began = time.monotonic()
        try:
            answer = http.post(path, content=self.film)
        except httpx.HTTPError as error:
            self.failures.append((began, time.monotonic(), repr(error)))
            return
        self.answers[answer.status_code] += 1
        if answer.status_code != expected:
            self.failures.append((began, time.monotonic(), f"{answer.status_code} {answer.text[:200]}"))
        elif self.submits:
            self.accepted.append(answer.json()["id"])


class Watch:
    """The Python client, asked about one job of each node: it waits for a node that is away for a moment."""

    def __init__(self, cluster: Cluster) -> None:
        with cluster.client() as http:
            jobs = http.get("/v1/jobs", params={"limit": 500}).json()["jobs"]
        of_node = {job["id"].partition("-")[0]: job["id"] for job in jobs}
        assert set(of_node) == set(cluster.nodes)
        self._ids, self._url, self._key = list(of_node.values()), cluster.edge.url, cluster.key
        self.asked, self.failures = 0, list[str]()

    def ask(self, _: httpx.Client) -> None:
        with Client(self._url, key=self._key, patience=120) as client:
            for identity in self._ids:
                self.asked += 1
                try:
                    assert client.job(identity).id == identity
                except ClipstackError as error:
                    self.failures.append(f"{identity}: {error}")


@contextmanager
def flowing(cluster: Cluster, *sends: Callable[[httpx.Client], None]) -> Iterator[None]:
    """Call each of `sends` again and again in a thread of its own, with a client of its own, while the block runs."""
    stopping = threading.Event()

    def sender(send: Callable[[httpx.Client], None]) -> None:
        with cluster.client() as http:
            while not stopping.is_set():
                send(http)
                stopping.wait(PAUSE_S)

    threads = [threading.Thread(target=sender, args=(send,)) for send in sends]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopping.set()
        for thread in threads:
            thread.join()


def upgrade(cluster: Cluster, node: NodeProcess) -> None:
    """Upgrade a node as an operator does: the command stops it, and starts it with its folders."""
    restart = [sys.executable, "-c", RESTART, *node.command("down"), "--", *node.command("up")]
    program = cluster.edge.command("upgrade", node.name, "--wait-s", "60", "--ready-s", "200", "--", *restart)
    done = subprocess.run(program, cwd=CHECKOUT, env=node.environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr


RESTART = """
import subprocess, sys

words = sys.argv[1:]
place = words.index("--")
for command in (words[:place], words[place + 1:]):
    subprocess.run(command, check=True)
"""


def test_rolling_upgrade_fails_no_request(cluster: Cluster, film: bytes) -> None:
    cluster.wait_ready()
    for node in cluster.nodes.values():
        with cluster.client(node) as http:
            http.post("/v1/jobs", content=film).raise_for_status()
    started = {name: set(node.stack.processes()) for name, node in cluster.nodes.items()}
    load = Load(film)
    watched = Watch(cluster)
    with flowing(cluster, *[load.send] * SENDERS, watched.ask):
        for node in cluster.nodes.values():
            upgrade(cluster, node)
    print(f"{load.answers.total()} files and {watched.asked} questions about jobs, {len(load.failures)} failed")
    assert load.failures == []
    assert watched.failures == []
    assert load.answers.total() > 20
    for name, node in cluster.nodes.items():
        assert not started[name] & set(node.stack.processes())


def test_200_jobs_with_one_node_killed_and_one_upgraded(cluster: Cluster, film: bytes) -> None:
    cluster.wait_ready()
    load = Load(film, submits=True)
    killed, upgraded = cluster.nodes["a"], cluster.nodes["b"]
    before = job_ids(cluster)
    with flowing(cluster, *[load.send] * SENDERS):
        until(lambda: len(load.accepted) >= JOBS // 5, 120)
        kill_began = time.monotonic()
        killed.kill()
        killed_at = time.monotonic()
        until(lambda: cluster.edge.condition("a") == "away", AWAY_S)
        killed.up()
        upgrade(cluster, upgraded)
        until(lambda: len(load.accepted) >= JOBS, 300)
    in_flight = [failure for failure in load.failures if failure[0] < killed_at and failure[1] > kill_began]
    assert load.failures == in_flight
    assert len(load.failures) <= SENDERS
    print(f"{len(load.accepted)} jobs accepted, {len(load.failures)} uploads failed, in flight at the kill")
    assert len(set(load.accepted)) == len(load.accepted)
    records = finished(cluster, load.accepted)
    assert Counter(record["state"] for record in records) == {"done": len(load.accepted)}
    ended = {record["id"]: record["finished"] for record in records}
    assert ended == {record["id"]: record["finished"] for record in finished(cluster, load.accepted)}
    assert {record["id"] for record in records} == set(load.accepted)
    spread = Counter(record["id"].partition("-")[0] for record in records)
    assert set(spread) == set(cluster.nodes)
    # Each job is on one node, and jobs whose answer was lost are the only other ones
    made = job_ids(cluster) - before
    assert set(load.accepted) <= made
    assert len(made - set(load.accepted)) <= len(load.failures)


def job_ids(cluster: Cluster) -> set[str]:
    """Return the ids of all jobs on all nodes."""
    folders = [node.stack.settings.data_dir / "jobs" for node in cluster.nodes.values()]
    return {path.name for folder in folders for path in folder.iterdir() if not path.name.startswith(".")}


def finished(cluster: Cluster, identities: list[str]) -> list[dict[str, object]]:
    """Return the records of these jobs once no job waits or runs on any node."""

    def open_jobs() -> list[str]:
        pages = [http.get("/v1/jobs", params={"state": state}).json() for state in ("queued", "running")]
        return [job["id"] for page in pages for job in page["jobs"]]

    def record(identity: str) -> dict[str, object]:
        answer = http.get(f"/v1/jobs/{identity}")
        assert answer.status_code == 200, answer.text
        body: dict[str, object] = answer.json()
        return body

    with cluster.client() as http, ThreadPoolExecutor(4) as pool:
        until(lambda: not open_jobs(), 400)
        return list(pool.map(record, identities))
