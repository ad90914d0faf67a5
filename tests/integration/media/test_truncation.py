"""Truncated files are detected by their structure; bytes after the end are no truncation."""

from pathlib import Path
from typing import Any

import pytest

from app.media.formats import HEAD_BYTES, recognise
from app.video.container import open_container
from app.video.truncation import find_ending
from tests.support.films import numbered, write_video
from tests.support.regions import whole

FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}
FILMS: dict[str, dict[str, Any]] = {
    "ts": {"options": {"preset": "ultrafast"}},
    "m2ts": {"options": {"preset": "ultrafast"}},
    "flv": {"options": {"preset": "ultrafast"}},
    "avi": {"codec": "mpeg4"},
    "mpg": {"codec": "mpeg2video"},
    "wmv": {"codec": "wmv2"},
    "ogv": {"codec": "libvpx", "options": {"deadline": "realtime"}},
    "gif": {"codec": "gif", "pixels": "rgb8"},
    "mkv": {"options": {"preset": "ultrafast"}},
    "mkv live": {"options": {"preset": "ultrafast"}, "container": {"live": "1"}},
    "webm live": {"codec": "libvpx", "options": {"deadline": "realtime"}, "container": {"live": "1"}},
    "mp4 fragmented": {"options": {"preset": "ultrafast"}, "container": FRAGMENTS, "gop": 5},
}


@pytest.fixture(scope="module", params=FILMS)
def film(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("films") / f"film.{request.param.split()[0]}"
    return write_video(path, map(numbered, range(20)), **FILMS[request.param])


def is_cut_off(path: Path) -> bool:
    source = whole(path)
    return find_ending(source, recognise(source.read(HEAD_BYTES)).name).cut_off


def test_whole_file_is_not_truncated(film: Path) -> None:
    assert not is_cut_off(film)


@pytest.mark.parametrize("share", [0.35, 0.5, 0.7, 0.9, 0.97])
def test_truncation_is_detected(film: Path, tmp_path: Path, share: float) -> None:
    data = film.read_bytes()
    cut = tmp_path / film.name
    cut.write_bytes(data[: int(len(data) * share) // 188 * 188 + 90])
    assert is_cut_off(cut)


@pytest.mark.parametrize("stray", [b"\0" * 3000, b"\xff" * 100, b"some text\n" * 40], ids=["zeros", "ones", "text"])
def test_bytes_after_the_end_are_no_truncation(film: Path, tmp_path: Path, stray: bytes) -> None:
    if film.suffix == ".gif" and any(stray):
        pytest.skip("a GIF ends with its last byte")
    longer = tmp_path / film.name
    longer.write_bytes(film.read_bytes() + stray)
    assert not is_cut_off(longer)


def test_part_of_a_body_is_not_truncated(film: Path, tmp_path: Path) -> None:
    data = film.read_bytes()
    body = tmp_path / "body"
    body.write_bytes(b"--boundary\r\n" + data + b"\r\n--boundary--\r\n")
    source = type(whole(body))(str(body), 12, len(data))
    assert not find_ending(source, recognise(data[:HEAD_BYTES]).name).cut_off


def test_plain_mp4_without_its_end_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.mp4", map(numbered, range(20)), container={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[:-500])
    assert not find_ending(whole(path), "mov").cut_off


def test_cut_in_index_of_fragment_leaves_fragments_before(tmp_path: Path) -> None:
    frames, made = map(numbered, range(20)), FILMS["mp4 fragmented"]
    data = write_video(tmp_path / "film.mp4", frames, **made).read_bytes()
    at = data.rindex(b"moof", 0, data.rindex(b"moof"))
    path = tmp_path / "cut.mp4"
    for kept in (2, 20, 60):
        path.write_bytes(data[: at + kept])
        assert find_ending(whole(path), "mov") == (True, True, kept + 4)
        with open_container(whole(path), "mov") as (container, stream):
            assert len([packet for packet in container.demux(stream) if packet.size]) == 10


def test_fragmented_file_is_known_before_its_first_fragment(tmp_path: Path) -> None:
    frames = map(numbered, range(20))
    path = write_video(tmp_path / "film.mp4", frames, container={"movflags": "frag_keyframe"}, gop=10)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moof") - 200])
    assert find_ending(whole(path), "mov")[:2] == (True, True)
