"""The addresses of webhooks, without a server: each key sees, repeats and signs its own events, in pages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from standardwebhooks import Webhook

from app import create_app
from app.auth import store
from app.auth.keys import Key
from app.jobs.storage.store import now
from app.jobs.webhooks import signing
from app.jobs.webhooks.events import new_test_message
from app.settings import Settings

URL = "https://hooks.example.com/"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    variables = {"KEYS": "required", "RUN_DIR": str(tmp_path), "WEBHOOKS": "hooks.example.com"}
    settings = Settings.from_environment({f"CLIPSTACK_{name}": value for name, value in variables.items()})
    (settings.data_dir / "jobs").mkdir(parents=True)
    signing.create(settings.webhook_secret_path)
    app = create_app(settings)
    yield app
    app.extensions["JobService"].folder.close()


@pytest.fixture
def alice(app: Flask) -> FlaskClient:
    return of_key(app, "alice")


@pytest.fixture
def bob(app: Flask) -> FlaskClient:
    return of_key(app, "bob")


def of_key(app: Flask, name: str) -> FlaskClient:
    client = app.test_client()
    _, key = store.create(app.extensions["Settings"].keys_file, Key("", name, "", ""))
    client.environ_base["HTTP_X_API_KEY"] = key
    return client


def test_key_sees_and_repeats_its_own_events_only(alice: FlaskClient, bob: FlaskClient) -> None:
    event = alice.post(f"/v1/webhooks/test?callback_url={URL}").json
    assert (event["state"], event["type"], event["job"], event["attempts"]) == ("pending", "webhook.test", None, 0)
    assert [item["id"] for item in alice.get("/v1/webhooks").json["webhooks"]] == [event["id"]]
    assert bob.get("/v1/webhooks").json["webhooks"] == []
    for path, method in ((f"/v1/webhooks/{event['id']}", "GET"), (f"/v1/webhooks/{event['id']}/retry", "POST")):
        answer = bob.open(path, method=method)
        assert (answer.status_code, answer.json["error"]["code"]) == (404, "webhook_not_found")
        assert alice.open(path, method=method).status_code in (200, 202)


def test_each_key_has_its_secret(app: Flask, alice: FlaskClient, bob: FlaskClient) -> None:
    secrets = [client.get("/v1/webhooks/secret").json["secret"] for client in (alice, bob)]
    assert secrets[0] != secrets[1]
    owner = next(key.id for key in app.extensions["Authenticator"].keys.all().values() if key.name == "alice")
    service = signing.read(app.extensions["Settings"].webhook_secret_path)
    headers = signing.signature_headers(service, owner, "msg_1", "{}")
    assert Webhook(secrets[0]).verify("{}", headers) == {}


def test_test_events_of_key_are_limited(alice: FlaskClient, bob: FlaskClient) -> None:
    answers = [alice.post(f"/v1/webhooks/test?callback_url={URL}") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [202] * 5 + [429]
    assert answers[-1].headers["Retry-After"]
    assert bob.post(f"/v1/webhooks/test?callback_url={URL}").status_code == 202


def test_events_are_listed_in_pages(app: Flask, alice: FlaskClient) -> None:
    outbox = app.extensions["JobService"].folder.outbox
    owner = next(key.id for key in app.extensions["Authenticator"].keys.all().values())
    outbox.add(new_test_message(owner, f"{URL}{number}", now()) for number in range(5))
    time.sleep(0.002)
    outbox.add([new_test_message(owner, f"{URL}last", now())])
    urls, cursor = list[str](), ""
    while cursor is not None:
        page = alice.get("/v1/webhooks", query_string={"limit": 4, "state": "pending", "cursor": cursor}).json
        urls += [event["url"] for event in page["webhooks"]]
        cursor = page["next_cursor"]
    assert urls[0] == f"{URL}last" and len(urls) == len(set(urls)) == 6
    assert alice.get("/v1/webhooks?cursor=x").json["error"]["code"] == "invalid_parameter"
    assert alice.get("/v1/webhooks?state=dead").json == {"webhooks": [], "next_cursor": None, "missing_nodes": []}
