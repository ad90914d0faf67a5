"""Resumable uploads where keys are required."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from app.uploads import tus
from deploy.stack.stack import Stack
from tests.support.api_keys import new_key
from tests.support.stacks import running_stack

TUS = {"Tus-Resumable": "1.0.0"}
CHUNK = {**TUS, "Content-Type": tus.CHUNK_TYPE, "Upload-Offset": "0"}


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running_stack(wait=False, models=("camera_motion",), keys="required") as stack:
        yield stack


def test_upload_belongs_to_its_key(stack: Stack) -> None:
    mine, other = ({"Authorization": f"Bearer {new_key(stack, name)}"} for name in ("mine", "other"))
    with httpx.Client(base_url=stack.url, timeout=30) as http:
        refused = http.post("/v1/uploads", headers=TUS | {"Upload-Length": "9"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "unauthorized")
        path = http.post("/v1/uploads", headers=mine | TUS | {"Upload-Length": "4000000"}).headers["Location"]
        # A large body without a key is refused before it is received
        assert http.patch(path, content=bytes(40_000_000), headers=CHUNK).status_code == 401
        assert http.head(path, headers=other | TUS).status_code == 404
        assert http.patch(path, content=b"x", headers=other | CHUNK).json()["error"]["code"] == "upload_not_found"
        assert http.patch(path, content=bytes(4_000_000), headers=mine | CHUNK).status_code == 204
        body = {"upload": path.rpartition("/")[2]}
        assert http.post("/v1/jobs", json=body, headers=other).json()["error"]["code"] == "upload_not_found"
        assert http.post("/v1/jobs", json=body, headers=mine).json()["error"]["code"] == "unsupported_media"
        assert http.delete(path, headers=other | TUS).status_code == 404
        assert http.delete(path, headers=mine | TUS).status_code == 204
