"""Requests of the Python client as a recorded service receives them."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

import clipstack_client as package
from clipstack_client import (
    Client,
    RequestRefused,
)
from tests.support.client_contract import ClientContract
from tests.support.client_jobs import BROKEN
from tests.support.client_service import MP4, RecordedService


class TestRecordedService(ClientContract):
    @pytest.fixture
    def url(self, service: RecordedService) -> str:
        return service.url

    @pytest.fixture
    def video(self, tmp_path: Path) -> Path:
        path = tmp_path / "clip.mp4"
        path.write_bytes(MP4)
        return path

    @pytest.fixture
    def damaged(self, tmp_path: Path) -> Path:
        path = tmp_path / "damaged.mp4"
        path.write_bytes(MP4 + BROKEN)
        return path


def test_public_names_are_sorted_and_exist() -> None:
    assert package.__all__ == sorted(package.__all__)
    assert all(hasattr(package, name) for name in package.__all__)


def test_body_is_sent_raw_with_its_length(client: Client, service: RecordedService) -> None:
    client.classify(MP4, model="camera_motion", top_k=3, clips=2)
    (request,) = service.received
    assert request.body == MP4
    assert request.headers["content-length"] == str(len(MP4))
    assert request.headers["content-type"] == "application/octet-stream"
    assert request.query == {"model": "camera_motion", "top_k": "3", "clips": "2"}


def test_file_object_is_read_from_its_position_and_stays_open(client: Client, service: RecordedService) -> None:
    file = io.BytesIO(b"skipped" + MP4)
    file.seek(7)
    client.classify(file)
    assert service.received[0].body == MP4
    assert not file.closed


def test_custom_headers_go_with_every_request(service: RecordedService) -> None:
    with Client(service.url, headers={"Authorization": "Basic bWU6bXk=", "Cache-Control": "no-cache"}) as client:
        client.timeline(MP4)
        client.models()
    assert {request.headers["authorization"] for request in service.received} == {"Basic bWU6bXk="}
    assert {request.headers["connection"] for request in service.received} == {"close"}
    assert len(service.received) >= 3


def test_name_of_arbitrary_bytes_is_percent_encoded(client: Client, service: RecordedService, tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9 1.mp4")
    with open(path, "wb") as file:
        file.write(MP4)
    client.classify(os.fsdecode(path))
    assert service.received[0].headers["x-file-name"] == "caf%E9%201.mp4"


@pytest.mark.parametrize("url", ["", "localhost:8080", "ftp://127.0.0.1", "http://", "http://[::1", "/v1"])
def test_wrong_url_is_a_value_error(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        Client(url)


def test_url_may_have_path_and_slash_at_end(service: RecordedService) -> None:
    with Client(service.url + "/clipstack/") as client, pytest.raises(RequestRefused):
        client.models()
    assert service.received[0].path == "/clipstack/v1/models"


def test_key_is_sent_with_every_request(service, monkeypatch):
    monkeypatch.setenv("CLIPSTACK_KEY", "clipstack_of_the_environment\n")
    for key, sent in (("clipstack_argument", "clipstack_argument"), (None, "clipstack_of_the_environment"), ("", None)):
        with Client(service.url, key=key) as client:
            client.models()
        assert service.received[-1].headers.get("authorization") == (sent and f"Bearer {sent}")
    with Client(service.url, headers={"authorization": "Basic abc"}) as client:
        client.models()
    assert service.received[-1].headers.get("authorization") == "Basic abc"


def test_malformed_key_is_refused_and_not_shown(service):
    with pytest.raises(ValueError, match="malformed") as refused:
        Client(service.url, key="two words\nand lines")
    assert "words" not in str(refused.value)
