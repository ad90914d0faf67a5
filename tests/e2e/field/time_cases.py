"""Films with a wrong header, uneven frame times, or timestamps that jump."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.e2e.field.case import Case
from tests.e2e.field.time_files import (
    FPS,
    FRAGMENTED,
    LIVE,
    MPEG2,
    MPEG4,
    VP8,
    VP9,
    X264,
    Make,
    at_times,
    avi_says,
    changed,
    cut,
    film,
    flv_says,
    joined,
    matroska_says,
    movement,
    mp4_says,
    with_sound,
)
from tests.support.avi import mpeg4_chunks, packed, write_avi
from tests.support.films import Frame, texture, write_video

PAN, TILT = "pan_left", "tilt_up"
STRAY = b"\x01" * 5000


def cases() -> list[Case]:
    """Return the cases of this module."""
    return [*_promises(), *_cut_off(), *_whole(), *_stills(), *_rates(), *_timestamps()]


def _promises() -> list[Case]:
    def case(file: str, make: Make, why: str, **right: Any) -> Case:
        right = {"label": PAN, "duration_s": 3, "frames": 90, "truncated": False, "no_warning": " "} | right
        return Case(file, make, why, "Length", **right)

    return [
        case("sound_longer.mp4", with_sound(12, "aac"), "3 s of picture, 12 s of sound"),
        case("sound_longer.mov", with_sound(12, "aac"), "3 s of picture, 12 s of sound"),
        case("sound_longer.flv", with_sound(12, "aac"), "3 s of picture, 12 s of sound"),
        case("sound_longer.ts", with_sound(12, "aac"), "3 s of picture, 12 s of sound"),
        case("sound_longer.avi", with_sound(12, "mp3", **MPEG4), "3 s of picture, 12 s of sound"),
        case("sound_longer_vp8.webm", with_sound(12, "libopus", **VP8), "3 s of picture, 12 s of sound"),
        case("sound_shorter.mp4", with_sound(0.5, "aac"), "3 s of picture, half a second of sound"),
        case("picture_starts_late.mkv", with_sound(12, "aac", 5.0), "the picture starts 5 s after the sound"),
        case("picture_starts_late.mp4", with_sound(12, "aac", 5.0), "the picture starts 5 s after the sound"),
        case("header_says_10_hours.mkv", changed(film(), matroska_says(36_000)), "the header says 10 hours"),
        case("header_says_1_s.mkv", changed(film(), matroska_says(1)), "the header says 1 s"),
        case("header_says_60_s.webm", changed(film(**VP9), matroska_says(60)), "the header says 60 s"),
        case("header_says_60_s.flv", changed(film(), flv_says(60)), "onMetaData says 60 s"),
        case("header_says_60_s.avi", changed(film(**MPEG4), avi_says(1800)), "the headers say 1,800 frames"),
        case("header_says_2_billion.avi", changed(film(**MPEG4), avi_says(2**31 - 1)), "the headers say 2,147,483,647"),
        case("header_says_60_s.mp4", changed(film(), mp4_says(60)), "the headers say 60 s"),
        case("header_says_10_hours.mp4", changed(film(), mp4_says(36_000)), "the headers say 10 hours"),
        case("no_length.webm", film(**VP8, **LIVE), "a live recording that says no length"),
        case("no_length.mkv", film(**X264, **LIVE), "a live recording that says no length"),
    ]


def _cut_off() -> list[Case]:
    def case(file: str, make: Make, share: float, **right: Any) -> Case:
        why = f"the first {share:.0%} of a film of 5 s"
        right = {"label": PAN, "truncated": True, "warning": "cut off", "duration_s": 5 * share} | right
        return Case(file, cut(make, share), why, "Cut off", **right)

    whole = film(PAN, 5.0)
    return [
        case("cut_off_60_percent.ts", whole, 0.6),
        case("cut_off_80_percent.m2ts", whole, 0.8),
        case("cut_off_60_percent.flv", whole, 0.6),
        case("cut_off_60_percent.mkv", whole, 0.6),
        case("cut_off_60_percent.webm", film(PAN, 5.0, **VP9), 0.6, duration_s=None),
        case("cut_off_live.webm", film(PAN, 5.0, **VP8, **LIVE), 0.6, duration_s=None),
        case("cut_off_live.mkv", film(PAN, 5.0, **X264, **LIVE), 0.6),
        case("cut_off_fragments.mp4", film(PAN, 5.0, **FRAGMENTED), 0.6),
        case("cut_off_fragments.mov", film(PAN, 5.0, **FRAGMENTED), 0.8),
        case("cut_off_60_percent.avi", film(PAN, 5.0, **MPEG4), 0.6, duration_s=None),
        case("cut_off_60_percent.mpg", film(PAN, 5.0, **MPEG2), 0.6, duration_s=None),
        Case(
            "cut_off_index.mp4",
            changed(film(PAN, 5.0, **FRAGMENTED), _up_to_an_index),
            "cut in a fragment's index",
            "Cut off",
            label=PAN,
            truncated=True,
            warning="cut off",
        ),
        Case(
            "cut_off_plain.mp4",
            cut(film(PAN, 5.0, **X264, container={"movflags": "faststart"}), 0.6),
            "a plain MP4 whose index names frames that are not there",
            "Cut off",
            status=422,
        ),
    ]


def _up_to_an_index(data: bytes) -> bytes:
    return data[: data.rindex(b"moof", 0, data.rindex(b"moof")) + 30]


def _whole() -> list[Case]:
    def case(file: str, make: Make, why: str, **right: Any) -> Case:
        right = {"label": PAN, "truncated": False, "no_warning": "cut off", "duration_s": 3, "frames": 90} | right
        return Case(file, make, why, "Odd bytes around", **right)

    answer = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\n\r\n"
    return [
        case("trailing_bytes.flv", changed(film(), lambda data: data + STRAY), "5,000 stray bytes after it"),
        case("trailing_bytes.mkv", changed(film(), lambda data: data + STRAY), "5,000 stray bytes after it"),
        case(
            "trailing_bytes.mp4", changed(film(**FRAGMENTED), lambda data: data + STRAY), "5,000 stray bytes after it"
        ),
        case("trailing_bytes.m2ts", changed(film(), lambda data: data + STRAY), "5,000 stray bytes after it"),
        case(
            "trailing_bytes.webm", changed(film(**VP8, **LIVE), lambda data: data + STRAY), "5,000 stray bytes after it"
        ),
        case("leading_bytes.ts", changed(film(), lambda data: STRAY * 2 + data), "10,000 stray bytes before it"),
        case("leading_bytes.m2ts", changed(film(), lambda data: STRAY[:77] + data), "77 stray bytes before it"),
        case("after_http_headers.ts", changed(film(), lambda data: answer + data), "saved with its HTTP headers"),
        case("starts_inside_a_packet.ts", changed(film(), lambda data: data[50:]), "its first 50 bytes are missing"),
    ]


def _stills() -> list[Case]:
    def case(file: str, shown: Callable[[], Sequence[Frame]], times: Sequence[int], why: str, **right: Any) -> Case:
        made = right.pop("made", X264)
        right = {"label": "static", "duration_s": (times[-1] + 33) / 1000, "truncated": False} | right
        return Case(file, at_times(shown, times, **made), why, "Frames unevenly apart", **right)

    def slides() -> list[Frame]:
        return [texture(320, 240, seed=number) for number in (0, 1, 2, 2)]

    def pan() -> Sequence[Frame]:
        return movement(PAN)

    def frozen() -> list[Frame]:
        return [*movement(PAN), movement(PAN)[-1]]

    paused = [1000 * number // FPS + 20_000 * (number >= 45) for number in range(90)]
    short_pause = [1000 * number // FPS + 8_000 * (number >= 45) for number in range(90)]
    steady = [1000 * number // FPS for number in range(90)]
    uneven = [0, *np.cumsum(np.random.default_rng(3).integers(5, 62, 89)).tolist()]
    changes = [0, 9000, 21_000, 27_000]
    return [
        case("slides.webm", slides, changes, "stills at 0, 9 and 21 s", made=VP9),
        case("slides.mov", slides, changes, "stills at 0, 9 and 21 s"),
        case("slides.flv", slides, changes, "stills at 0, 9 and 21 s"),
        case(
            "slides_middle.mkv",
            slides,
            [0, 6000, 20_000, 26_000],
            "a still lasts from 6 to 20 s",
            warning="few different frames",
        ),
        case("paused_20_s.mp4", pan, paused, "a hole of 20 s in the middle", warning="few different frames"),
        case("paused_20_s.mkv", pan, paused, "a hole of 20 s in the middle", warning="few different frames"),
        case("paused_20_s.flv", pan, paused, "a hole of 20 s in the middle", warning="few different frames"),
        case("paused_8_s.ts", pan, short_pause, "a hole of 8 s in a broadcast", warning="few different frames"),
        case(
            "freezes_at_the_end.mp4",
            frozen,
            [*steady, 30_000],
            "the last frame stays for 27 s",
            warning="few different frames",
        ),
        case("uneven.mp4", pan, uneven, "gaps of 5 to 61 ms at random", label=PAN, frames=90),
        case("uneven.ts", pan, uneven, "gaps of 5 to 61 ms at random", label=PAN, frames=90),
    ]


def _rates() -> list[Case]:
    def rate(fps: int) -> Make:
        return lambda path: write_video(path, movement(PAN, 3.0, fps), fps, **X264)

    cases = [
        Case(
            f"pan_{fps}_fps.mp4",
            rate(fps),
            f"{fps} frames a second",
            "Frame rates",
            label=PAN,
            duration_s=3,
            frames=3 * fps,
            no_warning=" ",
        )
        for fps in (10, 15, 24, 60, 120)
    ]
    lapse = Case(
        "one_frame_in_2_s.mp4",
        at_times(lambda: movement(PAN)[::5], [2000 * number for number in range(18)]),
        "one frame every two seconds",
        "Frame rates",
        warning="few different frames",
        frames=18,
    )
    return [*cases, lapse]


def _timestamps() -> list[Case]:
    def case(file: str, make: Make, why: str, **right: Any) -> Case:
        right = {"label": PAN, "duration_s": 3, "frames": 90, "truncated": False, "no_warning": " "} | right
        return Case(file, make, why, "Timestamps", **right)

    def both(**made: Any) -> Make:
        return joined(film(PAN, **made), film(TILT, **made))

    def leaping(seconds: float) -> Make:
        times = [1000 * number // FPS + round(1000 * seconds) * (number >= 45) for number in range(90)]
        return at_times(lambda: movement(PAN), times)

    def from_s(seconds: float, **made: Any) -> Make:
        times = [round(1000 * seconds) + 1000 * number // FPS for number in range(90)]
        return at_times(lambda: movement(PAN), times, **made)

    def small(path: Path) -> object:
        return write_video(path, [frame[::2, ::2] for frame in movement(TILT)], FPS, **X264)

    def xvid(path: Path) -> object:
        return path.write_bytes(write_avi(packed(mpeg4_chunks(movement(PAN), gop=30, b_frames=1)), 320, 240, FPS))

    two: dict[str, Any] = {"query": "clips=4", "duration_s": 6, "frames": 180, "label": (PAN, TILT)}
    wrap_s = 2**33 / 90_000
    return [
        case("joined.mpg", both(**MPEG2), "two files joined", **two),
        case("joined.mkv", both(), "two files joined", **two),
        case("joined.webm", both(**VP8), "two files joined", **two),
        case("joined_two_sizes.ts", joined(film(PAN), small), "two files of different sizes joined", **two),
        case(
            "joined_three.ts",
            joined(film(), film(), film()),
            "the same file three times",
            query="clips=3",
            duration_s=9,
            frames=270,
        ),
        case("leaps_an_hour.ts", leaping(3600), "the encoder's clock leaps by an hour"),
        case("wraps.ts", from_s(wrap_s - 1.4 - 1.5), "timestamps of 33 bits start again after 1.5 s"),
        case("starts_after_26_hours.ts", from_s(26 * 3600), "timestamps begin at 26 hours"),
        case("starts_after_an_hour.mkv", from_s(3600), "timestamps begin at an hour"),
        case("starts_after_an_hour.flv", from_s(3600), "timestamps begin at an hour"),
        case("starts_after_5_s.mp4", from_s(5), "timestamps begin at 5 s"),
        case("reordered_h264.avi", film(), "H.264 with reordered frames in AVI"),
        case("reordered_h264.mpg", film(), "H.264 with reordered frames in MPEG-PS, few timestamps"),
        case("reordered_h264.asf", film(), "H.264 with reordered frames in ASF"),
        case("xvid_packed.avi", xvid, "Xvid with two frames in a packet"),
        case("mpeg2.mkv", film(**MPEG2), "MPEG-2 with reordered frames in Matroska"),
    ]
