"""Rows 35 to 47: forms, parameters, names, jobs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.stack.stack import Stack
from tests.http_edge.files import film
from tests.http_edge.request_tap import Tap
from tests.http_edge.requests import form, part, post, told
from tests.http_edge.response_checks import QUICK_S, Judge
from tests.http_edge.rows import INPUTS, Input
from tests.nightly.faults.rows import Row
from tests.support.api_keys import new_key
from tests.support.stacks import running_stack

TABLE = Input


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return film(tmp_path_factory.mktemp("good"))


WRONG: dict[int, bytes] = {
    35: post("/v1/classify", b"--x\r\n", "Content-Type: multipart/form-data"),
    36: form(part(b"a film"), end=b""),
    37: form(b'name="top_k"\r\n\r\n3'),
    38: form(part(b"")),
    39: form(part(b"a film"), part(b"another")),
}


@pytest.mark.parametrize("number", WRONG, ids=str)
def test_form(number: int, answered: Judge) -> None:
    answered(WRONG[number], INPUTS[number][1], within_s=QUICK_S)


def test_40_top_k(answered: Judge, good: bytes) -> None:
    for value in ("-1", "NaN", "1e9", "0", "1.5", "%D9%A3", "99999999999999999999"):
        sent = post(f"/v1/classify?top_k={value}", good)
        answered(sent, "400 invalid_parameter", within_s=QUICK_S, what=f"top_k={value}")
    answered(form(part(good), b'name="top_k"\r\n\r\n-1'), "400 invalid_parameter", within_s=QUICK_S, what="in a form")


def test_41_model(answered: Judge, good: bytes) -> None:
    for name in ("../x", "%2e%2e%2fx", "camera_motion/../frame_quality", "camera_motion@../1", "%00", "a" * 5000):
        sent = post(f"/v1/classify?model={name}", good)
        answered(sent, "404 model_not_found", within_s=QUICK_S, what=f"model={name[:30]}")


def test_42_idempotency(answered: Judge, edge: Stack, good: bytes, row: Row) -> None:
    key = "Idempotency-Key: edge-42"
    first = answered(post("/v1/jobs", good, key), "202", what="first")
    again = answered(post("/v1/jobs", good, key), "200", what="the same again")
    answered(post("/v1/jobs", good[:-9], key), "409 idempotency_conflict", within_s=QUICK_S, what="another body")
    answered(post("/v1/jobs?top_k=2", good, key), "409 idempotency_conflict", within_s=QUICK_S, what="other parameters")
    padded, other = "Idempotency-Key: edge-42-padded", b"\0" * 7 + b"\1"  # nothing at the end harms an MP4
    second = answered(post("/v1/jobs", good + bytes(8), padded), "202", what="another key")
    answered(
        post("/v1/jobs", good + other, padded), "409 idempotency_conflict", within_s=QUICK_S, what="a byte differs"
    )
    row.holds("one job", bool(told(first)) and told(first)["id"] == told(again)["id"])
    for job in (first, second):
        removed = b"DELETE /v1/jobs/%s HTTP/1.1\r\nHost: x\r\n\r\n" % told(job)["id"].encode()
        while told(answered(removed, "200", what="removed")).get("state") != "removed":
            pass


@pytest.fixture(scope="module")
def keyed() -> Iterator[Stack]:
    """A stack of its own: the other one asks nobody for a key."""
    with running_stack(keys="required") as stack:
        yield stack


def test_43_token(keyed: Stack, tap: Tap, row: Row) -> None:
    asked, good = Judge(keyed, tap, row), new_key(keyed, "good")
    name, _, secret = good.rpartition("_")
    wrong = {
        "none": "",
        "another": "nothing",
        "one letter less": good[:-1],
        "another's secret": f"{name}_{secret[::-1]}",
    }
    for what, key in wrong.items():
        for head in (f"Authorization: Bearer {key}", f"X-API-Key: {key}", f"Authorization: Basic {key}"):
            sent = f"GET /v1/jobs HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode()
            asked(sent, "401 unauthorized", within_s=QUICK_S, what=what)
    asked(f"GET /v1/jobs HTTP/1.1\r\nHost: x\r\nX-API-Key: {good}\r\n\r\n".encode(), "200", what="a good one")


def test_44_tenant(keyed: Stack, tap: Tap, row: Row, good: bytes) -> None:
    asked = Judge(keyed, tap, row)
    mine, theirs = (f"X-API-Key: {new_key(keyed, name)}" for name in ("me", "they"))
    job = told(asked(post("/v1/jobs", good, theirs), "202", what="their job"))["id"]
    for method, rest in (("GET", ""), ("GET", "/events"), ("GET", "/timeline"), ("GET", "/source"), ("DELETE", "")):
        sent = f"{method} /v1/jobs/{job}{rest} HTTP/1.1\r\nHost: x\r\n{mine}\r\n\r\n".encode()
        asked(sent, "404 job_not_found", within_s=QUICK_S, what=f"{method} {rest}".strip())
    asked(f"GET /v1/jobs/{job} HTTP/1.1\r\nHost: x\r\n{theirs}\r\n\r\n".encode(), "200", what="they themselves")


NAMES: dict[int, tuple[bytes, str]] = {
    45: (b"../../etc/passwd", "passwd"),
    46: (b"a%0D%0AX-Evil: 1%0D%0A.mp4", "a%0D%0AX-Evil: 1%0D%0A.mp4"),
    47: (b"n" * 10_240, "n" * 200),
}


@pytest.mark.parametrize("number", NAMES, ids=str)
def test_name(number: int, answered: Judge, edge: Stack, row: Row, good: bytes) -> None:
    name, shown = NAMES[number]
    reply = answered(form(part(good, name)), "200", what="in a form")
    row.holds("shown as its last part" if number == 45 else "shown as it is", told(reply)["media"]["name"] == shown)
    if number == 46:
        reply = answered(post("/v1/classify", good, "X-File-Name: a%0D%0AX-Evil: 1"), "200", what="in X-File-Name")
        row.holds("without CR and LF", told(reply)["media"]["name"] == "aX-Evil: 1")
        broken = form(part(good, b"a\r\nX-Evil: 1\r\n.mp4"))
        reply = answered(broken, "200", what="as bytes it ends the line: a file without a name")
    row.holds("no header of it", "x-evil" not in reply.answer.headers)
    row.holds("no file of it", not [each for each in _files(edge.run_dir) if shown[:20] in each])


def _files(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*")]
