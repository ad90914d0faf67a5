import av
import numpy as np
import pytest

from app.media.colour import SrgbScaler, conversion, matrix
from app.media.formats import HEAD_BYTES, recognise
from app.media.frames import scaled_size
from app.media.types import Limits
from app.video import decode
from app.video.decord_reader import DecordReader
from app.video.packet_reader import PacketReader
from app.video.readers import open_reader
from tests.support.coded import (
    BT601,
    BT709,
    BT2020,
    COLOURS,
    FULL,
    HLG,
    LIMITED,
    P3,
    PQ,
    UNTAGGED,
    Coding,
    centres,
    hlg,
    in_gamut,
    pq,
    quarters,
    srgb_code,
    srgb_light,
    write_coded,
)
from tests.support.regions import whole

LIMITS = Limits(max_pixels=4_000_000, max_frames=1000, max_duration_s=60)
SD, HD = (320, 240), (1280, 720)
LEVELS = 4  # that a colour may differ from what it should be
X265 = {"x265-params": "log-level=none:pools=1", "crf": "6"}
X264 = {"crf": "6"}
VP8 = {"deadline": "realtime", "cpu-used": "8", "b": "20000000", "qmin": "0", "qmax": "2"}
VP9 = {"deadline": "realtime", "cpu-used": "8", "lossless": "1"}
SHARP = {"qscale": "2", "flags": "+qscale", "global_quality": "236"}

# Container, size, coding; `matrix` and `full` say what is right where no tag does
FORMATS = {
    "h264 untagged": ("mp4", SD, Coding("libx264", "yuv420p", matrix=5, options=X264)),
    "h264 untagged hd": ("mp4", HD, Coding("libx264", "yuv420p", matrix=1, options=X264)),
    "h264 portrait hd": ("mov", HD[::-1], Coding("libx264", "yuv420p", matrix=1, options=X264)),
    "h264 bt709": ("mkv", SD, Coding("libx264", "yuv420p", BT709, LIMITED, options=X264)),
    "h264 bt601 hd": ("mp4", HD, Coding("libx264", "yuv420p", BT601, LIMITED, options=X264)),
    "h264 full": ("mp4", SD, Coding("libx264", "yuvj420p", BT709, FULL, options=X264)),
    "h264 10 bit": ("mp4", SD, Coding("libx264", "yuv422p10le", BT2020, LIMITED, options=X264)),
    "h264 4:4:4": ("mkv", SD, Coding("libx264", "yuv444p", 7, LIMITED, options=X264)),
    "h264 fcc": ("ts", SD, Coding("libx264", "yuv420p", 4, FULL, options=X264)),
    "h264 rgb": ("mp4", SD, Coding("libx264rgb", "rgb24", 0, FULL, options=X264)),
    "hevc 10 bit": ("mp4", HD, Coding("libx265", "yuv420p10le", BT709, LIMITED, options=X265)),
    "hevc full": ("mkv", SD, Coding("libx265", "yuv420p", BT601, FULL, options=X265)),
    "hevc rgb": ("mp4", SD, Coding("libx265", "gbrp", 0, FULL, options=X265)),
    "vp8 untagged": ("webm", SD, Coding("libvpx", "yuv420p", matrix=5, options=VP8)),
    "vp8 hd": ("webm", HD, Coding("libvpx", "yuv420p", matrix=5, options=VP8)),
    "vp9 untagged": ("webm", SD, Coding("libvpx-vp9", "yuv420p", matrix=5, options=VP9)),
    "vp9 bt709": ("webm", SD, Coding("libvpx-vp9", "yuv420p", BT709, LIMITED, options=VP9)),
    "vp9 untagged hd": ("mp4", HD, Coding("libvpx-vp9", "yuv420p", matrix=1, options=VP9)),
    "vp9 full": ("webm", SD, Coding("libvpx-vp9", "yuv444p", 7, FULL, options=VP9)),
    "vp9 rgb": ("webm", SD, Coding("libvpx-vp9", "gbrp", 0, FULL, options=VP9)),
    "av1 10 bit": ("mp4", SD, Coding("libsvtav1", "yuv420p10le", BT709, FULL, options={"preset": "10", "crf": "8"})),
    "av1 untagged": ("webm", SD, Coding("libsvtav1", "yuv420p", matrix=5, options={"preset": "10", "crf": "8"})),
    "mjpeg": ("mov", SD, Coding("mjpeg", "yuvj420p", matrix=5, full=True, options=SHARP)),
    "mjpeg hd": ("avi", HD, Coding("mjpeg", "yuvj422p", matrix=5, full=True, options=SHARP)),
    "mpeg2": ("mpg", SD, Coding("mpeg2video", "yuv420p", matrix=5, options=SHARP)),
    "mpeg2 bt709": ("mkv", SD, Coding("mpeg2video", "yuv420p", BT709, LIMITED, options=SHARP)),
    "mpeg4": ("avi", SD, Coding("mpeg4", "yuv420p", matrix=5, options=SHARP)),
    "prores bt709": ("mov", SD, Coding("prores_ks", "yuv422p10le", BT709, LIMITED)),
    "prores untagged hd": ("mov", HD, Coding("prores_ks", "yuv422p10le", matrix=1)),
    "dnxhd": ("mov", HD, Coding("dnxhd", "yuv422p", BT709, LIMITED, options={"b": "90000000"})),
    "ffv1 bt2020": ("mkv", SD, Coding("ffv1", "yuv420p", BT2020, LIMITED)),
    "ffv1 rgb": ("mkv", SD, Coding("ffv1", "bgr0")),
    "qtrle": ("mov", SD, Coding("qtrle", "rgb24")),
    "png": ("mov", SD, Coding("png", "rgb24")),
    "huffyuv": ("avi", SD, Coding("huffyuv", "yuv422p", matrix=5)),
    "utvideo": ("avi", SD, Coding("utvideo", "gbrp")),
    "raw": ("mov", SD, Coding("rawvideo", "uyvy422", matrix=5)),
    "flv1": ("flv", SD, Coding("flv", "yuv420p", matrix=5, options=SHARP)),
    "gif": ("gif", SD, Coding("gif", "rgb8")),
}


