"""Requests with files in every form, parsed as the service does."""

from pathlib import Path

from flask import Flask, request

from app.uploads.parser import receive

CONTENT = bytes(range(256)) * 40 + b"\r\n--almost a boundary\r\n"


MAX_BYTES = 8 << 20


class Received:
    """An upload as `receive` parsed it, read before its temporary files are removed."""

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        with receive(request, folder, max_bytes) as upload:
            self.name, self.fields, self.source = upload.name, upload.fields, upload.source
            with open(upload.source.path, "rb") as file:
                file.seek(upload.source.offset)
                self.content = file.read(upload.source.length)


def take(folder: Path, max_bytes: int = MAX_BYTES, **options: object) -> Received:
    with Flask("test").test_request_context("/v1/classify", method="POST", **options):  # type: ignore[arg-type]
        return Received(folder, max_bytes)


def form(*parts: bytes, end: bytes = b"--XX--\r\n") -> dict[str, object]:
    body = b"".join(b"--XX\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts) + end
    return {"data": body, "content_type": "multipart/form-data; boundary=XX"}


FILE = b'name="file"; filename="clip.mp4"\r\nContent-Type: video/mp4\r\n\r\n' + CONTENT
