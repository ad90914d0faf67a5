"""Every way in which a file can reach us, and every way in which it can fail to."""

import base64
import io
import json
from pathlib import Path

import pytest
from flask import Flask, request

from app import errors
from app.uploads import CHUNK_BYTES, receive

CONTENT = bytes(range(256)) * 40 + b"\r\n--almost a boundary\r\n"
MAX_BYTES = 8 << 20


class Received:
    """What `receive` made of a request, read before its temporary files went."""

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


def test_a_raw_body(tmp_path: Path) -> None:
    got = take(tmp_path, data=CONTENT, headers={"X-File-Name": "caf%C3%A9.mp4"})
    assert (got.content, got.name) == (CONTENT, "café.mp4")


def test_a_form_is_decoded_where_it_lies(tmp_path: Path) -> None:
    body = tmp_path / "handed-on"
    sent = form(b'name="top_k"\r\n\r\n3', FILE)
    body.write_bytes(sent["data"])  # type: ignore[arg-type]
    handed_on = {"CONTENT_TYPE": sent["content_type"], "HTTP_X_UPLOAD_PATH": str(body)}
    got = take(tmp_path, environ_overrides=handed_on)
    assert (got.content, got.name, got.fields) == (CONTENT, "clip.mp4", {"top_k": "3"})
    assert got.source.path == str(body)
    assert got.source.offset > 0