def read(path, reader=None, resize=120):
    """Return the media, and the second frame by `open_reader` or by another reader."""
    source = whole(path)
    media, demuxer = decode.probe(source, LIMITS), recognise(source.read(HEAD_BYTES)).name
    size = scaled_size(media.width, media.height, resize)
    opened = open_reader(source, media, demuxer, size) if reader is None else reader(source, demuxer, media, size)
    return media, opened, np.asarray(next(iter(opened.read([1]))))


@pytest.mark.parametrize("name", FORMATS)
def test_colours_are_right_by_both_readers(tmp_path, name):
    suffix, size, coding = FORMATS[name]
    path = write_coded(tmp_path / f"film.{suffix}", coding, quarters(*size))
    _, reader, seen = read(path)
    levels = 30 if name == "gif" else LEVELS  # eight levels of red and green, four of blue
    assert np.abs(centres(seen) - COLOURS).max() <= levels
    if isinstance(reader, DecordReader):
        assert np.abs(centres(read(path, PacketReader)[2]) - centres(seen)).max() <= LEVELS


def test_decord_reads_some_of_the_formats(tmp_path):
    suffix, size, coding = FORMATS["vp9 bt709"]
    path = write_coded(tmp_path / f"film.{suffix}", coding, quarters(*size))
    assert isinstance(read(path)[1], DecordReader)


def pq_coded(light):
    return pq(203 * in_gamut(light, BT2020))


def hlg_coded(light):
    return hlg(in_gamut(light, BT2020))


def h26x(encoder, pixels, *tags, **more):
    return Coding(encoder, pixels, *tags, options=X265 if encoder == "libx265" else X264, **more)


SPECIAL = {
    "pq": (h26x("libx265", "yuv420p10le", BT2020, LIMITED, transfer=PQ, gamut=BT2020), pq_coded),
    "pq full": (h26x("libx265", "yuv444p12le", BT2020, FULL, transfer=PQ, gamut=BT2020), pq_coded),
    "pq without gamut": (h26x("libx265", "yuv420p10le", BT2020, LIMITED, transfer=PQ), pq_coded),
    "pq without matrix": (h26x("libx265", "yuv420p10le", matrix=9, transfer=PQ, gamut=BT2020), pq_coded),
    "pq rgb": (h26x("libx265", "gbrp10le", 0, FULL, transfer=PQ, gamut=BT2020), pq_coded),
    "hlg": (h26x("libx265", "yuv420p10le", BT2020, LIMITED, transfer=HLG, gamut=BT2020), hlg_coded),
    "hlg prores": (Coding("prores_ks", "yuv422p10le", BT2020, LIMITED, transfer=HLG, gamut=BT2020), hlg_coded),
    "bt2020": (
        h26x("libx264", "yuv420p10le", BT2020, LIMITED, transfer=14, gamut=BT2020),
        lambda light: srgb_code(in_gamut(light, BT2020)),
    ),
    "display p3": (
        h26x("libx264", "yuv420p10le", BT709, LIMITED, transfer=1, gamut=P3),
        lambda light: srgb_code(in_gamut(light, P3)),
    ),
    "display p3 prores": (
        Coding("prores_ks", "yuv422p10le", BT709, LIMITED, transfer=13, gamut=P3),
        lambda light: srgb_code(in_gamut(light, P3)),
    ),
}


