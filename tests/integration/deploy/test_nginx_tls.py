"""Problems of TLS settings are named before the start."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from app.settings import InvalidSetting, Settings
from deploy.nginx import tls
from deploy.stack.access_summary import access_summary
from tests.support.certificates import Pair, made


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return made(tmp_path / "one")


def why(cert: Path, key: Path) -> str:
    with pytest.raises(tls.Unusable) as refused:
        tls.check(str(cert), str(key))
    return str(refused.value)


def test_valid_pair_has_no_problem(pair: Pair) -> None:
    ends = tls.check(str(pair.cert), str(pair.key))
    assert 1 < (ends - time.time()) / 86_400 <= 2
    assert "expires in 2 days" in str(tls.expiry_warning(str(pair.cert), str(pair.key)))


def test_long_lasting_certificate_has_no_warning(tmp_path: Path) -> None:
    assert tls.expiry_warning(*map(str, made(tmp_path / "long", days=90))) is None


def test_expired_certificate(tmp_path: Path) -> None:
    assert "expired" in why(*made(tmp_path / "old", days=-1))


def test_missing_invalid_and_swapped_files_are_reported(pair: Pair, tmp_path: Path) -> None:
    assert why(tmp_path / "no", pair.key).startswith("CLIPSTACK_TLS_CERT: ") and "No such file" in why(
        tmp_path / "no", pair.key
    )
    assert why(pair.cert, tmp_path / "no").startswith("CLIPSTACK_TLS_KEY: ")
    junk = tmp_path / "junk"
    junk.write_text("junk")
    assert "has no certificate in PEM" in why(junk, pair.key)
    assert "has no private key in PEM" in why(pair.cert, junk)
    assert "has no certificate in PEM" in why(pair.key, pair.cert)
    assert "cannot be read" in why(tmp_path, pair.key)


def test_the_key_of_another_certificate(pair: Pair, tmp_path: Path) -> None:
    assert "is not the key of the certificate" in why(pair.cert, made(tmp_path / "other").key)


def test_a_key_with_a_passphrase(tmp_path: Path) -> None:
    assert "has a passphrase" in why(*made(tmp_path / "locked", passphrase="secret"))


def test_both_settings_or_neither() -> None:
    with pytest.raises(InvalidSetting, match="belong together"):
        Settings.from_environment({"CLIPSTACK_TLS_CERT": "/cert.pem"})


@pytest.mark.parametrize(
    ("settings", "requires_keys", "summary"),
    [
        ({}, False, "only this machine"),
        ({"host": "::1"}, False, "only this machine"),
        ({"keys": "required"}, True, "API keys are required (CLIPSTACK_KEYS); none exists yet"),
        ({"host": "0.0.0.0"}, True, "clipstack-keys create NAME"),
        ({"host": "192.168.1.5"}, True, "without TLS"),
        ({"host": "0.0.0.0", "keys": "off"}, False, "warning: everybody who can reach 0.0.0.0:8080"),
        ({"host": "0.0.0.0", "published": "127.0.0.1:8080"}, False, "can reach 127.0.0.1:8080"),
        ({"host": "0.0.0.0", "published": "0.0.0.0:80"}, True, "reachable at 0.0.0.0:80"),
        ({"host": "0.0.0.0", "published": "8080"}, True, "reachable at 8080"),
        ({"host": "0.0.0.0", "published": "[::1]:8080"}, False, "only this machine"),
    ],
    ids=str,
)
def test_access_is_summarised(tmp_path: Path, settings: dict[str, str], requires_keys: bool, summary: str) -> None:
    whole = {"run_dir": str(tmp_path), **settings}
    parsed = Settings.from_environment({f"CLIPSTACK_{name.upper()}": value for name, value in whole.items()})
    assert parsed.asks_for_keys is requires_keys
    assert summary in "\n".join(access_summary(parsed))
