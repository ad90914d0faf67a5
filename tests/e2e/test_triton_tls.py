"""Triton on TCP with TLS: certificates on both sides, and the errors of other clients and servers."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from tritonclient.grpc import InferenceServerException

from app.inference.channel import connect
from app.inference.triton_errors import TritonUnavailable, translate_errors
from app.settings import TritonTls
from deploy.stack.ports import free_ports
from tests.support import failing_model
from tests.support.certificates import Pair, made
from tests.support.triton_server import running_triton

NAME = "triton.example.com"


class Server(NamedTuple):
    """A running Triton, and the authority that signed its certificate."""

    address: str
    key: str
    authority: Pair
    folder: Path

    def ask(self, tls: TritonTls | None) -> bool:
        with connect(self.address, self.key, tls) as client:
            return bool(client.is_server_live(client_timeout=10))


@contextmanager
def running(authority: Pair, folder: Path, **tls: object) -> Iterator[Server]:
    failing_model.write_model(folder / "models" / "failing")
    own = made(folder / "own", names=f"DNS:{NAME}", issuer=authority)
    address = f"127.0.0.1:{free_ports(1)[0]}"
    files = {"cert": own.cert, "key": own.key, "name": NAME} | tls
    with running_triton(folder / "models", folder, address, **files):
        yield Server(address, (folder / "run" / "sockets" / "key").read_text(), authority, folder)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="triton-") as folder:
        authority = made(Path(folder, "authority"), names="")
        with running(authority, Path(folder)) as server:
            yield server


def refusal(server: Server, tls: TritonTls | None) -> TritonUnavailable:
    """Return the error of a request over a failed connection."""

    async def scenario() -> None:
        async with translate_errors():
            server.ask(tls)

    with pytest.raises(TritonUnavailable) as caught:
        asyncio.run(scenario())
    return caught.value


def test_client_with_the_authority_is_answered(server: Server) -> None:
    assert server.ask(TritonTls(str(server.authority.cert), name=NAME))


def test_client_of_another_authority_refuses_triton(server: Server, tmp_path: Path) -> None:
    other = made(tmp_path / "other", names="")
    assert "CLIPSTACK_TRITON_TLS_CA" in refusal(server, TritonTls(str(other.cert), name=NAME)).message


def test_certificate_must_have_the_name_of_the_address(server: Server) -> None:
    assert "CLIPSTACK_TRITON_TLS_NAME" in refusal(server, TritonTls(str(server.authority.cert))).message


def test_client_without_tls_is_refused(server: Server) -> None:
    with pytest.raises(InferenceServerException, match="Socket closed"):
        server.ask(None)


def test_client_certificate_is_required_with_an_authority(tmp_path: Path) -> None:
    authority = made(tmp_path / "authority", names="")
    client, stranger = made(tmp_path / "client", issuer=authority), made(tmp_path / "stranger")
    with running(authority, tmp_path, ca=authority.cert) as server:
        ca = str(authority.cert)
        assert server.ask(TritonTls(ca, str(client.cert), str(client.key), NAME))
        for without in (TritonTls(ca, name=NAME), TritonTls(ca, str(stranger.cert), str(stranger.key), NAME)):
            with pytest.raises(InferenceServerException, match="UNAVAILABLE|Socket closed"):
                server.ask(without)


def test_triton_without_tls_is_named(tmp_path: Path) -> None:
    failing_model.write_model(tmp_path / "models" / "failing")
    authority, address = made(tmp_path / "authority", names=""), f"127.0.0.1:{free_ports(1)[0]}"
    with running_triton(tmp_path / "models", tmp_path, address):
        server = Server(address, (tmp_path / "run" / "sockets" / "key").read_text(), authority, tmp_path)
        assert "does not use TLS" in refusal(server, TritonTls(str(authority.cert))).message
