import av
import numpy as np
import pytest

from app.media.formats import HEAD_BYTES, recognise
from app.media.types import Limits
from app.video import decode
from app.video.nal_units import FieldPairs
from app.video.readers import open_reader
from tests.support.films import panning, write_video
from tests.support.paff import write_paff
from tests.support.regions import whole

LIMITS = Limits(max_pixels=4_000_000, max_frames=1000, max_duration_s=60)
LEVELS = [(40 + 10 * number, 200 - 10 * number) for number in range(10)]


def open_film(path):
    source = whole(path)
    media = decode.probe(source, LIMITS)
    return media, open_reader(source, media, recognise(source.read(HEAD_BYTES)).name, (128, 128))


@pytest.mark.parametrize("suffix", ["ts", "mkv", "mp4"])
@pytest.mark.parametrize("apart", [False, True], ids=["a packet for a frame", "a packet for a field"])
def test_two_fields_are_one_frame(tmp_path, suffix, apart):
    media, reader = open_film(write_paff(tmp_path / f"film.{suffix}", LEVELS, apart))
    assert media.interlaced
    np.testing.assert_allclose(reader.timing.times_s, np.arange(10) / 25, atol=2e-3)
    assert reader.timing.end_s == pytest.approx(0.4, abs=0.021)
    assert reader.missing == 0
    greys = [float(np.asarray(frame).mean()) for frame in reader.read([1, 4, 9])]
    # In a flat frame only their lines distinguish its fields
    assert greys == pytest.approx([50, 80, 130], abs=8)


def test_packets_of_whole_frames_are_never_second_fields(tmp_path):
    path = write_video(tmp_path / "film.ts", panning(20), options={"x264-params": "tff=1"})
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        pairs = FieldPairs("h264", stream.codec_context.extradata)
        assert not any(pairs.is_second(memoryview(packet)) for packet in container.demux(stream))


@pytest.mark.parametrize("cut", range(0, 40, 3))
def test_damaged_parameters_and_packets_are_no_fields(tmp_path, cut):
    path = write_paff(tmp_path / "film.ts", LEVELS, apart=True)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        whole_set = stream.codec_context.extradata
        packets = [bytes(packet) for packet in container.demux(stream) if packet.size]
    assert sum(map(FieldPairs("h264", whole_set).is_second, map(memoryview, packets))) == 10
    damaged = FieldPairs("h264", whole_set[:cut])
    assert sum(damaged.is_second(memoryview(packet)) for packet in packets) in (0, 10)
    pairs = FieldPairs("h264", whole_set)
    assert not any(pairs.is_second(memoryview(packet[:cut])) for packet in packets[:1])
