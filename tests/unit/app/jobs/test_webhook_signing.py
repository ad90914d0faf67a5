"""Signatures of webhooks, and the secret that they are made with."""

from __future__ import annotations

from pathlib import Path

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from app.jobs.webhooks import signing


def test_standard_webhooks_verifies_the_signatures(tmp_path: Path) -> None:
    old, new = (signing.encode(bytes([number]) * 32) for number in (1, 2))
    (tmp_path / "secret").write_text(f"{new}\n{old}\n")
    secrets = signing.read(tmp_path / "secret")
    headers = signing.signature_headers(secrets, "", "msg_1", '{"type":"job.done"}')
    for secret in (old, new):
        assert Webhook(secret).verify('{"type":"job.done"}', headers) == {"type": "job.done"}
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify('{"type":"job.failed"}', headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(signing.encode(bytes(32))).verify('{"type":"job.done"}', headers)


def test_secret_of_an_owner_cannot_sign_for_another(tmp_path: Path) -> None:
    signing.create(tmp_path / "webhooks" / "secret")
    secrets = signing.read(tmp_path / "webhooks" / "secret")
    alice, bob = (signing.of_owner(secrets[0], owner) for owner in ("alice", "bob"))
    assert len({alice, bob, secrets[0]}) == 3
    headers = signing.signature_headers(secrets, "alice", "msg_1", "{}")
    Webhook(alice).verify("{}", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(bob).verify("{}", headers)


def test_secret_is_created_once_for_this_user(tmp_path: Path) -> None:
    path = tmp_path / "webhooks" / "secret"
    signing.create(path)
    before = path.read_text()
    signing.create(path)
    assert path.read_text() == before and before.startswith("whsec_")
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", ["", "secret", "whsec_", "whsec_c2hvcnQ=", "whsec_%%%", "\xff", "whsec_a\n" * 4])
def test_malformed_secrets_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "secret").write_bytes(content.encode("latin-1"))
    with pytest.raises(signing.InvalidSecret):
        signing.read(tmp_path / "secret")
