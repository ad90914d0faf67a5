"""nginx's answers while the app or the disk is away; those to bad requests are rows of tests/http_edge."""

import httpx


def test_web_down_is_503_with_retry_after(stack):
    stack.supervisorctl("stop", "web")
    try:
        answer = httpx.get(f"{stack.url}/v1/models", timeout=10)
    finally:
        stack.supervisorctl("start", "web")
        stack.wait()

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")
    assert answer.headers["retry-after"] == "2"


def test_upload_that_cannot_be_stored_is_503_storage_full(stack):
    uploads, away = stack.run_dir / "uploads", stack.run_dir / "uploads-away"
    uploads.rename(away)
    try:
        answer = httpx.post(f"{stack.url}/v1/classify", content=b"a video", timeout=10)
    finally:
        away.rename(uploads)

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage_full")
    assert answer.headers["retry-after"] == "10"
