"""The decoder pool with real processes and hostile files."""

import asyncio

import pytest

from app.decoding.pool import Decoder
from app.decoding.worker import DecodeTask
from app.errors import LimitExceeded, NotReady, NoVideoStream, Undecodable, UnsupportedMedia
from app.sandbox import SandboxConfig
from tests.support.decoders import LIMITS, decoder_pids, good
from tests.support.films import corners, numbered, read_corners, write_sound, write_video
from tests.support.regions import UNTOUCHED, Region, whole


def test_a_video_is_decoded_into_the_region(decoding, film, region):
    decoding(lambda decoder: good(decoder, film, region))


def test_a_picture_is_decoded_into_the_region(decoding, tmp_path, region):
    from PIL import Image

    Image.fromarray(corners()).save(tmp_path / "picture.png")
    source, request = whole(tmp_path / "picture.png"), region.request([0.0])

    async def use(decoder: Decoder) -> None:
        assert (await decoder.decode(DecodeTask(source, request))).media.kind == "image"

    decoding(use)
    assert read_corners(region.clips(request)[0][0]) == "rgbw"


def test_many_at_once_are_all_answered(decoding, film, tmp_path):
    regions = [Region(tmp_path / f"region {number}") for number in range(12)]

    async def use(decoder: Decoder) -> None:
        await asyncio.gather(*(good(decoder, film, region) for region in regions))

    decoding(use, processes=2)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda path: path.write_bytes(b"#EXTM3U\nhttp://127.0.0.1:9/a.ts\n"), UnsupportedMedia),
        (lambda path: path.write_bytes(b"\0\0\0\x18ftypisom" + bytes(100)), Undecodable),
        (write_sound, NoVideoStream),
        (lambda path: write_video(path, [numbered(0, 3000, 1500)]), LimitExceeded),
    ],
    ids=["playlist", "no index", "sound alone", "too large"],
)
def test_errors_keep_their_type_across_processes(decoding, tmp_path, film, region, make, error):
    make(tmp_path / "bad.mp4")

    async def use(decoder: Decoder) -> None:
        with pytest.raises(error) as caught:
            await decoder.probe(whole(tmp_path / "bad.mp4"))
        assert str(tmp_path) not in caught.value.message
        await good(decoder, film, region)

    decoding(use)


def test_long_video_is_decoded_only_if_task_allows_it(decoding, tmp_path):
    film = whole(write_video(tmp_path / "film.mp4", [numbered(0, 1920, 1080)] * 5))
    place = Region(tmp_path / "region")
    five_clips = place.request(*[[0.0]] * 5)

    async def use(decoder: Decoder) -> None:
        undecoded = await decoder.decode(DecodeTask(film, five_clips, only_short=True))
        assert (undecoded.clips, undecoded.media.width) == (None, 1920)
        assert set(place.path.read_bytes()) == {UNTOUCHED}
        decoded = await decoder.decode(DecodeTask(film, five_clips))
        assert decoded.clips is not None and len(decoded.clips.frames) == 5
        short = await decoder.decode(DecodeTask(film, place.request([0.0]), only_short=True))
        assert short.clips is not None

    decoding(use)


def test_stopped_pool_refuses_requests(film, tmp_path):
    decoder = Decoder(2, 20, LIMITS, SandboxConfig((str(tmp_path),)))
    asyncio.run(decoder.start())
    assert decoder_pids()
    decoder.stop()
    decoder.stop()
    assert not decoder_pids()
    with pytest.raises(NotReady):
        asyncio.run(decoder.probe(film))
