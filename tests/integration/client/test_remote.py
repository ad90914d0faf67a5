"""Files at https:// addresses: the client downloads them and sends them on."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from clipstack_client import Client, DownloadFailed
from clipstack_client.cli import main
from clipstack_client.sending.remote import RemoteFile
from tests.support import certificates
from tests.support.client_service import MP4, RecordedService, refusal
from tests.support.hostile_server import HostileServer, hostile_server

KEY = "clipstack_secret"


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ssl.SSLContext]:
    pair = certificates.made(tmp_path_factory.mktemp("tls") / "pair", names="DNS:localhost,IP:127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(pair.cert))
        yield context


@pytest.fixture
def server(context: ssl.SSLContext) -> Iterator[HostileServer]:
    with hostile_server(content=MP4, context=context) as server:
        yield server


@pytest.fixture
def site(server: HostileServer) -> str:
    return f"https://localhost:{server.port}"


@pytest.fixture
def client(service: RecordedService) -> Iterator[Client]:
    with Client(service.url, key=KEY) as client:
        yield client


def test_file_is_downloaded_and_sent_on(client: Client, service: RecordedService, site: str) -> None:
    assert client.classify(f"{site}/films/a%20clip.mp4?x=1").predictions[0].label == "pan_left"
    (received,) = service.received
    assert received.body == MP4
    assert (received.headers["x-file-name"], received.headers["content-length"]) == ("a%20clip.mp4", str(len(MP4)))


def test_api_key_is_not_sent_to_other_sites(client: Client, site: str, server: HostileServer) -> None:
    client.classify(f"{site}/clip.mp4")
    assert KEY not in server.requests[0] and "authorization" not in server.requests[0].lower()


def test_url_password_is_not_sent_after_a_redirect(client: Client, server: HostileServer, context) -> None:
    with hostile_server(content=MP4, context=context) as other:
        target = f"https://127.0.0.1:{other.port}/clip.mp4"
        client.classify(f"https://user:secret@localhost:{server.port}/redirect?to={target}")
        assert base64.b64encode(b"user:secret").decode() in server.requests[0]
        assert "authorization" not in other.requests[0].lower() and "cookie" not in other.requests[0].lower()


def test_file_is_downloaded_again_for_a_retry(client: Client, service: RecordedService, site: str, server) -> None:
    service.replies.append(refusal(503, "overloaded", ("Retry-After", "0")))
    client.classify(f"{site}/clip.mp4")
    assert [received.body for received in service.received] == [MP4, MP4]
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/status/404", "status 404"),
        ("/gzip", "compressed"),
        ("/again", "redirects"),
        ("/huge", "bytes"),
        ("/short", "cannot be downloaded"),
        ("/garbage", "cannot be downloaded"),
        ("/redirect?to=http://localhost/", "without TLS"),
    ],
)
def test_failed_download_names_the_reason(
    client: Client, service: RecordedService, site: str, path: str, reason: str
) -> None:
    with pytest.raises(DownloadFailed, match=reason) as error:
        client.classify(site + path)
    assert error.value.code == "download_failed"
    assert [received.body for received in service.received if received.body == MP4] == []


def test_size_is_bounded(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clipstack_client.sending.remote.MAX_BYTES", 100_000)
    with RemoteFile(f"{site}/endless") as file, pytest.raises(DownloadFailed, match="more than"):
        while file.read(1 << 16):
            pass


def test_command_line_accepts_urls(service: RecordedService, site: str, tmp_path: Path) -> None:
    output = tmp_path / "answers.jsonl"
    command = ["classify", f"{site}/clip.mp4", f"{site}/status/404", "-o", str(output)]
    result = CliRunner(env={"CLIPSTACK_URL": service.url}).invoke(main, command)
    lines = {line["file"]: line for line in map(json.loads, output.read_text().splitlines())}
    assert result.exit_code == 1
    assert lines[f"{site}/clip.mp4"]["predictions"][0]["label"] == "pan_left"
    assert lines[f"{site}/status/404"]["error"]["code"] == "download_failed"
    refused = CliRunner(env={"CLIPSTACK_URL": service.url}).invoke(main, ["classify", "http://localhost/clip.mp4"])
    assert refused.exit_code == 2 and "only https://" in refused.output


def test_timelines_are_named_after_the_address(service: RecordedService, site: str, tmp_path: Path) -> None:
    command = ["timeline", f"{site}/a.mp4", f"{site}/b.mp4?c=d/e", "--format", "vtt", "-o", str(tmp_path / "out")]
    result = CliRunner(env={"CLIPSTACK_URL": service.url}).invoke(main, command)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.vtt", "b.vtt"]
