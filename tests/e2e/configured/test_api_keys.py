"""API keys through the real nginx and its workers: access, what each owner sees, and fair shares."""

from __future__ import annotations

import io
import os
import select
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image

from app import create_app
from app.auth import store
from app.auth.key_check import upload_limit
from deploy.stack.stack import Stack
from tests.support.api_keys import new_key, with_key
from tests.support.job_requests import submit_job, wait_for_job
from tests.support.movements import film_movement
from tests.support.open_routes import OPEN, VALUES, requests_of
from tests.support.raw_http import parse_response, send
from tests.support.stacks import until


def a_picture() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((320, 240), 60).convert("RGB").save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film_movement(tmp_path_factory.mktemp("film") / "film.mp4", "pan_left")


@pytest.fixture(scope="module")
def alice(stack: Stack) -> Iterator[httpx.Client]:
    with with_key(stack, new_key(stack, "alice")) as client:
        yield client


@pytest.fixture(scope="module")
def bob(stack: Stack) -> Iterator[httpx.Client]:
    with with_key(stack, new_key(stack, "bob")) as client:
        yield client


def test_every_protected_route_is_401(stack: Stack) -> None:
    with httpx.Client(base_url=stack.url, timeout=20) as anybody:
        for method, path, endpoint in requests_of(create_app(stack.settings)):
            answer = anybody.request(method, path)
            if path in ("/", "/models"):
                login = "/login" if path == "/" else f"/login?next={path}"
                assert (answer.status_code, answer.headers["Location"]) == (303, login)
            elif endpoint not in OPEN:
                assert (answer.status_code, answer.headers.get_list("WWW-Authenticate")) == (401, ["Bearer"]), path
                assert method == "HEAD" or answer.json()["error"]["code"] == "unauthorized"
            else:
                assert answer.status_code in (200, 403, 405), path
        assert anybody.get("/nothing").status_code == 401
        assert anybody.get("/_key").status_code == 404, "only nginx may call it"


def test_wrong_keys_are_401(stack: Stack) -> None:
    good = new_key(stack, "good")
    name, _, secret = good.rpartition("_")
    for wrong in ("nothing", good[:-1], f"{name}_{secret[::-1]}"):
        for headers in (
            {"Authorization": f"Bearer {wrong}"},
            {"X-API-Key": wrong},
            {"Authorization": f"Basic {wrong}"},
        ):
            answer = httpx.get(f"{stack.url}/v1/jobs", headers=headers, timeout=20)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized"), headers
    assert httpx.get(f"{stack.url}/v1/jobs", headers={"X-API-Key": good}, timeout=20).status_code == 200


def test_upload_without_key_is_refused_before_its_body(stack: Stack) -> None:
    for path in ("/v1/classify", "/v1/jobs"):
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 900000000\r\n\r\n"
        answer = send(stack.url, head.encode(), bytes(300_000))
        assert (answer.status, answer.error["code"]) == (401, "unauthorized")
        assert "http" not in answer.headers.get("location", "")
    assert list((stack.run_dir / "uploads").iterdir()) == []


def test_every_request_of_a_connection_needs_its_key(stack: Stack, alice: httpx.Client) -> None:
    good = f"Authorization: {alice.headers['Authorization']}\r\n"
    wanted = [good, "", good, "Authorization: Bearer clipstack_aaaaaaaa_" + "a" * 32 + "\r\n", good, ""]
    requests = [f"GET /v1/jobs HTTP/1.1\r\nHost: x\r\n{key}\r\n" for key in wanted]
    requests[-1] = requests[-1].replace("Host: x\r\n", "Host: x\r\nConnection: close\r\n")
    received, address = b"", urlsplit(stack.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.sendall("".join(requests).encode())
        while part := connection.recv(65536):
            received += part
    statuses = [int(part.split()[0]) for part in received.decode().split("HTTP/1.1 ")[1:]]
    assert statuses == [200, 401, 200, 401, 200, 401]


def test_job_of_another_owner_is_not_found(stack: Stack, alice: httpx.Client, bob: httpx.Client, film: Path) -> None:
    job = submit_job(alice, film)["id"]
    assert wait_for_job(alice, job)["state"] == "done"
    paths = [
        (method, path.replace(str(VALUES["identity"]), job))
        for method, path, _ in requests_of(create_app(stack.settings))
        if path.startswith(f"/v1/jobs/{VALUES['identity']}") and method != "OPTIONS"
    ]
    assert len(paths) >= 7
    for method, path in paths:
        answer = bob.request(method, path)
        assert answer.status_code == 404, (method, path)
        assert method == "HEAD" or answer.json()["error"]["code"] == "job_not_found"
        if method == "GET":
            missing = bob.get(path.replace(job, "f" * 24)).json()["error"]
            assert answer.json()["error"]["message"] == missing["message"], (
                "an id that never existed gets the same answer"
            )
    assert job in [item["id"] for item in alice.get("/v1/jobs").json()["jobs"]]
    assert bob.get("/v1/jobs").json()["jobs"] == []
    for path in ("", "/source", "/thumbnails/0.jpg", "/timeline?format=csv", "/events"):
        assert alice.get(f"/v1/jobs/{job}{path}").status_code == 200, path


def test_search_finds_only_own_jobs(alice: httpx.Client, bob: httpx.Client, film: Path) -> None:
    own = {client: submit_job(client, film, embedding="true")["id"] for client in (alice, bob)}
    for client, job_id in own.items():
        assert wait_for_job(client, job_id)["state"] == "done"
    for client, other in ((alice, bob), (bob, alice)):
        result = client.post("/v1/search", content=film.read_bytes(), params={"limit": 100}).json()
        assert {match["job"] for match in result["matches"]} == {own[client]}
        assert result["searched"]["jobs"] == 1
        refused = client.post("/v1/search", params={"job": own[other], "window": 0})
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "job_not_found")


