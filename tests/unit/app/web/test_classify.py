"""The HTTP API without a model server: everything except predictions."""

import dataclasses
import errno
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from app import create_app
from app.inference.registry import Health
from app.settings import Settings


@pytest.fixture
def client(tmp_path: Path) -> Iterator[FlaskClient]:
    (tmp_path / "uploads").mkdir()
    settings = dataclasses.replace(
        Settings.from_environment({}), run_dir=tmp_path, triton_address="127.0.0.1:1", max_upload_mb=1, decoders=1
    )
    app = create_app(settings)
    app.extensions["Pipeline"].start()
    try:
        yield app.test_client()
    finally:
        app.extensions["Pipeline"].stop()


def test_errors_have_the_same_form_everywhere(client: FlaskClient) -> None:
    cases = [
        (client.get("/nowhere"), 404, "not_found"),
        (client.put("/v1/classify"), 405, "method_not_allowed"),
        (client.post("/v1/classify"), 400, "missing_file"),
        (client.post("/v1/classify", data=b"x" * (1 << 20) + b"x"), 413, "too_large"),
        (client.post("/v1/classify?top_k=NaN", data=b"x"), 400, "invalid_parameter"),
        (client.post("/v1/classify?clips=9", data=b"x"), 400, "invalid_parameter"),
        (client.post("/v1/classify?topk=9", data=b"x"), 400, "invalid_parameter"),
        (client.get("/v1/jobs?limits=9"), 400, "invalid_parameter"),
        (client.get("/v1/models?limit=9"), 400, "invalid_parameter"),
        (client.post("/v1/classify", data=b"x", headers={"X-Deadline-Ms": "0"}), 400, "invalid_parameter"),
        (client.post("/v1/classify", data=b"x"), 415, "unsupported_media"),
        (client.post("/v1/classify", data=b"\xff\xd8\xff"), 503, "not_ready"),
        (client.get("/v1/models"), 503, "not_ready"),
        (client.get("/readyz"), 503, "not_ready"),
    ]
    for response, status, code in cases:
        assert response.status_code == status
        error = response.get_json()["error"]
        assert error["code"] == code
        assert error["message"]
        assert len(error["request_id"]) == 32


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (OSError(errno.EMFILE, "Too many open files"), 503),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), 503),
        (MemoryError(), 503),
        (RuntimeError("can't start new thread"), 503),
        (OSError(errno.EIO, "Input/output error"), 500),
        (RuntimeError("a mistake"), 500),
    ],
)
def test_lack_of_resources_is_503(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, failure: Exception, status: int
) -> None:
    def fail() -> None:
        try:
            raise failure
        except Exception as error:
            raise KeyError("hidden") from error

    monkeypatch.setitem(client.application.view_functions, "api.alive", fail)
    response = client.get("/healthz")
    assert response.status_code == status
    assert (response.headers.get("Retry-After") is not None) == (status == 503)


def test_liveness_needs_no_other_program(client: FlaskClient) -> None:
    assert client.get("/healthz?probe=7").get_json() == {"status": "alive"}


def test_unavailable_has_retry_after(client: FlaskClient) -> None:
    assert int(client.get("/v1/models").headers["Retry-After"]) > 0


def test_request_id_of_nginx_is_kept(client: FlaskClient) -> None:
    result = client.get("/nowhere", headers={"X-Request-Id": "abc123"}).get_json()
    assert result["error"]["request_id"] == "abc123"


def test_request_id_with_odd_characters_is_replaced(client: FlaskClient) -> None:
    result = client.get("/nowhere", headers={"X-Request-Id": "a b<c>"}).get_json()
    assert result["error"]["request_id"].isalnum()


def test_wrong_method_names_the_allowed_ones(client: FlaskClient) -> None:
    assert "POST" in client.put("/v1/classify").headers["Allow"]


def test_refused_upload_leaves_no_file(client: FlaskClient, tmp_path: Path) -> None:
    client.post("/v1/classify", data=b"x")
    assert list((tmp_path / "uploads").iterdir()) == []


def test_page_shows_the_curl_command(client: FlaskClient) -> None:
    assert "curl -X POST -T clip.mp4 " in client.get("/").get_data(as_text=True)


class FakePipeline:
    """A pipeline that offers the models `names`, while those in `broken` fail their canary."""

    def __init__(self, names: list[str], broken: list[str]) -> None:
        self._names, self._broken = names, broken

    def health(self) -> Health:
        models: list[Any] = [types.SimpleNamespace(name=name) for name in self._names]
        return Health(models, dict.fromkeys(self._broken, "slow"), {"huge@1": "too large"})

    def load(self) -> dict[str, Any]:
        return {"transports": {"last": "inline"}, "decoding": {"device": "cpu"}, "admission": {"limit": 4}}


@pytest.mark.parametrize(
    ("names", "broken", "faults"),
    [
        (["camera_motion", "other"], [], None),
        (["camera_motion"], ["other@1"], ["other@1"]),
        (["other"], [], ["camera_motion"]),
        (["other"], ["camera_motion@1"], ["camera_motion@1"]),
        ([], [], ["camera_motion"]),
    ],
)
def test_ready_needs_the_default_model_and_all_loaded_ones(
    names: list[str], broken: list[str], faults: list[str] | None
) -> None:
    app = create_app(Settings.from_environment({}))
    app.extensions["Pipeline"] = FakePipeline(names, broken)
    answer = app.test_client().get("/readyz")
    assert answer.status_code == (503 if faults else 200)
    if faults:
        assert answer.get_json()["error"]["code"] == "not_ready"
        assert answer.get_json()["error"]["message"].endswith(f": {', '.join(faults)}")
    else:
        details = {
            "left_out": {"huge@1": "too large"},
            "workers": [],
            "transports": {"last": "inline"},
            "decoding": {"device": "cpu"},
            "admission": {"limit": 4},
        }
        assert answer.get_json() == {"status": "ready", "models": names} | details
