"""`clipstack bulk --engine ray` on a real cluster of two raylets."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.archives import RAY_PYTHON, archive, parquet_rows, pictures
from tests.support.client_service import Received, RecordedService, Reply, recorded_service
from tests.support.ray_cluster import Cluster, ray_cluster
from tests.support.stacks import running_stack, until

pytestmark = [
    pytest.mark.skipif(not RAY_PYTHON.exists(), reason="no environment with Ray: deploy/setup ray"),
    pytest.mark.timeout(900),
]


def start(cluster: Cluster, source: Path, results: Path, *options: str) -> subprocess.Popen[str]:
    """Start the command in the environment with Ray."""
    command = [RAY_PYTHON, "-m", "clipstack_client", "bulk", source, "--to", results, "--engine", "ray"]
    command += ["--ray-address", cluster.address, *options]
    return subprocess.Popen(command, env=cluster.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def sent(service: RecordedService) -> Counter[str]:
    return Counter(request.headers["x-file-name"] for request in service.received if request.method == "POST")


def test_each_node_sends_to_its_own_service_and_a_killed_one_is_replaced(tmp_path: Path) -> None:
    files = archive(tmp_path / "archive", 400)
    with recorded_service() as first, recorded_service() as second, ray_cluster([first.url, second.url]) as cluster:
        running = start(cluster, tmp_path / "archive", tmp_path / "results", "--part-files", "20")
        until(lambda: len(sent(first)) > 20 and len(sent(second)) > 20, 120)
        cluster.nodes[1].kill()
        _, err = running.communicate(timeout=300)
        assert (running.returncode, "Warning" in err) == (0, False), err
        rows = parquet_rows(tmp_path / "results")
        assert sorted(row["file"] for row in rows) == [str(path) for path in files]
        # Files that were under way on the killed node are repeated, and no others
        assert sum((sent(first) + sent(second)).values()) <= 400 + 8


def test_killed_command_continues_on_the_cluster(tmp_path: Path) -> None:
    files = archive(tmp_path / "archive", 300)
    with recorded_service() as service, ray_cluster([service.url]) as cluster:
        usual = service.reply_to

        def slow(request: Received) -> Reply:
            time.sleep(0.03)
            return usual(request)

        service.reply_to = slow  # type: ignore[method-assign]
        for with_signal in (signal.SIGKILL, signal.SIGINT):
            before = sum(sent(service).values())
            running = start(cluster, tmp_path / "archive", tmp_path / "results", "--part-files", "30")
            until(lambda before=before: sum(sent(service).values()) > before + 50, 120)
            running.send_signal(with_signal)
            _, err = running.communicate(timeout=60)
            assert running.returncode == (-9 if with_signal == signal.SIGKILL else 130), err
        last = start(cluster, tmp_path / "archive", tmp_path / "results", "--part-files", "30")
        _, err = last.communicate(timeout=300)
        assert last.returncode == 0, err
        rows = parquet_rows(tmp_path / "results")
        assert sorted(row["file"] for row in rows) == [str(path) for path in files]
        assert sum(sent(service).values()) <= 300 + 2 * 8


def test_5000_pictures_on_two_nodes_of_which_one_dies(tmp_path: Path) -> None:
    files = pictures(tmp_path / "archive", 5000)
    results = tmp_path / "results"
    with (
        running_stack(models=["objects"], model="objects") as first,
        running_stack(models=["objects"], model="objects") as second,
        ray_cluster([first.url, second.url]) as cluster,
    ):
        running = start(cluster, tmp_path / "archive", results, "--part-files", "100")
        until(lambda: len(list(results.glob("part-*"))) >= 20, 300)
        cluster.nodes[1].kill()
        second.down()
        assert len(list(results.glob("part-*"))) < 45, "the node died too late"
        _, err = running.communicate(timeout=600)
        assert running.returncode == 0, err
    rows = parquet_rows(results)
    assert sorted(row["file"] for row in rows) == [str(path) for path in files]
    assert all(row["predictions"] and row["error_code"] is None for row in rows)
