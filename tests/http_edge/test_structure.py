"""Small requests and files of large structure, and clients that read nothing."""

from __future__ import annotations

import os
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from deploy.stack.stack import Stack
from tests.http_edge.conftest import DECODE_TIMEOUT_S
from tests.http_edge.connections import ALIVE, Reply, exchange
from tests.http_edge.requests import BOUNDARY, form, json_body, post
from tests.http_edge.response_checks import QUICK_S, ResponseCheck
from tests.http_edge.structured_files import boxes, pictures, tables
from tests.nightly.faults.stack_processes import web_workers
from tests.support.films import panning, write_video
from tests.support.stacks import until

ATTACKERS = 6
ATTACK_S = 3.0
MEDIAN_S, SLOWER = 0.25, 5
GROWTH_MB = 64
WINDOWS = 24_000
PAGE = 20_000
READERS = 12


def get(path: str, *headers: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def whole(path: str) -> bytes:
    """Return a request whose answer has no chunks and ends with its connection."""
    return f"GET {path} HTTP/1.0\r\nHost: x\r\n\r\n".encode()


def resident_mb(stack: Stack) -> dict[int, float]:
    """Return the memory of each web worker in MiB."""
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    pids = web_workers(stack)
    return {pid: int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page_bytes / 2**20 for pid in pids}


def sockets_of_web(stack: Stack) -> int:
    count = 0
    for pid in web_workers(stack):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                count += os.readlink(descriptor).startswith("socket:")
    return count


@contextmanager
def attacked(url: str, ways: list[bytes]) -> Iterator[list[Reply]]:
    """Send `ways` repeatedly from several clients for the block; yields the answers."""
    over, replies = threading.Event(), list[Reply]()

    def attack(first: int) -> None:
        number = first
        while not over.is_set():
            replies.append(exchange(url, ways[number % len(ways)]))
            number += 1

    threads = [threading.Thread(target=attack, args=(number,)) for number in range(ATTACKERS)]
    for thread in threads:
        thread.start()
    try:
        yield replies
    finally:
        over.set()
        for thread in threads:
            thread.join(60)


def seconds_of_another(stack: Stack) -> float:
    """Return the mean of another client's liveness check and small upload, in seconds."""
    sent = (ALIVE, post("/v1/classify", b"text"))
    return sum(exchange(stack.url, request).seconds for request in sent) / len(sent)


def measured(stack: Stack, ways: list[bytes]) -> list[Reply]:
    """Attack with `ways`, and compare another client's latency and the workers' memory with their limits."""
    before = resident_mb(stack)
    calm = statistics.median(seconds_of_another(stack) for _ in range(10))
    times, peak = list[float](), dict(before)
    with attacked(stack.url, ways) as replies:
        end = time.monotonic() + ATTACK_S
        while time.monotonic() < end or len(replies) < len(ways):
            times.append(seconds_of_another(stack))
            peak = {pid: max(peak.get(pid, 0.0), mb) for pid, mb in resident_mb(stack).items()}
            time.sleep(0.01)
    growth = max(peak[pid] - before.get(pid, peak[pid]) for pid in peak)
    median = statistics.median(times)
    limit = max(MEDIAN_S, SLOWER * calm)  # the machine may be busy with other things
    assert median <= limit, f"another client's median {median * 1e3:.0f} ms, {calm * 1e3:.0f} ms alone"
    assert growth <= GROWTH_MB, f"a worker's memory grew by {growth:.0f} MiB"
    assert set(before) == set(web_workers(stack)), "the same workers"
    return replies


def codes(replies: list[Reply]) -> set[str]:
    return {f"{reply.answer.status} {reply.error.get('code', '')}".strip() for reply in replies}


def test_json(edge: Stack) -> None:
    size, kind = 15 << 20, "Content-Type: application/json"
    bodies = [
        b"[" * size,
        b'{"a":' * (size // 5),
        b"[" + b"[]," * (size // 3) + b"1]",
        b"[" + b"{}," * (size // 3) + b"1]",
        b"[" + b'"",' * (size // 3) + b"1]",
        b"{" + b'"a":1,' * (size // 6) + b'"file":""}',
        b"[" + b"1," * (size // 2) + b"1]",
        b'{"' + b"k" * size + b'":1}',
        b'{"file":"' + b"\\u0041" * (size // 6) + b'",' + b'"file":""}',
        b'{"file":"' + b'\\"' * (size // 2) + b'"}',
        b" " * size,
        b"1" * size,
    ]
    replies = measured(edge, [post("/v1/classify", body, kind) for body in bodies])
    assert codes(replies) <= REFUSED | BUSY, f"{len(replies)} bodies: {sorted(codes(replies))}"


def test_files(edge: Stack, tmp_path: Path) -> None:
    ways = [post("/v1/classify", content) for content in (tables(tmp_path) | boxes(tmp_path)).values()]
    ways += [post("/v1/classify?model=frame_quality", content) for content in pictures().values()]
    replies = measured(edge, ways)
    known = {
        "200",
        "415 unsupported_media",
        "422 undecodable",
        "422 limit_exceeded",
        "422 no_video_stream",
        "422 wrong_media_kind",
        "422 decode_timeout",
        "504 deadline_exceeded",
    }
    assert codes(replies) <= known | BUSY, f"{len(replies)} files of {len(ways)} kinds: {sorted(codes(replies))}"
    assert (max(reply.seconds for reply in replies)) <= 10 * DECODE_TIMEOUT_S, "the slowest answer"


REFUSED = {"413 too_large", "400 bad_request", "400 missing_file", "400 empty_file", "400 invalid_multipart"}
BUSY = {"503 overloaded", "429 too_many_requests"}


def test_forms(edge: Stack) -> None:
    size, field = 15 << 20, b'name="a"'
    film = b'name="file"; filename="a.mp4"\r\n\r\n'
    delimiter = b"--" + BOUNDARY
    forms = [
        form(*[field + b"\r\n\r\nx"] * 200_000),
        form(*[field + b"\r\n" + b"X: a\r\n" * 2500 + b"\r\nx"] * 19),
        form(*[field + b"; a=b" * 3200 + b"\r\n\r\nx"] * 19),
        form(*[field + b'; a="\\\\"' * 1900 + b"\r\n\r\nx"] * 19),
        form(*[field + b"; a*0=b" * 2200 + b"\r\n\r\nx"] * 19),
        form(film + delimiter * (size // len(delimiter))),
        form(film + (b"\n" + delimiter + b"_") * (size // len(delimiter) // 2)),
        form(film + b"\r\n--" * (size // 4)),
        form(field + b"\r\n" + b"\r\x0b\x0c " * 100_000),
        post("/v1/classify", b"x", "Content-Type: multipart/form-data" + "; a*0=b" * 1000),
    ]
    replies = measured(edge, forms)
    others = codes(replies) - REFUSED - BUSY
    assert others <= {"415 unsupported_media", "422 undecodable"}, f"{len(replies)} forms: {sorted(codes(replies))}"


def test_headers_and_query(edge: Stack) -> None:
    ways = [
        get("/v1/jobs?" + "a&" * 3900),
        get("/v1/jobs?" + "limit=1&" * 950),
        get("/v1/jobs?" + "%61=%62&" * 950),
        get("/v1/jobs", "Cookie: " + "a=b; " * 1500),
        get("/v1/jobs", 'Cookie: a="' + "\\000" * 1900 + '"'),
        get("/v1/jobs", "Accept: " + "a/b;q=0.5," * 780),
        get("/v1/jobs", "Accept-Encoding: " + "a;q=0.1," * 950),
        get("/v1/jobs", "If-None-Match: " + 'W/"a",' * 1150),
        get("/v1/jobs", "Content-Type: a/b" + ";a=b" * 1900),
        get("/static/page.css", "Range: bytes=" + ",".join(["0-"] * 2500)),
        get("/static/page.css", "Range: bytes=" + ",".join(f"{n}-{n}" for n in range(900))),
        get("/v1/jobs", *[f"{name}: {'a,' * 3500}" for name in ("Accept", "Cookie", "If-Match")]),
    ]
    for way in ways:
        assert len(way) < 32_000, f"{len(way)} bytes of a request"
    replies = measured(edge, ways)
    assert codes(replies) <= {"200", "400 invalid_parameter", *BUSY}, f"{len(replies)}: {sorted(codes(replies))}"
    longest = max(len(reply.answer.body) for reply in replies)
    assert longest < 1 << 20, f"the longest answer {longest >> 10} KiB"


NUMBERS = ("9" * 260, "9" * 5000, "0" * 300, "-1", "18446744073709551616", "%D9%A3", "1e400", "0x1")


def test_numbers(check_response: ResponseCheck, long_job: str) -> None:
    for number in NUMBERS:
        what = f"{number[:12]} ({len(number)})"
        path = f"/v1/jobs/{long_job}/thumbnails/{number}.jpg"
        check_response(get(path), "404 not_found", within_s=QUICK_S, what=f"a picture's number {what}")
        for name in ("limit", "offset"):
            page = get(f"/v1/jobs/{long_job}?windows=true&{name}={number}")
            check_response(page, "400 invalid_parameter", within_s=QUICK_S, what=f"{name}={what}")
        listed = get(f"/v1/jobs?limit={number}")
        check_response(listed, "400 invalid_parameter", within_s=QUICK_S, what=f"a list's limit={what}")
        if number != "0" * 300:
            status = get(f"/status.json?after={number}")
            check_response(status, "400 invalid_parameter", within_s=QUICK_S, what=f"after={what}")
        for name in ("window_s", "hop_s", "margin", "top_k"):
            sent = post(f"/v1/jobs?{name}={number}", b"GIF89a")
            check_response(sent, "400 invalid_parameter", within_s=QUICK_S, what=f"{name}={what}")
        deadline = post("/v1/classify", b"text", f"X-Deadline-Ms: {number}")
        check_response(deadline, "400 invalid_parameter", within_s=QUICK_S, what=f"a deadline of {what}")
        check_response(get(f"/v1/jobs/{number}"), "404 job_not_found", within_s=QUICK_S, what=f"a job's id {what}")
        version = post(f"/v1/classify?model=camera_motion@{number}", b"GIF89a" + bytes(100))
        check_response(version, "404 model_not_found", within_s=QUICK_S, what=f"a version {what}")


@pytest.fixture(scope="module")
def long_job(edge: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A job with a timeline of WINDOWS windows: a pan, then a still of ten minutes."""
    path = tmp_path_factory.mktemp("long") / "still.mp4"
    film = write_video(path, panning(30, 320, 240), pts=[*range(0, 1160, 40), 600_000]).read_bytes()
    job = json_body(exchange(edge.url, post(f"/v1/jobs?hop_s={600 / WINDOWS}", film)))["id"]
    until(lambda: json_body(exchange(edge.url, get(f"/v1/jobs/{job}")))["state"] == "done", 150)
    yield job
    until(lambda: b"removed" in exchange(edge.url, get(f"/v1/jobs/{job}", method="DELETE")).answer.body, 10)


def test_heads_of_events(edge: Stack, long_job: str, check_response: ResponseCheck) -> None:
    path = f"/v1/jobs/{long_job}/events"
    places = edge.settings.max_watchers * edge.settings.web_workers
    heads = [exchange(edge.url, get(path, method="HEAD")).answer.status for _ in range(3 * places)]
    assert set(heads) == {200}, f"{len(heads)} times HEAD: {sorted(set(heads))}"
    for _ in range(2 * places):  # gone before the first event
        with socket.create_connection((urlsplit(edge.url).hostname, edge.settings.port)) as connection:
            connection.sendall(get(path))
    until(lambda: b"event: end" in exchange(edge.url, get(path, "Connection: close")).answer.body, 10)
    ends = [b"event: end" in exchange(edge.url, get(path, "Connection: close")).answer.body for _ in range(places)]
    assert all(ends), f"{len(ends)} clients follow after that"


def test_windows(edge: Stack, long_job: str) -> None:
    path = f"/v1/jobs/{long_job}?windows=true"
    count, offset = 0, 0
    while offset is not None:
        timeline = json_body(exchange(edge.url, whole(f"{path}&offset={offset}")))["timeline"]
        count += len(timeline["windows"])
        assert 0 < len(timeline["windows"]) <= PAGE, f"a page of {len(timeline['windows'])} windows"
        offset = timeline["next_offset"]
    assert abs(count - WINDOWS) < WINDOWS / 100, f"{count} windows in all"
    ways = [whole(path), whole(f"/v1/jobs/{long_job}/timeline?format=json"), whole(f"{path}&offset=9999")]
    replies = measured(edge, ways)
    assert codes(replies) <= {"200", *BUSY}, f"{len(replies)} pages: {sorted(codes(replies))}"


def test_slow_readers(edge: Stack, long_job: str) -> None:
    before = sockets_of_web(edge)
    with ExitStack() as readers:
        connections = []
        for _ in range(READERS):
            connection = readers.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", edge.settings.port))
            connection.sendall(whole(f"/v1/jobs/{long_job}?windows=true"))
            connections.append(connection)
        heads = [connection.recv(20) for connection in connections]
        assert all(head.startswith(b"HTTP/1.1 200") for head in heads), f"{len(heads)} answers have begun"
        held = _least(lambda: sockets_of_web(edge) - before, until_s=20)
        assert held <= 0, f"of {READERS} clients that read nothing web waits for {max(0, held)}"
        assert (exchange(edge.url, ALIVE).seconds) <= QUICK_S, "liveness meanwhile"
        body = connections[0].makefile("rb").read(1 << 20)
        assert body.count(b'"start_s"') > 1000, "the rest comes when it is read"


def _least(count: Callable[[], int], until_s: float) -> int:
    """Return the count once it is at most 0, else the last one after the time."""
    deadline = time.monotonic() + until_s
    while (now := count()) > 0 and time.monotonic() < deadline:
        time.sleep(0.1)
    return now
