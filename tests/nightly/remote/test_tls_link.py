"""Web reaches a Triton on another machine by TLS, and refuses one that it does not know."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest

from tests.nightly.remote.conftest import READY_S, Remote, remote_service
from tests.support.certificates import Pair, made
from tests.support.stacks import until

NAME = "triton.example.com"
pytestmark = pytest.mark.timeout(600)


def readable(pair: Pair) -> Pair:
    """Let the user of the service read the key, too."""
    pair.key.chmod(0o644)
    pair.cert.parent.chmod(0o755)
    return pair


@pytest.fixture(scope="module")
def remote() -> Iterator[Remote]:
    """A Triton that requires client certificates."""
    with remote_service() as remote:
        authority = readable(made(remote.folder / "authority", names=""))
        own = readable(made(remote.folder / "own", names=f"DNS:{NAME}", issuer=authority))
        files = {"triton_tls_ca": authority.cert, "triton_tls_cert": own.cert, "triton_tls_key": own.key}
        remote.start_triton(**files, triton_tls_name=NAME)
        yield remote


def client_files(remote: Remote, authority: Pair) -> dict[str, object]:
    known = Pair(remote.folder / "authority" / "cert.pem", remote.folder / "authority" / "key.pem")
    client = readable(made(remote.folder / "client", names="", issuer=known))
    files = {"triton_tls_ca": authority.cert, "triton_tls_cert": client.cert, "triton_tls_key": client.key}
    return files | {"triton_tls_name": NAME}


def test_wrong_authority_is_refused_with_its_name(remote: Remote, film: bytes) -> None:
    other = readable(made(remote.folder / "other", names=""))
    with remote.running_web("stranger", **client_files(remote, other)):
        until(lambda: remote.web.is_running() and remote.status("/healthz") == 200, READY_S)
        start = time.monotonic()
        refused = remote.classify(film)
        assert refused.status_code == 503 and time.monotonic() - start < 20
        assert "CLIPSTACK_TRITON_TLS_CA" in refused.json()["error"]["message"]
        assert "CLIPSTACK_TRITON_TLS_CA" in httpx.get(f"{remote.url}/readyz", timeout=30).text


def test_film_is_classified_over_tls(remote: Remote, film: bytes) -> None:
    known = Pair(remote.folder / "authority" / "cert.pem", remote.folder / "authority" / "key.pem")
    with remote.running_web(**client_files(remote, known)):
        remote.wait_until_ready()
        body = remote.classify(film).json()
        assert (body["predictions"][0]["label"], body["transport"]) == ("pan_left", "inline")
        for delay_s in (0.0, 0.05):
            remote.link.set(delay_s=delay_s)
            print(f"TLS, {1e3 * delay_s:.0f} ms each way, film: p50 {1e3 * median_s(remote, film):.0f} ms")
        pids = remote.web.pids()
        remote.link.is_cut = True
        until(lambda: remote.classify(film).status_code == 503, 60)
        remote.link.is_cut = False
        until(lambda: remote.classify(film).status_code == 200, 30)  # the connection takes three round trips of 0.1 s
        assert remote.web.pids() == pids


def median_s(remote: Remote, film: bytes) -> float:
    times = []
    for _ in range(15):
        start = time.monotonic()
        assert remote.classify(film).status_code == 200
        times.append(time.monotonic() - start)
    return sorted(times)[len(times) // 2]
