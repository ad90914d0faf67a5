"""Resumable uploads over HTTP, in the app: versions, headers, owners, and the use of a complete upload."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import create_app
from app.settings import Settings
from app.uploads import tus

TUS = {"Tus-Resumable": "1.0.0"}
CHUNK = {**TUS, "Content-Type": tus.CHUNK_TYPE}
CONTENT = b"\xff\xd8\xff" + bytes(2000)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[FlaskClient]:
    (tmp_path / "uploads").mkdir()
    settings = dataclasses.replace(
        Settings.from_environment({}),
        run_dir=tmp_path,
        data_dir=tmp_path / "data",
        triton_address="127.0.0.1:1",
        max_upload_mb=1,
        min_free_mb=0,
        decoders=1,
    )
    (tmp_path / "data" / "uploads").mkdir(parents=True)
    app = create_app(settings)
    app.extensions["Pipeline"].start()
    try:
        yield app.test_client()
    finally:
        app.extensions["Pipeline"].stop()


def create(client: FlaskClient, length: int = len(CONTENT), **headers: str) -> str:
    answer = client.post("/v1/uploads", headers=TUS | {"Upload-Length": str(length)} | headers)
    assert answer.status_code == 201, answer.text
    location: str = answer.headers["Location"]
    assert location == f"/v1/uploads/{answer.json['id']}"
    return location


def send(client: FlaskClient, path: str, offset: int, content: bytes, **headers: str) -> TestResponse:
    return client.patch(path, data=content, headers=CHUNK | {"Upload-Offset": str(offset)} | headers)


def refusal(answer: TestResponse) -> tuple[int, str]:
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    return answer.status_code, answer.json["error"]["code"]


def test_options_lists_the_capabilities(client: FlaskClient) -> None:
    answer = client.options("/v1/uploads")
    assert (answer.status_code, answer.headers["Tus-Version"]) == (204, "1.0.0")
    assert answer.headers["Tus-Max-Size"] == str(1 << 20)
    assert {"creation", "checksum", "expiration"} <= set(answer.headers["Tus-Extension"].split(","))
    assert answer.headers["Tus-Checksum-Algorithm"] == "sha1,sha256"


def test_upload_resumes_at_its_offset(client: FlaskClient) -> None:
    path = create(client, **{"Upload-Metadata": "filename Y2xpcC5qcGc="})
    assert send(client, path, 0, CONTENT[:1000]).headers["Upload-Offset"] == "1000"
    head = client.head(path, headers=TUS)
    assert (head.status_code, head.headers["Cache-Control"]) == (200, "no-store")
    assert (head.headers["Upload-Offset"], head.headers["Upload-Length"]) == ("1000", str(len(CONTENT)))
    assert head.headers["Upload-Metadata"] == "filename Y2xpcC5qcGc=" and "Upload-Expires" in head.headers
    digest = base64.b64encode(hashlib.sha1(CONTENT[1000:]).digest()).decode()
    answer = send(client, path, 1000, CONTENT[1000:], **{"Upload-Checksum": f"sha1 {digest}"})
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, str(len(CONTENT)))


def test_wrong_requests_are_refused(client: FlaskClient) -> None:
    path = create(client)
    length = {"Upload-Length": "9"}
    wrong = "sha1 " + base64.b64encode(bytes(20)).decode()
    cases = [
        (client.post("/v1/uploads", headers=length), 412, "tus_version_unknown"),
        (client.head("/v1/uploads/x", headers=TUS), 404, ""),
        (client.post("/v1/uploads", headers=TUS), 400, "bad_request"),
        (client.post("/v1/uploads", headers=TUS | {"Upload-Length": "-1"}), 400, "bad_request"),
        (client.post("/v1/uploads", headers=TUS | {"Upload-Length": str(2 << 20)}), 413, "too_large"),
        (client.post("/v1/uploads", headers=TUS | length | {"Upload-Metadata": "a ?"}), 400, "bad_request"),
        (client.patch(path, data=b"x", headers=TUS | {"Upload-Offset": "0"}), 415, "unsupported_media"),
        (client.patch(path, data=b"x", headers=CHUNK), 400, "bad_request"),
        (send(client, path, 5, b"x"), 409, "offset_conflict"),
        (send(client, path, 0, CONTENT + b"x"), 413, "too_large"),
        (send(client, path, 0, b"x", **{"Upload-Checksum": wrong}), 460, "checksum_mismatch"),
        (send(client, path, 0, b"x", **{"Upload-Checksum": "md5 x"}), 400, "bad_request"),
        (send(client, f"/v1/uploads/{'0' * 32}", 0, b"x"), 404, "upload_not_found"),
        (client.delete(f"/v1/uploads/{'0' * 32}", headers=TUS), 404, "upload_not_found"),
        (client.get(path), 405, "method_not_allowed"),
    ]
    for number, (answer, status, code) in enumerate(cases):
        assert (number, answer.status_code) == (number, status)
        if code:
            assert refusal(answer) == (status, code)
    assert cases[0][0].headers["Tus-Version"] == "1.0.0"
    assert client.head(path, headers=TUS).headers["Upload-Offset"] == "0"


def test_creation_may_carry_the_first_bytes(client: FlaskClient) -> None:
    answer = client.post("/v1/uploads", data=CONTENT, headers=CHUNK | {"Upload-Length": str(len(CONTENT))})
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (201, str(len(CONTENT)))


def test_removed_upload_is_not_found(client: FlaskClient) -> None:
    path = create(client)
    assert client.delete(path, headers=TUS).status_code == 204
    assert client.head(path, headers=TUS).status_code == 404


def test_complete_upload_is_classified_and_kept_after_failure(client: FlaskClient) -> None:
    path = create(client)
    identity = path.rpartition("/")[2]
    assert refusal_of_use(client, identity) == (409, "upload_incomplete")
    send(client, path, 0, CONTENT)
    assert refusal_of_use(client, identity) == (503, "not_ready")  # no Triton: the file was read
    assert client.head(path, headers=TUS).status_code == 200
    assert refusal_of_use(client, identity, file="AAAA") == (400, "bad_request")
    assert refusal_of_use(client, identity, topk=3) == (400, "invalid_parameter")
    assert refusal_of_use(client, "0" * 32) == (404, "upload_not_found")


def refusal_of_use(client: FlaskClient, identity: str, **members: object) -> tuple[int, str]:
    answer = client.post("/v1/classify", json={"upload": identity, **members})
    return answer.status_code, answer.json["error"]["code"]
