"""Forms, parameters, file names, jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.stack.stack import Stack
from tests.http_edge.expected import EXPECTED
from tests.http_edge.files import film
from tests.http_edge.requests import form, json_body, part, post
from tests.http_edge.response_checks import QUICK_S, ResponseCheck


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return film(tmp_path_factory.mktemp("good"))


WRONG: dict[str, bytes] = {
    "a form without a boundary": post("/v1/classify", b"--x\r\n", "Content-Type: multipart/form-data"),
    "a form that does not end": form(part(b"a film"), end=b""),
    "a form without a file": form(b'name="top_k"\r\n\r\n3'),
    "an empty file": form(part(b"")),
    "65 files": form(*[part(b"a film")] * 65),
}


@pytest.mark.parametrize("name", WRONG)
def test_form(name: str, check_response: ResponseCheck) -> None:
    check_response(WRONG[name], EXPECTED[name], within_s=QUICK_S)


def test_top_k(check_response: ResponseCheck, good: bytes) -> None:
    for value in ("-1", "NaN", "1e9", "0", "1.5", "%D9%A3", "99999999999999999999"):
        sent = post(f"/v1/classify?top_k={value}", good)
        check_response(sent, "400 invalid_parameter", within_s=QUICK_S, what=f"top_k={value}")
    check_response(
        form(part(good), b'name="top_k"\r\n\r\n-1'), "400 invalid_parameter", within_s=QUICK_S, what="in a form"
    )


def test_model(check_response: ResponseCheck, good: bytes) -> None:
    for name in ("../x", "%2e%2e%2fx", "camera_motion/../frame_quality", "camera_motion@../1", "%00", "a" * 5000):
        sent = post(f"/v1/classify?model={name}", good)
        check_response(sent, "404 model_not_found", within_s=QUICK_S, what=f"model={name[:30]}")


def test_idempotency(check_response: ResponseCheck, edge: Stack, good: bytes) -> None:
    key = "Idempotency-Key: edge-42"
    first = check_response(post("/v1/jobs", good, key), "202", what="first")
    again = check_response(post("/v1/jobs", good, key), "200", what="the same again")
    check_response(post("/v1/jobs", good[:-9], key), "409 idempotency_conflict", within_s=QUICK_S, what="another body")
    check_response(
        post("/v1/jobs?top_k=2", good, key), "409 idempotency_conflict", within_s=QUICK_S, what="other parameters"
    )
    padded, other = "Idempotency-Key: edge-42-padded", b"\0" * 7 + b"\1"  # bytes at the end do not change an MP4
    second = check_response(post("/v1/jobs", good + bytes(8), padded), "202", what="another key")
    check_response(
        post("/v1/jobs", good + other, padded), "409 idempotency_conflict", within_s=QUICK_S, what="a byte differs"
    )
    assert bool(json_body(first)) and json_body(first)["id"] == json_body(again)["id"], "one job"
    for job in (first, second):
        removed = b"DELETE /v1/jobs/%s HTTP/1.1\r\nHost: x\r\n\r\n" % json_body(job)["id"].encode()
        while json_body(check_response(removed, "200", what="removed")).get("state") != "removed":
            pass


NAMES: dict[str, tuple[bytes, str]] = {
    "a file named ../../etc/passwd": (b"../../etc/passwd", "passwd"),
    "a file with CR LF in its name": (b"a%0D%0AX-Evil: 1%0D%0A.mp4", "a%0D%0AX-Evil: 1%0D%0A.mp4"),
    "a file with a name of 10 KB": (b"n" * 10_240, "n" * 200),
}


@pytest.mark.parametrize("name", NAMES)
def test_name(name: str, check_response: ResponseCheck, edge: Stack, good: bytes) -> None:
    name, shown = NAMES[name]
    reply = check_response(form(part(good, name)), "200", what="in a form")
    assert json_body(reply)["media"]["name"] == shown, (
        "shown as its last part" if name == "a file named ../../etc/passwd" else "shown as it is"
    )
    if name == "a file with CR LF in its name":
        reply = check_response(
            post("/v1/classify", good, "X-File-Name: a%0D%0AX-Evil: 1"), "200", what="in X-File-Name"
        )
        assert json_body(reply)["media"]["name"] == "aX-Evil: 1", "without CR and LF"
        broken = form(part(good, b"a\r\nX-Evil: 1\r\n.mp4"))
        reply = check_response(broken, "200", what="as bytes it ends the line: a file without a name")
    assert "x-evil" not in reply.answer.headers, "no header of it"
    assert not [file for file in _files(edge.run_dir) if shown[:20] in file], "no file of it"


def _files(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*")]
