"""Limits, headers, error messages, logs, users, ports and shared memory."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.settings import GRPC_SOCKET, METRICS_SOCKET
from deploy.stack import paths
from deploy.stack.stack import Stack
from tests.http_edge.conftest import MAX_UPLOAD_MB
from tests.http_edge.connections import Reply, Stalled, exchange, latencies
from tests.http_edge.files import film
from tests.http_edge.listening_ports import is_loopback, listeners, sockets
from tests.http_edge.requests import form, json_body, part, post
from tests.http_edge.response_checks import QUICK_S, ResponseCheck
from tests.http_edge.stack_snapshot import logs
from tests.support.leaks import SHARED_MEMORY
from tests.support.other_users import connect_as, owner_of
from tests.support.stack_state import pid_of, regions
from tests.support.stacks import until

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


def get(path: str, *headers: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def test_slow_clients(edge: Stack, stalled: Stalled) -> None:
    ended = stalled.ended(stalled.bodies, 35)
    assert len(ended) == stalled.BODIES, f"{stalled.BODIES} stalled uploads, closed: {len(ended)}"
    assert (max(seconds for seconds, _ in ended)) <= 35, "the last after"
    for what, during, after in zip(("liveness", "a refused file"), stalled.latencies, latencies(edge.url), strict=True):
        figures = f"{what}: {during * 1000:.1f} ms meanwhile, {after * 1000:.1f} ms without them"
        assert during <= 1.2 * after + 0.01, figures


def test_limits(check_response: ResponseCheck) -> None:
    upload = f"Content-Length: {(MAX_UPLOAD_MB << 20) + (1 << 20)}"
    for path in ("/v1/classify", "/v1/jobs", "/"):
        check_response(
            get(path, upload, method="POST"), "413 too_large", within_s=QUICK_S, closed=True, app=(0,), what=path
        )
    for path in ("/v1/models", "/healthz"):
        sent = get(path, "Content-Length: 65537", method="POST")
        check_response(sent, "413 too_large", within_s=QUICK_S, closed=True, app=(0,), what=path)
    large = get("/", *[f"X-{number}: {'a' * 4000}" for number in range(10)])
    check_response(large, "431 headers_too_large", within_s=QUICK_S, closed=True, app=(0,), what="40 KB of headers")
    check_response(
        get("/" + "a" * 9000), "414 uri_too_long", within_s=QUICK_S, closed=True, app=(0,), what="9 KB of address"
    )


KINDS = {
    "the page": get("/"),
    "HEAD": get("/", method="HEAD"),
    "a file": get("/static/page.css"),
    "a file not changed": get("/static/page.css", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"),
    "a part of a file": get("/static/page.css", "Range: bytes=0-9"),
    "no part of a file": get("/static/page.css", "Range: bytes=99999999-"),
    "a file that changed": get("/static/page.css", 'If-Match: "x"'),
    "no file": get("/static/nothing.css"),
    "a host of somebody else": b"GET / HTTP/1.1\r\nHost: attacker.example\r\n\r\n",
    "another site's request": post("/v1/classify", b"text", "Origin: http://attacker.example"),
    "an odd referer": get("/", "Referer: \x1b"),
    "a folder": get("/static/"),
    "liveness": get("/healthz"),
    "readiness": get("/readyz"),
    "models": get("/v1/models"),
    "jobs": get("/v1/jobs"),
    "no job": get("/v1/jobs/none"),
    "no address": get("/nothing"),
    "no method": get("/v1/models", "Content-Length: 0", method="DELETE"),
    "a method of its own": get("/v1/models", method="BREW"),
    "a short method": get("/v1/models", method="A"),
    "no HTTP": b"what is this\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "too many headers": get("/v1/models", *[f"X-{number}: 1" for number in range(150)]),
    "a long address": get("/" + "a" * 9000),
    "no media": post("/v1/classify", b"text"),
    "no media, on the page": post("/", b"text"),
    "too large": get("/v1/classify", "Content-Length: 99999999999", method="POST"),
    "HTTP/9.9": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
}


EACH = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
}


@pytest.fixture(scope="module")
def kinds(edge: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[bytes, Reply]]]:
    """Each kind of answer with the bytes of its head, those of a finished job too."""
    content = film(tmp_path_factory.mktemp("job"))
    job = json_body(exchange(edge.url, post("/v1/jobs", content)))["id"]
    until(lambda: json_body(exchange(edge.url, get(f"/v1/jobs/{job}")))["state"] == "done", 30)
    own = {name: get(f"/v1/jobs/{job}/{name}") for name in ("source", "timeline?format=svg", "thumbnails/0.jpg")}
    own["no part of a video"] = get(f"/v1/jobs/{job}/source", "Range: bytes=99999999-")
    own["a video that changed"] = get(f"/v1/jobs/{job}/source", 'If-Match: "x"')
    ways = KINDS | own | {"an answer": post("/v1/classify", content)}
    yield {what: (sent, exchange(edge.url, sent)) for what, sent in ways.items()}
    until(lambda: b"removed" in exchange(edge.url, get(f"/v1/jobs/{job}", method="DELETE")).answer.body, 10)


def test_headers(kinds: dict[str, tuple[bytes, Reply]]) -> None:
    statuses = sorted({reply.answer.status for _, reply in kinds.values()})
    assert len(kinds) > 20 and len(statuses) > 9, f"{len(kinds)} kinds of answers: {statuses}"
    for what, (sent, reply) in kinds.items():
        headers = reply.answer.headers
        if twice := reply.answer.twice:
            pytest.fail(f"{what}: twice {sorted(twice)}")
        for_people = sent.startswith(b"POST / ") and reply.answer.headers["content-type"].startswith("text/html")
        if reply.answer.status >= 400 and not for_people and not reply.error:
            pytest.fail(f"{what}: {reply.answer.status} without our JSON")
        for name, value in EACH.items():
            if headers.get(name) != value or name in reply.answer.twice:
                pytest.fail(f"{what}: {name} is {headers.get(name)}")
        policy = headers.get("content-security-policy", "")
        if "default-src 'none'" not in policy or "unsafe" in policy or "content-security-policy" in reply.answer.twice:
            pytest.fail(f"{what}: policy {policy!r}")
        if "frame-ancestors 'none'" not in policy and "sandbox" not in policy:
            pytest.fail(f"{what}: may be framed")


PRODUCTS = re.compile(r"nginx/|gunicorn|werkzeug|python|flask|triton/|openvino|\b\d+\.\d+\.\d+\b", re.IGNORECASE)


def test_versions(kinds: dict[str, tuple[bytes, Reply]]) -> None:
    for what, (_, reply) in kinds.items():
        words = "\n".join(f"{name}: {value}" for name, value in reply.answer.headers.items())
        if reply.answer.status >= 400:
            words += reply.answer.body.decode(errors="replace")
        if found := PRODUCTS.search(words):
            pytest.fail(f"{what} says {found[0]}")
        if reply.answer.headers.get("server") != "nginx":
            pytest.fail(f"{what}: server {reply.answer.headers.get('server')}")
    gunicorns = [kinds[what][1] for what in ("a short method", "too many headers")]
    assert all(gunicorn.error for gunicorn in gunicorns), (
        f"gunicorn's own: {[reply.answer.status for reply in gunicorns]}"
    )


def test_own_mistake(check_response: ResponseCheck, edge: Stack) -> None:
    jobs = edge.settings.data_dir / "jobs"
    jobs.rename(away := jobs.with_name("jobs-away"))
    try:
        reply = check_response(get("/v1/jobs"), "500 internal")
    finally:
        away.rename(jobs)
    story = f"request {reply.error['request_id']} failed"
    until(lambda: story in "\n".join(logs(edge)["web.log"]), 5)
    assert "FileNotFoundError" in "\n".join(logs(edge)["web.log"]), "the log has its id"
    check_response(get("/v1/jobs"), "200", what="right after")


LONGEST = 4096
ODD = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


# Control characters of seven bits and of eight (C1), alone and in UTF-8, line separators and changes of direction
RAW = (b"\x1b[31m", b"\x7f", b"\x9b31m", b"\xc2\x9b31m", b"\xc2\x85", b"\xe2\x80\xa8", b"\xe2\x80\xae", b"\xff")
PERCENT = ((0x1B, "[31m"), (0x0A, ""), (0x7F, ""), (0x9B, "31m"), (0xC2, "%9b31m"), (0xE2, "%80%ae"))


def _one_odd() -> Iterator[tuple[bytes, ...]]:
    """Yield address, Host, Referer and User-Agent of requests; one of them has odd characters."""
    for raw in RAW:
        for place in range(4):
            yield tuple(b"x" + raw * (place == here) for here in range(4))


def test_logs(edge: Stack) -> None:
    red, long = "\x1b[31m", "n" * 10_240
    sent = [
        form(part(b"text", (long + red).encode())),
        get("/%0a%1b[31m%e2%80%a8" + "a" * 6000),
        get("/v1/models?model=" + "b" * 6000),
        get("/v1/models", method="M" * 900),
        get("/v1/models", f"User-Agent: {red}{'u' * 5000}"),
        get("/v1/models", f"Referer: {red}\u009b"),
        get("/healthz", f"Referer: {red}", "Content-Length: 99999", method="POST"),
        get("/healthz", "Referer: http://x/" + "r" * 5000, "Content-Length: 99999", method="POST"),
        get("/v1/models", f'X-File-Name: "\\{red}'),
        post("/v1/classify?model=%0aINFO%20all%20is%20well%1b" + "m" * 5000, b"text", "X-File-Name: a%0aINFO%20fine"),
        b'GET /\x1b[31m HTTP/1.1\r\nHost: a"b\\\r\n\r\n',
        b"GET /v1/models HTTP/1.1\r\nHost: \xff\xfe\x1b\r\n\r\n",
        *(b"GET /%s HTTP/1.1\r\nHost: %s\r\nReferer: %s\r\nUser-Agent: %s\r\n\r\n" % places for places in _one_odd()),
        *(get(f"{path}%{letter:02x}{tail}") for path in ("/static/", "/v1/jobs/") for letter, tail in PERCENT),
        get("/last-of-the-odd-ones"),
    ]
    for item in sent:
        exchange(edge.url, item)
    until(lambda: "/last-of-the-odd-ones" in "\n".join(logs(edge)["nginx-access.log"]), 5)
    count, longest = 0, 0
    for name, lines in logs(edge).items():
        for line in lines:
            count += 1
            if " [DEBUG] " in line:
                continue  # gunicorn's own message with the whole request line, below the default level
            longest = max(longest, len(line))
            if name.startswith("nginx") and not line.isascii():
                pytest.fail(f"{name}: {line[:80]!r} has raw bytes of a client")
            if len(line) > LONGEST or ODD.search(line):
                pytest.fail(f"{name}: {line[:80]!r}, {len(line)} letters")
        if name == "nginx-access.log":
            whole = [json.loads(line) for line in lines if line]
            assert all({"path", "status"} <= set(item) for item in whole), f"{len(whole)} requests, a line each"
    assert count > 20 and longest <= LONGEST, f"{count} lines in all logs, the longest {longest} letters"
    assert not [line for line in logs(edge)["web.log"] if line.startswith("INFO")], "no line forged by a client"


@AS_ROOT
def test_socket(edge: Stack) -> None:
    socket = edge.run_dir / paths.WEB_SOCKET
    own = socket.with_name("web.behind.sock")  # gunicorn's, behind the tap that has its name now
    for path in (own, socket):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660, f"socket {stat.S_IMODE(path.stat().st_mode):o}"
        assert connect_as("nobody", path) == "PermissionError"
    for folder in (socket.parent, edge.run_dir):
        mode = stat.S_IMODE(folder.stat().st_mode)
        assert not mode & 0o7 and not mode & 0o020, f"folder {folder.name} {mode:o}"


@AS_ROOT
def test_users(edge: Stack) -> None:
    if edge.warnings:
        pytest.skip(f"the stack runs as root: {edge.warnings[0]}")
    masters = {int((edge.run_dir / name).read_text()) for name in ("supervisord.pid", "nginx.pid")}
    owners = {pid: owner_of(pid) for pid in edge.processes()}
    rooted = {name for pid, name in edge.processes().items() if not owners.get(pid, 1)}
    assert {pid for pid, owner in owners.items() if owner == 0} == masters, f"root: {sorted(rooted)}"
    assert len(owners) - len(masters) > 8, f"others: {len(owners) - len(masters)} processes"


def test_ports(edge: Stack) -> None:
    own = {address for inode, address in listeners().items() if inode in sockets(edge.processes())}
    ports = {int(address.rpartition(":")[2], 16) for address in own}
    assert ports == {edge.settings.port}, f"{len(ports)} port, nginx's"
    assert all(is_loopback(address) for address in own), "on loopback"
    sockets_of_triton = {path.name for path in edge.settings.triton_sockets.iterdir()}
    assert sockets_of_triton == {GRPC_SOCKET, METRICS_SOCKET}, "Triton: sockets of gRPC and metrics"
    mode = stat.S_IMODE(edge.settings.triton_sockets.stat().st_mode)
    assert mode == 0o700, f"their folder {mode:o}"


def test_regions(edge: Stack) -> None:
    names = regions(edge)
    modes = {f"{stat.S_IMODE((SHARED_MEMORY / name).stat().st_mode):o}" for name in names}
    assert modes == {"600"}, f"{len(names)} regions, {'/'.join(sorted(modes))}"
    assert all(re.fullmatch(r"clipstack-\d+-[0-9a-f]{8,}", name) for name in names), "random names"
    regions_of_triton = SHARED_MEMORY.glob(f"{paths.triton_regions(edge.run_dir)}*")
    of_triton = {f"{stat.S_IMODE(path.stat().st_mode):o}" for path in regions_of_triton}
    assert of_triton == {"600"}, f"Triton's own, between it and its models: {'/'.join(sorted(of_triton))}"


def test_model_control(edge: Stack) -> None:
    command = Path(f"/proc/{pid_of(edge, 'triton')}/cmdline").read_bytes().decode().split("\0")
    # Explicit, not none: root and the service's user add and replace models while it runs
    assert [word for word in command if "control-mode" in word] == ["--model-control-mode=explicit"]
