"""Every way in which a file can reach us, and every way in which it can fail to."""

import base64
import io
import json
import tracemalloc
from pathlib import Path

import pytest
from flask import Flask, request

from app import errors
from app.uploads.multipart import CHUNK_BYTES
from app.uploads.parser import receive

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


def test_numbers_of_json_are_read_as_parameters(tmp_path: Path) -> None:
    got = take(tmp_path, json={"file": "AAEC", "top_k": 3.0, "hop_s": 0.5, "thumbnails": True, "clips": None})
    assert got.fields == {"top_k": "3", "hop_s": "0.5", "thumbnails": "True"}


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
def test_form_of_any_size_gives_its_very_bytes(tmp_path: Path, size: int) -> None:
    content = (b"\r\n-\x00--X" * (size // 8 + 1))[:size]
    got = take(tmp_path, **form(b'name="file"; filename="clip.mp4"\r\n\r\n' + content, b'name="model"\r\n\r\nx'))
    assert got.content == content
    assert got.fields == {"model": "x"}


def test_base64_in_json(tmp_path: Path) -> None:
    body = {"file": base64.b64encode(CONTENT).decode(), "name": "a.mp4", "top_k": 2}
    got = take(tmp_path, json=body)
    assert (got.content, got.name, got.fields) == (CONTENT, "a.mp4", {"top_k": "2"})


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


def test_a_data_url_in_json(tmp_path: Path) -> None:
    assert take(tmp_path, json={"file": "data:video/mp4;base64,AAEC"}).content == b"\x00\x01\x02"


ENCODED = base64.b64encode(CONTENT * 60).decode()  # 800 KB: several pieces
LINES = "\n".join(ENCODED[at : at + 76] for at in range(0, len(ENCODED), 76))
SPELLINGS = {
    "plain": json.dumps({"file": ENCODED}),
    "in_lines": json.dumps({"file": LINES + "\n"}),
    "in_lines_of_crlf": json.dumps({"file": LINES.replace("\n", "\r\n")}),
    "in_lines_that_are_not_escaped": '{"file": "' + LINES + '"}',
    "url_safe": json.dumps({"file": ENCODED.replace("+", "-").replace("/", "_")}),
    "unpadded": json.dumps({"file": ENCODED.rstrip("=")}),
    "data_url": json.dumps({"file": "data:video/mp4;codecs=avc1;base64," + ENCODED}),
    "data_url_in_capitals": json.dumps({"file": "DATA:;BASE64," + ENCODED}),
    "escaped_as_php_does": json.dumps({"file": ENCODED}).replace("/", r"\/"),
    "escaped_as_dotnet_and_gson_do": json.dumps({"file": ENCODED}).replace("+", r"\u002B").replace("=", r"\u003d"),
    "after_other_fields": json.dumps({"name": "a", "extra": {"deep": ["file", 1]}, "file": ENCODED}),
    "before_other_fields": json.dumps({"file": ENCODED, "name": 'quoted \\ "name"', "list": [[], {}]}, indent=2),
}


@pytest.mark.parametrize("text", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_base64_in_every_spelling(tmp_path: Path, text: str, encoding: str) -> None:
    assert take(tmp_path, data=text.encode(encoding), content_type="application/json").content == CONTENT * 60


@pytest.mark.parametrize(("end", "content"), [("QQ==", b"A"), ("QQ=", b"A"), ("QQ", b"A"), ("QUI", b"AB"), ("", b"")])
def test_a_short_end_with_and_without_padding(tmp_path: Path, end: str, content: bytes) -> None:
    for length in (4, 4 * CHUNK_BYTES):
        assert take(tmp_path, json={"file": "A" * length + end}).content == bytes(length // 4 * 3) + content


JSON_TYPES = [
    "application/json", "Application/JSON", "application/json; charset=UTF-8", " application/json ;charset=x",
    "application/vnd.api+json", "text/json", "application/x-www-form-urlencoded", "text/plain", "",
]  # fmt: skip


@pytest.mark.parametrize("content_type", JSON_TYPES)
def test_json_is_detected_by_type_or_first_bytes(tmp_path: Path, content_type: str) -> None:
    got = take(tmp_path, data=b' {"file": "AAEC", "top_k": 3}', content_type=content_type)
    assert (got.content, got.fields) == (b"\x00\x01\x02", {"top_k": "3"})


@pytest.mark.parametrize("coding", ["identity", "Identity", "IDENTITY , identity", ""])
def test_content_codings_have_no_case(tmp_path: Path, coding: str) -> None:
    assert take(tmp_path, data=CONTENT, headers={"Content-Encoding": coding}).content == CONTENT


MULTIPART_TYPES = [
    "multipart/form-data; boundary=XX", "Multipart/Form-Data; Boundary=XX", 'multipart/form-data ; boundary="XX"',
    "multipart/form-data; charset=utf-8; boundary=XX", "multipart/mixed;boundary=XX",
]  # fmt: skip


@pytest.mark.parametrize("content_type", MULTIPART_TYPES)
def test_a_form_s_type_in_every_spelling(tmp_path: Path, content_type: str) -> None:
    assert take(tmp_path, **form(FILE) | {"content_type": content_type}).content == CONTENT


def test_a_boundary_that_should_have_been_quoted(tmp_path: Path) -> None:
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
    got = take(tmp_path, **form(b'name="file"; ' + parameter + b"\r\n\r\n" + CONTENT))
    assert (got.content, got.name) == (CONTENT, shown)


def test_a_file_part_without_a_file_name(tmp_path: Path) -> None:
    got = take(tmp_path, **form(b'name="file"\r\nContent-Type: video/mp4\r\n\r\n' + CONTENT, b'name="top_k"\r\n\r\n3'))
    assert (got.content, got.name, got.fields) == (CONTENT, "", {"top_k": "3"})


def test_large_json_takes_little_memory(tmp_path: Path) -> None:
    body = b'{"file": "' + b"A" * (15 << 20) + b'"}'
    tracemalloc.start()
    try:
        with Flask("test").test_request_context("/", method="POST", data=body, content_type="application/json"):
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            with receive(request, tmp_path, 64 << 20) as upload:
                assert upload.source.length == (15 << 20) // 4 * 3
            assert tracemalloc.get_traced_memory()[1] - before < 4 << 20
    finally:
        tracemalloc.stop()


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


@pytest.mark.parametrize(("options", "error"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_has_name_and_leaves_nothing(
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


def test_file_removed_by_its_client(tmp_path: Path) -> None:
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


def test_link_out_of_folder_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "uploads"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(CONTENT)
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(errors.BadRequest):
        take(folder, headers={"X-Upload-Path": str(folder / "link")})


def test_nested_json_is_kept_without_its_content(tmp_path: Path) -> None:
    got = take(tmp_path, data=json.dumps({"file": "AAEC", "extra": {"deep": 1}}), content_type="application/json")
    assert got.fields == {"extra": "{...}"}