@pytest.mark.parametrize("name", SPECIAL)
def test_high_dynamic_range_and_wide_gamuts_become_srgb(tmp_path, name):
    coding, coded = SPECIAL[name]
    path = write_coded(tmp_path / "film.mov", coding, coded(srgb_light(quarters(*SD))))
    media, reader, seen = read(path)
    assert (media.conversion, type(reader)) == ("full", PacketReader)
    assert np.abs(centres(seen) - COLOURS).max() <= LEVELS


def test_light_beyond_white_is_compressed_and_keeps_its_order(tmp_path):
    nits = np.repeat([[50.0, 203.0], [600.0, 1000.0]], 120, axis=0).repeat(160, axis=1)[..., None].repeat(3, axis=-1)
    coding = Coding("libx265", "yuv420p10le", BT2020, LIMITED, transfer=PQ, gamut=BT2020, options=X265)
    greys = centres(read(write_coded(tmp_path / "film.mp4", coding, pq(nits)))[2])
    assert np.ptp(greys, axis=1).max() <= 2
    dark, white, bright, brightest = greys[:, 0].tolist()
    assert abs(dark - 255 * srgb_code(np.array(50 / 203))) <= 3
    assert 238 <= white < bright < brightest
    assert brightest >= 253


@pytest.mark.parametrize("colours", [LIMITED, FULL])
@pytest.mark.parametrize(("encoder", "pixels"), [("libx265", "gray"), ("libx265", "gray10le"), ("ffv1", "gray")])
def test_grey_has_its_range(tmp_path, encoder, pixels, colours):
    coding = Coding(encoder, pixels, BT709, colours, options=X265 if encoder == "libx265" else {})
    path = write_coded(tmp_path / "film.mkv", coding, quarters(*SD))
    right = np.array(COLOURS) @ [0.2126, 0.7152, 0.0722]
    assert np.abs(centres(read(path)[2]) - right[:, None]).max() <= LEVELS


def frame(planes, pixels, **tags):
    """Return a frame of one colour, whose planes hold these 8-bit numbers."""
    made = av.VideoFrame(64, 64, pixels)
    for plane, number in zip(made.planes, planes, strict=True):
        plane.update(bytes([number]) * plane.buffer_size)
    for tag, value in tags.items():
        setattr(made, tag, value)
    return made


def test_ycgco_is_converted_by_its_matrix():
    seen = SrgbScaler((16, 16)).scale(frame((90, 100, 170), "yuv444p", colorspace=8, color_range=FULL))
    assert np.abs(seen[8, 8].astype(int) - [90 + 28 + 42, 90 - 28, 90 + 28 - 42]).max() <= 1


@pytest.mark.parametrize("space", [0, 3, 11, 12, 15, 200])
def test_an_unknown_matrix_counts_as_none(space):
    odd, untagged = (frame((100, 110, 180), "yuv420p", colorspace=number) for number in (space, UNTAGGED))
    assert matrix(odd) == matrix(untagged) == 5
    assert np.array_equal(SrgbScaler((16, 16)).scale(odd), SrgbScaler((16, 16)).scale(untagged))


@pytest.mark.parametrize(
    ("width", "height", "gamut", "right"),
    [(640, 480, 2, 5), (720, 576, 2, 5), (1280, 534, 2, 1), (960, 720, 2, 1), (406, 720, 2, 1), (640, 480, 9, 9)],
)
def test_matrix_of_untagged_video_depends_on_its_size(width, height, gamut, right):
    untagged = av.VideoFrame(width, height, "yuv420p")
    untagged.color_primaries = gamut
    assert matrix(untagged) == right


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_ictcp_grey_stays_grey(transfer):
    tags = {"colorspace": 14, "color_range": FULL, "color_trc": transfer, "color_primaries": BT2020}
    dark, bright = (
        SrgbScaler((16, 16)).scale(frame((light, 128, 128), "yuv444p", **tags))[8, 8] for light in (60, 120)
    )
    assert max(np.ptp(dark), np.ptp(bright)) <= 3
    assert dark.mean() < bright.mean() < 255


def test_each_frame_is_converted_by_its_own_tags():
    scaler = SrgbScaler((16, 16))
    first, second = (frame((100, 110, 180), "yuv420p", colorspace=space) for space in (1, 5))
    shown = [scaler.scale(item)[8, 8].tolist() for item in (first, second, first)]
    assert shown[0] == shown[2] != shown[1]
    assert [conversion(item) for item in (first, second)] == ["ordinary", "ordinary"]
