"""The page's modules without a DOM: the texts of app/web/site/formatting.py, colours, segments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from app.web.site import formatting

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

SAME = {
    "label": ["pan_left", "roll_ccw", "roll_cw", "golden retriever", ""],
    "percent": [0, 0.0001, 0.04, 0.5, 0.9989, 0.9992, 0.99999, 1],
    "size": [0, 12, 999, 1500, 99_960, 635_539, 999_700, 5_000_000_000, 10**12],
    "duration": [0, 0.04, 59.9, 59.999, 61, 187, 3599.7, 3765],
    "milliseconds": [0, 0.04, 36.96, 99.96, 470.2, 12_300],
    "sentence": ["the file is empty", "Done!", "", " a "],
    "format_name": ["h264", "hevc", "vp9", "mov", "prores"],
    "shell": ["clip.mp4", "-x", "a'; rm b", "two words.mp4", "$(x).mp4", "dir/b"],
}


def address(page: Page, module: str) -> str:
    """Return the URL from which the page imports this module."""
    url: str = page.locator("script[type=module]").evaluate("script => script.src")
    return url.replace("page.js", f"{module}.js")


def called(page: Page, module: str, function: str, *arguments: Any) -> Any:
    script = "async ([address, name, values]) => (await import(address))[name](...values)"
    return page.evaluate(script, [address(page, module), function, list(arguments)])


@pytest.mark.parametrize("name", SAME)
def test_formatting_equals_that_of_the_server(page: Page, name: str) -> None:
    head, *rest = name.split("_")
    theirs = head + "".join(word.title() for word in rest)
    ours = getattr(formatting, name)
    assert [called(page, "words", theirs, value) for value in SAME[name]] == [ours(value) for value in SAME[name]]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "nearly there"), (11.2, "12 s left"), (150, "2 min left"), (7200, "2.0 h left")]
)
def test_remaining_time_is_rounded(page: Page, seconds: float, text: str) -> None:
    # Half a minute may be rounded either way
    assert called(page, "words", "left", seconds) in (text, text.replace("2 min", "3 min"))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00.0"), (9.96, "0:10.0"), (61.24, "1:01.2"), (3725.5, "1:02:05.5")]
)
def test_times_in_a_video(page: Page, seconds: float, text: str) -> None:
    assert called(page, "words", "clock", seconds) == text


def test_colours_are_stable_and_distinct(page: Page) -> None:
    dealt = page.evaluate(
        """async address => {
            const { Palette } = await import(address);
            const labels = Array.from({ length: 400 }, (_, place) => `label ${place}`);
            const look = (palette, place) => Object.values(palette.of(labels[place])).join(" ");
            const one = new Palette(labels), other = new Palette(labels);
            const some = () => [3, 15, 27, 5, 399, 0, 12].map(place => look(one, place));
            const alone = look(other, 3);
            return [some(), some(), alone, labels.slice(0, 24).map((_, place) => look(other, place))];
        }""",
        address(page, "colours"),
    )
    first, again, alone, many = dealt
    assert first == again and len(set(first)) == len(first)
    assert alone == first[0] == "hue-3 false"
    assert len(set(many)) == 24


def test_shares_of_the_time(page: Page) -> None:
    segments = [
        {"start_s": 0, "end_s": 6, "label": "a", "score": 0.5},
        {"start_s": 6, "end_s": 8, "label": "b", "score": 1},
        {"start_s": 8, "end_s": 10, "label": "a", "score": 0.9},
    ]
    rows = called(page, "segments", "shares", {"segments": segments, "complete_to_s": 10})
    assert [(row["label"], row["share"], round(row["score"], 3)) for row in rows] == [("a", 0.8, 0.6), ("b", 0.2, 1)]
    rows = called(page, "segments", "shares", {"segments": segments, "complete_to_s": 20})
    assert [row["share"] for row in rows] == [0.4, 0.1], "half the time nothing passes"


OVERLAPPING = [
    {"start_s": 1, "end_s": 6, "label": "a", "score": 0.9},
    {"start_s": 4, "end_s": 9, "label": "b", "score": 0.9},
]


@pytest.mark.parametrize(
    ("time", "expected"), [(0.5, []), (1, [0]), (5, [0, 1]), (6, [1]), (9.1, [1]), (9.5, [])], ids=str
)
def test_segments_at_a_time_with_gaps_and_overlaps(page: Page, time: float, expected: list[int]) -> None:
    assert called(page, "segments", "segmentsAt", OVERLAPPING, time) == expected


MIXED = [
    {"start_s": start, "end_s": end, "label": "a", "score": score}
    for start, end, score in ((0, 4, 0.9), (4, 5, 0.5), (5, 11, 0.4), (11, 12, 0.95))
]


@pytest.mark.parametrize(
    ("order", "doubtful", "expected"),
    [
        ("time", False, [0, 1, 2, 3]),
        ("doubt", False, [2, 1, 0, 3]),
        ("length", False, [2, 0, 1, 3]),
        ("length", True, [2, 1]),
    ],
)
def test_segments_are_sorted_and_filtered(page: Page, order: str, doubtful: bool, expected: list[int]) -> None:
    assert called(page, "segments", "ordered", MIXED, order, doubtful) == expected


def test_next_doubtful_segment_wraps_around(page: Page) -> None:
    assert [called(page, "segments", "nextDoubtful", MIXED, time) for time in (0, 4, 5, 11)] == [1, 2, 1, 1]
    assert called(page, "segments", "nextDoubtful", MIXED[:1], 0) == -1


def test_only_overlapping_labels_have_rows(page: Page) -> None:
    script = """async ([address, segments]) => {
        const { lanes } = await import(address);
        const rows = (list) => { const found = lanes({ segments: list, complete_to_s: 10 }); return found && [...found]; };
        return [rows(segments), rows(segments.slice(0, 1)), rows([])];
    }"""
    rows = page.evaluate(script, [address(page, "segments"), OVERLAPPING])
    assert rows == [[["a", 0], ["b", 1]], None, None]