def test_two_owners_may_use_the_same_idempotency_key(alice: httpx.Client, bob: httpx.Client, film: Path) -> None:
    def job(client: httpx.Client, content: bytes) -> httpx.Response:
        return client.post("/v1/jobs", content=content, headers={"Idempotency-Key": "monday"})

    mine, hers = job(bob, film.read_bytes()), job(alice, film.read_bytes())
    again = job(bob, film.read_bytes())
    assert [mine.status_code, hers.status_code, again.status_code] == [202, 202, 200]
    assert mine.json()["id"] == again.json()["id"] != hers.json()["id"]
    for client, answer in ((bob, mine), (alice, hers)):
        assert wait_for_job(client, answer.json()["id"])["state"] == "done"


def test_results_are_cached_for_each_key(alice: httpx.Client, bob: httpx.Client, film: Path) -> None:
    def cache(client: httpx.Client) -> str:
        answer = client.post("/v1/classify", params={"top_k": 3}, content=film.read_bytes())
        return answer.headers["X-Clipstack-Cache"]

    assert [cache(alice), cache(alice), cache(bob), cache(bob)] == ["miss", "hit", "miss", "hit"]


def test_revoked_key_is_refused_by_every_worker(stack: Stack) -> None:
    with with_key(stack, new_key(stack, "leaver")) as leaver:
        assert {leaver.get("/v1/jobs").status_code for _ in range(10)} == {200}
        store.revoke(stack.settings.keys_file, "leaver")
        assert {leaver.get("/v1/jobs").status_code for _ in range(20)} == {401}


def test_key_for_pictures_cannot_send_videos(stack: Stack, film: Path) -> None:
    with with_key(stack, new_key(stack, "photographer", lanes=("picture",))) as photographer:
        for path in ("/v1/classify", "/v1/jobs"):
            answer = photographer.post(path, content=film.read_bytes())
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
            assert "(allowed: picture)" in answer.json()["error"]["message"]
        picture = photographer.post("/v1/classify?model=frame_quality", content=a_picture())
        assert picture.status_code == 200, picture.text