@pytest.mark.parametrize("size", [1, CHUNK_BYTES - 60, CHUNK_BYTES, 3 * CHUNK_BYTES + 7])
def test_a_form_of_any_size_gives_its_very_bytes(tmp_path: Path, size: int) -> None:
    content = (b"\r\n-\x00--X" * (size // 8 + 1))[:size]
    got = take(tmp_path, **form(b'name="file"; filename="clip.mp4"\r\n\r\n' + content, b'name="model"\r\n\r\nx'))
    assert got.content == content
    assert got.fields == {"model": "x"}


def test_base64_in_json(tmp_path: Path) -> None:
    body = {"file": base64.b64encode(CONTENT).decode(), "name": "a.mp4", "top_k": 2}
    got = take(tmp_path, json=body)
    assert (got.content, got.name, got.fields) == (CONTENT, "a.mp4", {"top_k": "2"})


def test_a_data_url_in_json(tmp_path: Path) -> None:
    assert take(tmp_path, json={"file": "data:video/mp4;base64,AAEC"}).content == b"\x00\x01\x02"


def test_nothing_is_left_in_the_folder(tmp_path: Path) -> None:
    take(tmp_path, data=CONTENT)
    take(tmp_path, json={"file": base64.b64encode(CONTENT).decode()})
    take(tmp_path, **form(FILE))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\r\nX-Evil: 1", "n" * 10_000])
def test_names_are_for_showing_only(tmp_path: Path, name: str) -> None:
    got = take(tmp_path, json={"file": "AAEC", "name": name})
    assert "/" not in got.name and "\n" not in got.name and len(got.name) <= 200


WRONG = {
    "no_body": ({}, errors.MissingFile),
    "empty_body": ({"environ_overrides": {"CONTENT_LENGTH": "0"}}, errors.EmptyFile),
    "empty_body_behind_nginx": ({"headers": {"X-Upload-Length": "0"}}, errors.EmptyFile),
    "no_boundary": ({"data": b"x", "content_type": "multipart/form-data"}, errors.InvalidMultipart),
    "unterminated": (form(FILE, end=b""), errors.InvalidMultipart),
    "not_a_form": ({"data": b"hello", "content_type": "multipart/form-data; boundary=XX"}, errors.InvalidMultipart),
    "part_without_name": (form(b'filename="a"\r\n\r\nx'), errors.InvalidMultipart),
    "other_field": (form(b'name="film"; filename="a"\r\n\r\nx'), errors.InvalidMultipart),
    "field_only": (form(b'name="file"\r\n\r\nx'), errors.MissingFile),
    "no_file_chosen": (form(b'name="file"; filename=""\r\n\r\n'), errors.MissingFile),
    "empty_file": (form(b'name="file"; filename="a.mp4"\r\n\r\n'), errors.EmptyFile),
    "two_files": (form(FILE, FILE), errors.TooManyFiles),
    "1000_parts": (form(*[b'name="a"\r\n\r\nx'] * 1000), errors.TooLarge),
    "200_kB_field": (form(b'name="a"\r\n\r\n' + b"x" * 200_000, FILE), errors.TooLarge),
    "2_MB_head_of_a_part": (form(b'name="a"\r\nX: ' + b"x" * (2 << 20) + b"\r\n\r\nx", FILE), errors.TooLarge),
    "100_kB_head_of_a_part": (form(b'name="a"\r\nX: ' + b"x" * 100_000 + b"\r\n\r\nx", FILE), errors.TooLarge),
    "100_kB_after_the_end": (form(FILE, end=b"--XX--\r\n" + b"x" * 100_000), errors.TooLarge),
    "100_kB_without_a_part": (
        {"data": b"x" * 100_000, "content_type": "multipart/form-data; boundary=XX"},
        errors.InvalidMultipart,
    ),
    "bad_json": ({"data": b"{", "content_type": "application/json"}, errors.BadRequest),
    "json_list": ({"data": b"[]", "content_type": "application/json"}, errors.MissingFile),
    "json_without_file": ({"json": {"name": "x"}}, errors.MissingFile),
    "json_number": ({"json": {"file": 3}}, errors.BadRequest),
    "deep_json": ({"data": b"[" * 200_000, "content_type": "application/json"}, errors.BadRequest),
    "bad_base64": ({"json": {"file": "*"}}, errors.BadRequest),
    "gzip": ({"data": b"x", "headers": {"Content-Encoding": "gzip"}}, errors.UnsupportedMedia),
    "path_of_another_file": ({"headers": {"X-Upload-Path": "/etc/passwd"}}, errors.BadRequest),
    "path_out_of_the_folder": ({"headers": {"X-Upload-Path": "/tmp/../etc/passwd"}}, errors.BadRequest),
}


@pytest.mark.parametrize(("options", "error"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_has_a_name_and_leaves_nothing(
    tmp_path: Path, options: dict[str, object], error: type[errors.ClipstackError]
) -> None:
    with pytest.raises(error) as caught:
        take(tmp_path, **options)
    assert type(caught.value) is error
    assert list(tmp_path.iterdir()) == []


def test_too_large_by_its_length_or_by_its_bytes(tmp_path: Path) -> None:
    with pytest.raises(errors.TooLarge):
        take(tmp_path, 100, data=b"x" * 101)
    with pytest.raises(errors.TooLarge):
        endless = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
        take(tmp_path, 100, input_stream=io.BytesIO(b"x" * 101), environ_overrides=endless)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_went_with_its_sender_is_no_fault_of_ours(tmp_path: Path) -> None:
    body = tmp_path / "handed-on"
    body.write_bytes(CONTENT)
    handed_on = {"HTTP_X_UPLOAD_PATH": str(body)}
    with (
        Flask("test").test_request_context("/v1/classify", method="POST", environ_overrides=handed_on),
        pytest.raises(errors.BadRequest),
        receive(request, tmp_path, MAX_BYTES) as upload,
    ):
        body.unlink()
        upload.source.read(1)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "uploads"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(CONTENT)
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(errors.BadRequest):
        take(folder, headers={"X-Upload-Path": str(folder / "link")})


def test_fields_of_json_that_are_no_parameters_are_ignored(tmp_path: Path) -> None:
    got = take(tmp_path, data=json.dumps({"file": "AAEC", "extra": {"deep": 1}}), content_type="application/json")
    assert got.fields == {}
