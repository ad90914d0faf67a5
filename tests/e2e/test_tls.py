"""TLS by two settings, on all addresses: keys are then required by default."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from clipstack_client import Client, KeyRefused, ServiceUnreachable
from deploy.stack.stack import Stack
from tests.support.api_keys import new_key
from tests.support.certificates import Pair, made
from tests.support.movements import film_movement
from tests.support.raw_http import send
from tests.support.stacks import running_stack, until


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return made(tmp_path_factory.mktemp("tls") / "pair", days=90)


@pytest.fixture(scope="module")
def secure(pair: Pair) -> Iterator[Stack]:
    tls = {"tls_cert": str(pair.cert), "tls_key": str(pair.key)}
    with running_stack(wait=False, models=("camera_motion",), host="0.0.0.0", web_workers="1", **tls) as stack:
        yield stack


@pytest.fixture(scope="module")
def key(secure: Stack) -> str:
    return new_key(secure, "alice")


@pytest.fixture
def trusting(secure: Stack, pair: Pair) -> Iterator[httpx.Client]:
    context = ssl.create_default_context(cafile=pair.cert)
    with httpx.Client(base_url=secure.url, verify=context, timeout=30) as client:
        yield client


def test_public_address_requires_keys(secure: Stack, trusting: httpx.Client, key: str) -> None:
    assert secure.url.startswith("https://127.0.0.1:")
    assert trusting.get("/readyz").status_code == 200
    assert trusting.get("/v1/models").status_code == 401
    assert trusting.get("/v1/models", headers={"X-API-Key": key}).status_code == 200


def handshake(stack: Stack, pair: Pair, *, most: ssl.TLSVersion | None = None) -> tuple[str | None, str | None]:
    context = ssl.create_default_context(cafile=pair.cert)
    context.set_alpn_protocols(["h2", "http/1.1"])
    if most is not None:
        context.maximum_version = most
    with (
        socket.create_connection(("127.0.0.1", stack.settings.port), timeout=20) as connection,
        context.wrap_socket(connection, server_hostname="127.0.0.1") as wrapped,
    ):
        return wrapped.version(), wrapped.selected_alpn_protocol()


def test_versions_and_http_2(secure: Stack, pair: Pair) -> None:
    assert handshake(secure, pair) == ("TLSv1.3", "h2")
    assert handshake(secure, pair, most=ssl.TLSVersion.TLSv1_2) == ("TLSv1.2", "h2")
    words = [
        "openssl",
        "s_client",
        "-connect",
        f"127.0.0.1:{secure.settings.port}",
        "-tls1_1",
        "-cipher",
        "ALL:@SECLEVEL=0",
    ]
    old = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    assert old.returncode != 0 and "alert protocol version" in old.stderr


def test_plain_http_on_tls_port_is_explained(secure: Stack) -> None:
    answer = send(f"http://127.0.0.1:{secure.settings.port}", b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (answer.status, answer.error["code"]) == (400, "bad_request")
    assert "https://" in answer.error["message"]


@pytest.mark.parametrize(
    ("host", "header"),
    [("clips.example", "max-age=31536000"), ("clips.example:8443", None)],
)
def test_hsts_for_the_configured_name(trusting: httpx.Client, host: str, header: str | None) -> None:
    assert trusting.get("/healthz", headers={"Host": host}).headers.get("Strict-Transport-Security") == header


def test_session_cookie_is_secure(trusting: httpx.Client, key: str) -> None:
    page = trusting.get("/login")
    token = page.text.partition('name="csrf" value="')[2].partition('"')[0]
    answer = trusting.post("/login", data={"csrf": token, "key": key})
    cookie = next(item for item in answer.headers.get_list("Set-Cookie") if item.startswith("__Host-clipstack="))
    assert all(word in cookie for word in ("Secure", "HttpOnly", "SameSite=Strict", "Path=/"))
    assert trusting.get("/").status_code == 200


def test_curl_speaks_http_2_and_an_upload_arrives(secure: Stack, pair: Pair, key: str, tmp_path: Path) -> None:
    film = film_movement(tmp_path / "film.mp4", "pan_left")
    words = [
        "curl",
        "-sS",
        "--http2",
        "--cacert",
        pair.cert,
        "-H",
        f"Authorization: Bearer {key}",
        "-T",
        film,
        "-X",
        "POST",
    ]
    form = ["-w", "\n%{http_version} %{http_code}", f"{secure.url}/v1/classify"]
    done = subprocess.run([*map(str, words), *form], capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("\n2 200") and '"pan_left"' in done.stdout, done.stdout + done.stderr


def test_client_trusts_certificate_that_it_is_given(secure: Stack, pair: Pair, key: str, tmp_path: Path) -> None:
    film = film_movement(tmp_path / "film.mp4", "pan_left")
    with Client(secure.url, key=key, verify=pair.cert) as client:
        assert client.classify(film).predictions[0].label == "pan_left"
    with Client(secure.url, key=key) as client, pytest.raises(ServiceUnreachable, match="certificate"):
        client.models()
    with Client(secure.url, key="", verify=pair.cert) as client, pytest.raises(KeyRefused, match="CLIPSTACK_KEY"):
        client.models()


def test_command_line_takes_key_and_certificate_from_files(secure: Stack, pair: Pair, key: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{key}\n")

    def typed(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [str(secure.python.with_name("clipstack")), "models", "--url", secure.url, *map(str, words)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    good = typed("--key-file", tmp_path / "key", "--ca-file", pair.cert)
    assert (good.returncode, "camera_motion" in good.stdout) == (0, True), good.stderr
    by_environment = typed(CLIPSTACK_KEY=key, CLIPSTACK_CA_FILE=str(pair.cert))
    assert by_environment.returncode == 0, by_environment.stderr
    without = typed("--ca-file", pair.cert)
    assert (without.returncode, "needs an API key" in without.stderr) == (3, True), without.stderr
    assert typed("--key-file", tmp_path / "key").returncode == 3


def test_renewed_certificate_is_loaded_without_restart(secure: Stack, pair: Pair, tmp_path: Path) -> None:
    def shown() -> str:
        return ssl.get_server_certificate(("127.0.0.1", secure.settings.port), timeout=20)

    before, fresh = shown(), made(tmp_path / "fresh", days=90)
    for old, new in zip(pair, fresh, strict=True):
        old.write_bytes(new.read_bytes())
    assert shown() == before
    secure.supervisorctl("signal", "HUP", "nginx")
    until(lambda: shown() == pair.cert.read_text(), 20)