def test_rate_limit_is_429_before_the_upload(stack: Stack, film: Path) -> None:
    with with_key(stack, new_key(stack, "hasty", rate=0.05, burst=2)) as hasty:
        answers = [hasty.post("/v1/classify", content=film.read_bytes()) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
        assert {answer.json()["error"]["code"] for answer in answers[2:]} == {"too_many_requests"}
        assert all(15 <= int(answer.headers["Retry-After"]) <= 20 for answer in answers[2:])
        assert all("files per second" in answer.json()["error"]["message"] for answer in answers[2:])
        assert {answer.headers["RateLimit-Policy"] for answer in answers} == {'"files";q=2;w=40'}
        assert [answer.headers["RateLimit"][:11] for answer in answers] == ['"files";r=1', *['"files";r=0'] * 3]
        head = (
            f"POST /v1/classify HTTP/1.1\r\nHost: x\r\nAuthorization: {hasty.headers['Authorization']}\r\n"
            "Content-Length: 900000000\r\nConnection: close\r\n\r\n"
        )
        assert send(stack.url, head.encode(), bytes(300_000)).status == 429
    assert list((stack.run_dir / "uploads").iterdir()) == []


def test_concurrency_of_a_key_counts_over_all_workers(stack: Stack, bob: httpx.Client, film: Path) -> None:
    content, over = film.read_bytes(), threading.Event()
    with with_key(stack, new_key(stack, "greedy", concurrent=2)) as greedy:

        def flood() -> Counter[int]:
            counts: Counter[int] = Counter()
            while not over.is_set():
                counts[
                    greedy.post("/v1/classify", content=content, headers={"Cache-Control": "no-cache"}).status_code
                ] += 1
            return counts

        with ThreadPoolExecutor(8) as threads:
            floods = [threads.submit(flood) for _ in range(8)]
            answers = [bob.post("/v1/classify?clips=2", content=content) for _ in range(5)]
            over.set()
            counts = sum((flood.result(60) for flood in floods), Counter())
    assert [answer.status_code for answer in answers] == [200] * 5
    assert set(counts) == {200, 429} and min(counts.values()) > 0


def test_uploads_in_progress_count_for_their_key(stack: Stack, bob: httpx.Client, film: Path) -> None:
    text, address = new_key(stack, "slow sender", concurrent=2), urlsplit(stack.url)
    begun = f"POST /v1/classify HTTP/1.1\r\nHost: x\r\nX-API-Key: {text}\r\nContent-Length: 1000000\r\n\r\nand no more"
    with ExitStack() as held, with_key(stack, text) as same:
        uploads = [
            held.enter_context(socket.create_connection((address.hostname, address.port), timeout=20))
            for _ in range(upload_limit(2) + 3)
        ]
        for upload in uploads:
            upload.sendall(begun.encode())
        until(lambda: len(select.select(uploads, [], [], 0)[0]) == 3, 10)
        refused = [parse_response(upload.recv(65536)) for upload in select.select(uploads, [], [], 0)[0]]
        assert {(answer.status, answer.error["code"]) for answer in refused} == {(429, "too_many_requests")}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        assert same.get("/v1/jobs").status_code == 200, "requests without a file are not counted"
        assert same.post("/v1/classify", content=film.read_bytes()).status_code == 429
        assert bob.post("/v1/classify", content=film.read_bytes()).status_code == 200
        held.pop_all().close()
        until(lambda: same.post("/v1/classify", content=film.read_bytes()).status_code == 200, 10)


def test_web_down_is_not_ready(stack: Stack, alice: httpx.Client) -> None:
    stack.supervisorctl("stop", "web")
    try:
        answer = alice.post("/v1/classify", content=b"x" * 100_000)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")
        nobody = httpx.post(f"{stack.url}/v1/classify", content=b"x", timeout=20)
        assert nobody.status_code == 503
    finally:
        stack.supervisorctl("start", "web")
    until(lambda: alice.get("/readyz").status_code == 200, 60)


def test_no_key_is_in_any_log(stack: Stack, alice: httpx.Client) -> None:
    secret = alice.headers["Authorization"].rpartition("_")[2]
    wrong = "clipstack_aaaaaaaa_" + "b" * 32
    assert alice.get("/nothing", headers={"X-API-Key": wrong}).status_code == 404
    answer = httpx.get(f"{stack.url}/v1/jobs", headers={"X-API-Key": wrong}, timeout=20)
    assert answer.status_code == 401 and "b" * 32 not in answer.text
    request_id = answer.headers["X-Request-Id"]
    logs = stack.run_dir / "logs"
    until(lambda: request_id in (logs / "nginx-access.log").read_text(), 5)
    whole = "".join(path.read_text(errors="replace") for path in logs.iterdir())
    assert secret not in whole and "b" * 32 not in whole


KEY_HEADERS = ("Authorization: Bearer {}", "authorization: bearer  {}", "X-API-Key: {}")


def test_nginx_refuses_only_the_flagged_keys(stack: Stack, bob: httpx.Client) -> None:
    keys = {header: new_key(stack, f"flagged {number}") for number, header in enumerate(KEY_HEADERS)}
    flags = [stack.run_dir / "web" / "shut" / key.split("_")[1] for key in keys.values()]
    with ExitStack() as clients:
        refused = [
            clients.enter_context(
                httpx.Client(base_url=stack.url, timeout=60, headers=[header.format(key).split(": ")])
            )
            for header, key in keys.items()
        ]
        for client, flag in zip(refused, flags, strict=True):
            for path in ("/v1/classify?model=frame_quality", "/v1/jobs", "/"):
                flag.touch()  # the flag expires after some seconds
                answer = client.post(path, content=a_picture())
                assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_many_requests")
                assert int(answer.headers["Retry-After"]) >= 1
            assert client.get("/v1/jobs").status_code == 200, "requests without a file are not refused"
        assert bob.post("/v1/classify?model=frame_quality", content=a_picture()).status_code == 200
        for flag in filter(Path.exists, flags):
            os.utime(flag, (0, 0))  # as if long ago: nobody renews it
        until(lambda: not any(flag.exists() for flag in flags), 10)
        for client in refused:
            assert client.post("/v1/classify?model=frame_quality", content=a_picture()).status_code == 200
