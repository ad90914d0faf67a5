"""Files that point to other files and servers open nothing but themselves."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.stack.stack import Stack
from tests.http_edge.connections import exchange
from tests.http_edge.files import concat, film, playlist, session
from tests.http_edge.requests import json_body, post
from tests.http_edge.response_checks import ResponseCheck
from tests.http_edge.test_files import Listener, listening, pointing
from tests.support.leaks import descendants
from tests.support.stack_state import pid_of
from tests.support.stacks import until

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


def get(path: str, *headers: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def test_pointing(check_response: ResponseCheck, tmp_path: Path) -> None:
    url = check_response.stack.url
    with listening() as listener:
        ways = [*pointing(listener.port).values(), *more_ways(listener, tmp_path)]
        jobs = []
        for content in ways:
            now, later = (exchange(url, post(path, content)) for path in ("/v1/classify", "/v1/jobs"))
            if later.answer.status == 202:  # its content is checked later
                jobs.append(json_body(later)["id"])
            if now.answer.status not in (415, 422) or later.answer.status not in (415, 422, 202):
                pytest.fail(f"{content[:20]!r}: {now.answer.status}, as a job {later.answer.status}")
        ends = {_end_of_job(url, job) for job in jobs}
        assert ends <= {"failed"}, f"jobs that were taken in: {len(jobs)}, ended as {sorted(ends)}"
        assert listener.came() == 0, f"{2 * len(ways)} files; connections and datagrams: {listener.came()}"


def _end_of_job(url: str, identity: str) -> str:
    """Return the state in which the job ends, and remove it."""

    def state() -> str:
        return str(json_body(exchange(url, get(f"/v1/jobs/{identity}")))["state"])

    until(lambda: state() not in ("queued", "running"), 20)
    ended = state()
    until(lambda: b"removed" in exchange(url, get(f"/v1/jobs/{identity}", method="DELETE")).answer.body, 10)
    return ended


def more_ways(listener: Listener, folder: Path) -> list[bytes]:
    """Return files that look like media and point elsewhere."""
    address = f"http://127.0.0.1:{listener.port}/a.ts"
    stream = bytearray(4096)
    stream[::188] = b"\x47" * len(stream[::188])
    lines = b"\n" + session(listener.port)
    stream[1 : 1 + len(lines)] = lines
    good = film(folder)
    reference = good.replace(b"\0\0\0\x0curl \0\0\0\x01", b"\0\0\0\x0curl \0\0\0\0")  # its frames are in another file
    return [
        bytes(stream),
        b"\xef\xbb\xbf" + playlist(address),
        b"\n\n" + playlist(address),
        b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + playlist(address),
        b"GIF89a" + concat(address),
        b"RIFF\xff\xff\0\0AVI " + playlist(address),
        b"\x1aE\xdf\xa3" + playlist(address),
        reference[: len(reference) // 2],
    ]


@contextmanager
def traced(pids: set[int], into: Path) -> Iterator[None]:
    """Write the system calls of these processes and their children to a file."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs strace")
    calls = "connect,sendto,sendmsg,sendmmsg,openat"
    words = [strace, "-f", "-qq", "-e", f"trace={calls}", "-o", str(into), *(f"-p{pid}" for pid in sorted(pids))]
    with subprocess.Popen(words, stderr=subprocess.PIPE) as process:
        try:
            until(lambda: process.poll() is not None or all(_traced(pid) for pid in pids), 10)
            if process.poll() is not None:
                assert process.stderr is not None
                pytest.skip(f"strace may not: {process.stderr.read().decode().splitlines()[:1]}")
            yield
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(20)


def _traced(pid: int) -> bool:
    try:
        return "TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True  # it ended


@AS_ROOT
def test_calls(edge: Stack, tmp_path: Path) -> None:
    web = pid_of(edge, "web")
    with listening() as listener:
        with traced({web, *descendants(web)}, tmp_path / "calls"):
            good = exchange(edge.url, post("/v1/classify", film(tmp_path)))
            for content in [*pointing(listener.port).values(), *more_ways(listener, tmp_path)]:
                exchange(edge.url, post("/v1/classify", content))
        came = listener.came()
    calls = (tmp_path / "calls").read_text(errors="replace").splitlines()
    assert good.answer.status == 200, "a good film meanwhile is answered"
    opened = sum("openat" in call and "/uploads" in call or "openat" in call and '"0' in call for call in calls)
    assert opened > 0, f"{len(calls)} calls seen, {opened} that open an upload"
    out = [call for call in calls if "sa_family=AF_INET" in call]
    assert not out, f"calls with an address: {len(out)}"
    assert came == 0, f"connections and datagrams: {came}"
