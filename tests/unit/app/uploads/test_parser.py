"""Raw bodies and forms: content, names and fields of an upload."""

import base64
from pathlib import Path

import pytest
from flask import Flask, request

from app import errors
from app.uploads.multipart import CHUNK_BYTES
from app.uploads.parser import receive
from tests.unit.app.uploads.requests import CONTENT, FILE, MAX_BYTES, form, take


def test_a_raw_body(tmp_path: Path) -> None:
    upload = take(tmp_path, data=CONTENT, headers={"X-File-Name": "caf%C3%A9.mp4"})
    assert (upload.content, upload.name) == (CONTENT, "café.mp4")


RAW_NAMES = {
    "café.mp4": "café.mp4",
    "caf%C3%A9.mp4": "café.mp4",
    "C:\\films\\clip.mp4": "clip.mp4",
    "a%2Fb.mp4": "b.mp4",
}


@pytest.mark.parametrize(("sent", "shown"), RAW_NAMES.items())
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_names_of_raw_bodies_in_any_encoding(tmp_path: Path, sent: str, shown: str, encoding: str) -> None:
    header = {"HTTP_X_FILE_NAME": sent.encode(encoding).decode("latin-1")}
    assert take(tmp_path, data=CONTENT, environ_overrides=header).name == shown


def test_form_that_nginx_stored_is_not_copied(tmp_path: Path) -> None:
    body = tmp_path / "stored"
    sent = form(b'name="top_k"\r\n\r\n3', FILE)
    body.write_bytes(sent["data"])  # type: ignore[arg-type]
    environ = {"CONTENT_TYPE": sent["content_type"], "HTTP_X_UPLOAD_PATH": str(body)}
    upload = take(tmp_path, environ_overrides=environ)
    assert (upload.content, upload.name, upload.fields) == (CONTENT, "clip.mp4", {"top_k": "3"})
    assert upload.source.path == str(body)
    assert upload.source.offset > 0


@pytest.mark.parametrize("size", [1, CHUNK_BYTES - 60, CHUNK_BYTES, 3 * CHUNK_BYTES + 7])
def test_form_of_any_size_keeps_the_bytes(tmp_path: Path, size: int) -> None:
    content = (b"\r\n-\x00--X" * (size // 8 + 1))[:size]
    upload = take(tmp_path, **form(b'name="file"; filename="clip.mp4"\r\n\r\n' + content, b'name="model"\r\n\r\nx'))
    assert upload.content == content
    assert upload.fields == {"model": "x"}


def test_several_files_of_form_keep_their_order(tmp_path: Path) -> None:
    empty = b'name="file"; filename=""\r\n\r\n'
    parts = (b'name="top_k"\r\n\r\n3', FILE, empty, FILE.replace(b"clip", b"other"))
    with (
        Flask("test").test_request_context("/v1/classify", method="POST", **form(*parts)),  # type: ignore[arg-type]
        receive(request, tmp_path, MAX_BYTES, max_files=3) as upload,
    ):
        files = (upload, *upload.more)
        assert [item.name for item in files] == ["clip.mp4", "", "other.mp4"]
        assert [item.source.read(MAX_BYTES) for item in (files[0], files[2])] == [CONTENT] * 2
        assert [item.fields for item in files] == [{"top_k": "3"}] * 3
        with pytest.raises(errors.EmptyFile):
            files[1].check()


@pytest.mark.parametrize("coding", ["identity", "Identity", "IDENTITY , identity", ""])
def test_content_codings_ignore_case(tmp_path: Path, coding: str) -> None:
    assert take(tmp_path, data=CONTENT, headers={"Content-Encoding": coding}).content == CONTENT


MULTIPART_TYPES = [
    "multipart/form-data; boundary=XX", "Multipart/Form-Data; Boundary=XX", 'multipart/form-data ; boundary="XX"',
    "multipart/form-data; charset=utf-8; boundary=XX", "multipart/mixed;boundary=XX",
]  # fmt: skip


@pytest.mark.parametrize("content_type", MULTIPART_TYPES)
def test_a_form_s_type_in_every_spelling(tmp_path: Path, content_type: str) -> None:
    assert take(tmp_path, **form(FILE) | {"content_type": content_type}).content == CONTENT


def test_unquoted_boundary_is_accepted(tmp_path: Path) -> None:
    body = form(FILE)["data"].replace(b"--XX", b"--a=b:c/d")  # type: ignore[attr-defined]
    assert take(tmp_path, data=body, content_type="multipart/form-data; boundary=a=b:c/d; x=y").content == CONTENT


FILE_NAMES = {
    b'filename="caf\xc3\xa9.mp4"': "café.mp4",
    b'filename="caf\xe9.mp4"': "café.mp4",
    b"filename*=UTF-8''caf%C3%A9.mp4": "café.mp4",
    b"filename=\"x.mp4\"; filename*=UTF-8''caf%C3%A9.mp4": "café.mp4",
    b'filename="a %22b%22.mp4"': 'a "b".mp4',
    b'filename="a \\"b\\".mp4"': 'a "b".mp4',
    b'filename="C:\\Users\\me\\clip.mp4"': "clip.mp4",
    b'filename="a;b.mp4"': "a;b.mp4",
    b"filename=clip.mp4": "clip.mp4",
    b'FileName="clip.mp4"': "clip.mp4",
    b'filename="\xff\xfe\x1b.mp4"': "ÿþ.mp4",
}


@pytest.mark.parametrize(("parameter", "shown"), FILE_NAMES.items(), ids=range(len(FILE_NAMES)))
def test_file_names_as_clients_write_them(tmp_path: Path, parameter: bytes, shown: str) -> None:
    upload = take(tmp_path, **form(b'name="file"; ' + parameter + b"\r\n\r\n" + CONTENT))
    assert (upload.content, upload.name) == (CONTENT, shown)


def test_a_file_part_without_a_file_name(tmp_path: Path) -> None:
    upload = take(
        tmp_path, **form(b'name="file"\r\nContent-Type: video/mp4\r\n\r\n' + CONTENT, b'name="top_k"\r\n\r\n3')
    )
    assert (upload.content, upload.name, upload.fields) == (CONTENT, "", {"top_k": "3"})


def test_temporary_files_are_removed(tmp_path: Path) -> None:
    take(tmp_path, data=CONTENT)
    take(tmp_path, json={"file": base64.b64encode(CONTENT).decode()})
    take(tmp_path, **form(FILE))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\r\nX-Evil: 1", "n" * 10_000])
def test_file_names_are_sanitised(tmp_path: Path, name: str) -> None:
    upload = take(tmp_path, json={"file": "AAEC", "name": name})
    assert "/" not in upload.name and "\n" not in upload.name and len(upload.name) <= 200
