"""Timestamps that jump are joined into one clock, in the order of the file."""

import pytest

from app.video.packets import Clock
from clipstack_client.reduction.clock import Clock as ClientClock

STEP = 3000  # of 90,000 ticks a second: 30 frames


def shown(demuxer: str, packets: list[tuple[int | None, int | None]]) -> list[int | None]:
    """Return the times by the service's clock; the client's must be equal."""
    clocks = Clock(90_000, demuxer), ClientClock(90_000, demuxer)
    stamps = []
    for pts, dts in packets:
        ours, theirs = (clock.stamp(pts, dts, STEP, len(stamps) % 10 == 0) for clock in clocks)
        assert ours == theirs
        stamps.append(ours)
    return stamps


def steady(count: int, first: int = 0) -> list[tuple[int | None, int | None]]:
    return [(first + STEP * (number + 1), first + STEP * number) for number in range(count)]


@pytest.mark.parametrize("demuxer", ["mpegts", "mpeg", "flv", "matroska", "mov"])
@pytest.mark.parametrize("first", [0, 8_000, 10**9], ids=["from zero", "late", "much later"])
def test_second_recording_follows_the_first(demuxer: str, first: int) -> None:
    packets = steady(60, first + 400 * STEP) + steady(60, first)
    assert shown(demuxer, packets) == [stamp for stamp, _ in steady(120, first + 400 * STEP)]


def test_three_recordings_follow_each_other() -> None:
    assert shown("mpegts", steady(30) * 3) == [stamp for stamp, _ in steady(90)]


@pytest.mark.parametrize("jump", [1 << 33, 90_000 * 3600, 90_000 * 11], ids=["wrap", "an hour", "11 s"])
def test_leap_of_a_broadcast_is_closed(jump: int) -> None:
    assert shown("mpegts", steady(30) + steady(30, 30 * STEP + jump)) == [stamp for stamp, _ in steady(60)]


def test_wrap_of_33_bits_is_closed() -> None:
    first = (1 << 33) - 30 * STEP
    packets = [(pts % (1 << 33), dts % (1 << 33)) for pts, dts in steady(60, first)]
    assert shown("mpegts", packets[:29] + packets[30:])[-1] - first == pytest.approx(60 * STEP, abs=2 * STEP)


@pytest.mark.parametrize(("demuxer", "pause_s"), [("mpegts", 8), ("matroska", 20), ("mov", 20), ("flv", 3600)])
def test_pause_stays_a_pause(demuxer: str, pause_s: int) -> None:
    packets = steady(30) + steady(30, 30 * STEP + pause_s * 90_000)
    assert shown(demuxer, packets) == [stamp for stamp, _ in packets]


def test_small_steps_back_are_jitter() -> None:
    packets = [(0, 0), (9000, 3000), (6000, 2000), (12000, 9000)]
    assert shown("mpegts", packets) == [pts for pts, _ in packets]


def test_packets_without_a_decoding_time_keep_the_offset() -> None:
    packets = [*steady(30), (STEP, 0), (2 * STEP, None), (None, 2 * STEP), (None, None)]
    assert shown("matroska", packets)[-4:] == [31 * STEP, 32 * STEP, 32 * STEP, None]


def test_presentation_far_from_decoding_is_damage() -> None:
    assert shown("mpegts", [*steady(2), (90_000 * 3600, 2 * STEP)]) == [STEP, 2 * STEP, 3 * STEP]


def test_reordered_frame_is_shown_in_display_order() -> None:
    leap = 3600 * 90_000
    before = [(1, 0), (4, 1), (2, 2), (3, 3), (7, 4), (5, 5), (6, 6)]
    after = [(10 + leap, 7), (8, 8), (9, 9), (13 + leap, 10 + leap), (11 + leap, 11 + leap)]
    packets = [(pts * STEP if pts < leap else (pts - leap) * STEP + leap, dts) for pts, dts in before + after]
    packets = [(pts, dts * STEP if dts < leap else (dts - leap) * STEP + leap) for pts, dts in packets]
    assert [stamp // STEP for stamp in shown("mpegts", packets) if stamp][-5:] == [10, 8, 9, 13, 11]


def test_restart_without_decoding_times_follows_the_last_frame() -> None:
    first = [(0, None), (2 * STEP, None), (STEP, 0), (4 * STEP, STEP), (3 * STEP, 2 * STEP)]
    packets = first + [
        (6 * STEP, 3 * STEP),
        (5 * STEP, 4 * STEP),
        (8 * STEP, 5 * STEP),
        (7 * STEP, 6 * STEP),
        (None, None),
    ]
    second = [(0, None), *first[1:]]
    stamps = shown("matroska", packets + second)
    assert [stamp // STEP for stamp in stamps[-5:] if stamp is not None] == [9, 11, 10, 13, 12]


def test_jumps_are_counted() -> None:
    clock = Clock(1000, "flv")
    for time in (0, 33, 66, 0, 33, 0):
        clock.stamp(time, time, 33, True)
    assert (clock.jumps, clock.offset) == (0, 0)
    for time in (5000, 0, 33):
        clock.stamp(time, time, 33, True)
    assert (clock.jumps, clock.offset) == (1, 5033)
