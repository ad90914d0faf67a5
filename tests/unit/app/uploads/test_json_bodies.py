"""Files in JSON bodies: every spelling of base64, in bounded memory."""

import base64
import json
import tracemalloc
from pathlib import Path

import pytest
from flask import Flask, request

from app.uploads.multipart import CHUNK_BYTES
from app.uploads.parser import receive
from tests.unit.app.uploads.requests import CONTENT, take


def test_numbers_of_json_are_read_as_parameters(tmp_path: Path) -> None:
    upload = take(tmp_path, json={"file": "AAEC", "top_k": 3.0, "hop_s": 0.5, "thumbnails": True, "clips": None})
    assert upload.fields == {"top_k": "3", "hop_s": "0.5", "thumbnails": "True"}


def test_base64_in_json(tmp_path: Path) -> None:
    body = {"file": base64.b64encode(CONTENT).decode(), "name": "a.mp4", "top_k": 2}
    upload = take(tmp_path, json=body)
    assert (upload.content, upload.name, upload.fields) == (CONTENT, "a.mp4", {"top_k": "2"})


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
def test_base64_padding_is_optional(tmp_path: Path, end: str, content: bytes) -> None:
    for length in (4, 4 * CHUNK_BYTES):
        assert take(tmp_path, json={"file": "A" * length + end}).content == bytes(length // 4 * 3) + content


JSON_TYPES = [
    "application/json", "Application/JSON", "application/json; charset=UTF-8", " application/json ;charset=x",
    "application/vnd.api+json", "text/json", "application/x-www-form-urlencoded", "text/plain", "",
]  # fmt: skip


@pytest.mark.parametrize("content_type", JSON_TYPES)
def test_json_is_detected_by_type_or_first_bytes(tmp_path: Path, content_type: str) -> None:
    upload = take(tmp_path, data=b' {"file": "AAEC", "top_k": 3}', content_type=content_type)
    assert (upload.content, upload.fields) == (b"\x00\x01\x02", {"top_k": "3"})


def test_large_json_needs_little_memory(tmp_path: Path) -> None:
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


def test_nested_json_is_kept_without_its_content(tmp_path: Path) -> None:
    upload = take(tmp_path, data=json.dumps({"file": "AAEC", "extra": {"deep": 1}}), content_type="application/json")
    assert upload.fields == {"extra": "{...}"}
