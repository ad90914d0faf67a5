"""Uploads that are refused: each error has its own type, and no file is left."""

import io
from pathlib import Path

import pytest
from flask import Flask, request

from app import errors
from app.uploads.parser import receive
from tests.unit.app.uploads.requests import CONTENT, FILE, MAX_BYTES, form, take

REFUSED = {
    "no_body": ({}, errors.MissingFile),
    "empty_body": ({"environ_overrides": {"CONTENT_LENGTH": "0"}}, errors.EmptyFile),
    "empty_body_behind_nginx": ({"headers": {"X-Upload-Length": "0"}}, errors.EmptyFile),
    "no_boundary": ({"data": b"x", "content_type": "multipart/form-data"}, errors.InvalidMultipart),
    "unterminated": (form(FILE, end=b""), errors.InvalidMultipart),
    "not_a_form": ({"data": b"hello", "content_type": "multipart/form-data; boundary=XX"}, errors.InvalidMultipart),
    "part_without_name": (form(b'filename="a"\r\n\r\nx'), errors.InvalidMultipart),
    "other_field": (form(b'name="film"; filename="a"\r\n\r\nx'), errors.InvalidMultipart),
    "field_only": (form(b'name="top_k"\r\n\r\n3'), errors.MissingFile),
    "field_file_without_content": (form(b'name="file"\r\n\r\n'), errors.MissingFile),
    "file_in_base64_in_a_form": (
        form(b'name="file"; filename="a"\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEC'),
        errors.InvalidMultipart,
    ),
    "data_url_in_a_form": (form(b'name="file"\r\n\r\ndata:video/mp4;base64,AAEC'), errors.BadRequest),
    "data_url_as_the_body": ({"data": b"data:image/png;base64,AAEC"}, errors.BadRequest),
    "form_of_another_type": (form(FILE) | {"content_type": "application/octet-stream"}, errors.InvalidMultipart),
    "urlencoded_form": (
        {"data": b"file=%40clip.mp4&top_k=3", "content_type": "application/x-www-form-urlencoded"},
        errors.MissingFile,
    ),
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
    "deep_json": ({"data": b"[" * 60_000, "content_type": "application/json"}, errors.BadRequest),
    "16_MB_deep_json": ({"data": b"[" * (16 << 20), "content_type": "application/json"}, errors.TooLarge),
    "5_million_lists": (
        {"data": b"[" + b"[]," * 5_000_000 + b"1]", "content_type": "application/json"},
        errors.TooLarge,
    ),
    "5_million_strings": (
        {"data": b"[" + b'"",' * 5_000_000 + b"1]", "content_type": "application/json"},
        errors.TooLarge,
    ),
    "much_space": ({"data": b" " * 100_000 + b'{"file": "AAEC"}', "content_type": "application/json"}, errors.TooLarge),
    "long_key": ({"json": {"file": "AAEC", "k" * 20_000: 1}}, errors.TooLarge),
    "long_string_elsewhere": ({"json": {"file": "AAEC", "name": "x" * 20_000}}, errors.TooLarge),
    "two_long_files": (
        {"data": b'{"file": "%b", "file": "%b"}' % (b"A" * 20_000, b"A" * 20_000), "content_type": "application/json"},
        errors.TooLarge,
    ),
    "a_long_file_and_a_short_one": (
        {"data": b'{"file": "%b", "file": "AAEC"}' % (b"A" * 20_000), "content_type": "application/json"},
        errors.BadRequest,
    ),
    "number_of_5000_digits": (
        {"data": b'{"file": "AAEC", "top_k": %b}' % (b"1" * 5000), "content_type": "application/json"},
        errors.BadRequest,
    ),
    "long_file_not_at_the_top": ({"json": {"deep": {"file": "A" * 20_000}}}, errors.MissingFile),
    "json_cut_off_in_the_file": (
        {"data": b'{"file": "' + b"A" * 600_000, "content_type": "application/json"},
        errors.BadRequest,
    ),
    "bad_base64": ({"json": {"file": "*"}}, errors.BadRequest),
    "bad_base64_far_inside": ({"json": {"file": "A" * 400_000 + "*AAA"}}, errors.BadRequest),
    "bad_base64_at_the_end": ({"json": {"file": "AAAA*A"}}, errors.BadRequest),
    "base64_behind_its_padding": ({"json": {"file": "QQ==QQ=="}}, errors.BadRequest),
    "base64_of_one_character_too_many": ({"json": {"file": "AAECA"}}, errors.BadRequest),
    "quote_in_base64": ({"json": {"file": 'AA"C' * 10_000}}, errors.BadRequest),
    "address_in_place_of_the_file": ({"json": {"file": "https://example.org/clip.mp4"}}, errors.BadRequest),
    "data_url_without_base64": ({"json": {"file": "data:video/mp4,AAEC"}}, errors.BadRequest),
    "latin_1_in_json": (
        {"data": b'{"file": "AAEC", "name": "caf\xe9"}', "content_type": "application/json"},
        errors.BadRequest,
    ),
    "gzip": ({"data": b"x", "headers": {"Content-Encoding": "gzip"}}, errors.UnsupportedMedia),
    "gzip_and_identity": ({"data": b"x", "headers": {"Content-Encoding": "identity, GZIP"}}, errors.UnsupportedMedia),
    "path_of_another_file": ({"headers": {"X-Upload-Path": "/etc/passwd"}}, errors.BadRequest),
    "path_out_of_the_folder": ({"headers": {"X-Upload-Path": "/tmp/../etc/passwd"}}, errors.BadRequest),
}


@pytest.mark.parametrize(("options", "error"), REFUSED.values(), ids=REFUSED)
def test_refused_upload_leaves_no_file(
    tmp_path: Path, options: dict[str, object], error: type[errors.ClipstackError]
) -> None:
    with pytest.raises(error) as caught:
        take(tmp_path, **options)
    assert type(caught.value) is error
    assert list(tmp_path.iterdir()) == []


def test_size_limit_holds_with_and_without_a_length(tmp_path: Path) -> None:
    with pytest.raises(errors.TooLarge):
        take(tmp_path, 100, data=b"x" * 101)
    with pytest.raises(errors.TooLarge):
        endless = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
        take(tmp_path, 100, input_stream=io.BytesIO(b"x" * 101), environ_overrides=endless)
    assert list(tmp_path.iterdir()) == []


def test_file_removed_by_its_client(tmp_path: Path) -> None:
    body = tmp_path / "stored"
    body.write_bytes(CONTENT)
    environ = {"HTTP_X_UPLOAD_PATH": str(body)}
    with (
        Flask("test").test_request_context("/v1/classify", method="POST", environ_overrides=environ),
        pytest.raises(errors.BadRequest),
        receive(request, tmp_path, MAX_BYTES) as upload,
    ):
        body.unlink()
        upload.source.read(1)


def test_link_out_of_folder_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "uploads"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(CONTENT)
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(errors.BadRequest):
        take(folder, headers={"X-Upload-Path": str(folder / "link")})
