"""A small HTTP service with the answers of the real one, recorded, for tests of the client."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.client_jobs import RecordedJobs, Refused

SCORES = {
    "pan_left": 0.9714, "static": 0.0131, "tilt_down": 0.0052, "shake": 0.0048, "zoom_in": 0.0021,
    "zoom_out": 0.0013, "pan_right": 0.0009, "tilt_up": 0.0006, "roll_cw": 0.0004, "roll_ccw": 0.0002,
}  # fmt: skip
FRAMES = 8  # of a clip
MODEL = {
    "name": "camera_motion", "version": "1", "kind": "video", "labels": list(SCORES), "frames": FRAMES, "stride": 4,
    "fps": 30.0, "resize": 80, "crop": 80, "default": True,
}  # fmt: skip
CLIP = {
    "start_s": 4.53, "end_s": 5.47, "frames": [126, 130, 134, 138, 142, 146, 150, 154],
    "times_s": [4.53, 4.67, 4.8, 4.93, 5.07, 5.2, 5.33, 5.47], "padded": False,
}  # fmt: skip
MEDIA = {
    "kind": "video", "container": "mp4", "codec": "h264", "width": 340, "height": 256, "rotation": 0, "mirrored": False,
    "duration_s": 10.0, "fps": 28.0, "frames": 280, "truncated": False,
}  # fmt: skip
TIMING = {
    "receive": 0.4, "queue": 0.0, "probe": 5.1, "decode": 21.0, "infer": 9.8, "answer": 0.2, "total": 37.0,
}  # fmt: skip
THUMBNAIL = "data:image/jpeg;base64,/9j/2Q=="
# The shortest start by which an MP4 file is recognised; the recorded answers need no more of a video.
MP4 = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(1000)


@dataclass(frozen=True)
class Reply:
    """An answer that the service sends once, instead of its usual one.

    A `body` of None closes the connection; an iterator of bytes is sent piece by piece, as long as it lasts.
    """

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Received:
    """One request as it came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class RecordedService(ThreadingHTTPServer):
    """Answer by the recordings above, or by `replies`, one for each request, as long as there are any.

    `cache` is what an answer says of the service's store, `hit` or `miss`; None for a service without one.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies: list[Reply] = []
        self.received: list[Received] = []
        self.jobs = RecordedJobs(MEDIA)
        self.cache: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect."""

    def reply_to(self, request: Received) -> Reply:
        if self.replies:
            return self.replies.pop(0)
        if request.path == "/v1/classify":
            headers = () if self.cache is None else (("X-Clipstack-Cache", self.cache),)
            return replace(_classified(request), headers=headers)
        if request.path.startswith("/v1/jobs"):
            try:
                return _job_reply(self.jobs, request)
            except Refused as refused:
                return refusal(*refused.args)
        if request.path == "/v1/models":
            return Reply(body={"models": [MODEL]})
        return Reply(body={"status": "ready"}) if request.path == "/readyz" else refusal(404, "not_found")


def refusal(status: int, code: str, *headers: tuple[str, str], message: str = "this will not do") -> Reply:
    """Return an error answer in the service's format."""
    return Reply(status, {"error": {"code": code, "message": message, "request_id": "7c0ffee7"}}, headers)


@contextmanager
def recorded_service() -> Iterator[RecordedService]:
    """Run the service on a free port, in a thread."""
    with RecordedService() as service:
        thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield service
        finally:
            service.shutdown()
            thread.join()


def _refused(request: Received) -> Reply | None:
    if not request.body:
        return refusal(400, "empty_file", message="the file is empty")
    if request.query.get("model", MODEL["name"]) != MODEL["name"]:
        return refusal(404, "model_not_found", message="there is no model of that name")
    if request.body[4:8] != b"ftyp":
        return refusal(415, "unsupported_media", message="this is neither a video nor a picture")
    return None


def _job_reply(jobs: RecordedJobs, request: Received) -> Reply:
    id, part = (*request.path.split("/")[3:], "", "")[:2]
    if request.method == "POST":
        name, key = request.headers.get("x-file-name", ""), request.headers.get("idempotency-key")
        if refused := _refused(request):
            return refused
        new, record = jobs.add(request.body, name, request.query, key)
        return Reply(202 if new else 200, record, (("Location", record["links"]["self"]),))
    if not id:
        limit = int(request.query.get("limit", "50"))
        records = jobs.records(limit, request.query.get("state", "all"), request.query.get("cursor", ""))
        last = f"{records[-1]['created']}~{records[-1]['id']}" if len(records) == limit else None
        return Reply(body={"jobs": records, "next_cursor": last})
    if request.method == "DELETE":
        return Reply(body=jobs.delete(id))
    if part == "timeline":
        content, kind = jobs.export(id, request.query["format"])
        return Reply(body=content, headers=(("Content-Type", kind),))
    if part != "events":
        windows = request.query.get("windows") == "true"
        return Reply(body=jobs.look(id, int(request.query.get("offset", "0")) if windows else None))
    if jobs.events == "refused":
        return refusal(503, "unavailable")
    if jobs.events == "gone":
        return Reply(200, b"<html>no events through this proxy</html>", (("Content-Type", "text/html"),))
    return Reply(body=jobs.stream(id), headers=(("Content-Type", "text/event-stream"),))


def _classified(request: Received) -> Reply:
    if refused := _refused(request):
        return refused
    predictions = [{"label": label, "score": score} for label, score in SCORES.items()]
    answer = {
        "request_id": "1badb002",
        "model": MODEL["name"],
        "model_version": "1",
        "transport": "system_shared_memory",
        "precision": "f32",
        "predictions": predictions[: int(request.query.get("top_k", "5"))],
        "media": {**MEDIA, "bytes": len(request.body), "name": unquote(request.headers.get("x-file-name", ""))},
        "clips": [CLIP] * int(request.query.get("clips", "1")),
        "timing_ms": TIMING,
        "warnings": [],
    }
    if request.query.get("thumbnails") == "true":
        answer["thumbnails"] = [THUMBNAIL] * FRAMES
    return Reply(body=answer)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    server: RecordedService

    def do_GET(self) -> None:
        self._answer(b"")

    def do_DELETE(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        chunked = self.headers.get("Transfer-Encoding") == "chunked"
        self._answer(self._chunks() if chunked else self.rfile.read(int(self.headers["Content-Length"])))

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, body: bytes) -> None:
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Received(self.command, parts.path, query, headers, body)
        self.server.received.append(request)
        reply = self.server.reply_to(request)
        if reply.body is None:
            self.close_connection = True
            return
        if isinstance(reply.body, Iterator):
            self._stream(reply)
            return
        content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        for name, value in (*reply.headers, ("Content-Length", str(len(content)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, reply: Reply) -> None:
        self.close_connection = True
        self.send_response(reply.status)
        for name, value in (*reply.headers, ("Connection", "close")):
            self.send_header(name, value)
        self.end_headers()
        for piece in reply.body:
            self.wfile.write(piece)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""
