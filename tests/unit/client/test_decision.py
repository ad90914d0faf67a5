import copy

import pytest
from rich.console import Console

from clipstack_client import Segment, Timeline
from clipstack_client.cli.inputs import File
from clipstack_client.cli.output.records import columns, rows
from clipstack_client.cli.output.tables import result_block
from clipstack_client.cli.output.timeline_bar import TimelineBar, lanes
from clipstack_client.cli.runner import Outcome
from clipstack_client.http.requester import label_list
from clipstack_client.parsing import parse_job, parse_model, parse_result

MEDIA = {"kind": "image", "container": "png", "codec": "png", "width": 8, "height": 8, "bytes": 1} | dict.fromkeys(
    ("duration_s", "fps", "frames")
)
ANSWER = {
    "request_id": "1", "model": "m", "model_version": "1", "transport": "inline", "media": MEDIA, "clips": [],
    "timing_ms": {}, "predictions": [{"label": "red", "score": 0.9}, {"label": "blue", "score": 0.8}],
}  # fmt: skip
OVERLAPPING = (Segment(1.0, 6.0, "red", 0.9), Segment(4.0, 9.0, "blue", 0.8), Segment(8.0, 10.0, "red", 0.7))


def timeline(*segments: Segment) -> Timeline:
    return Timeline(10.0, 10.0, 1.0, 0.5, 0.5, ("red", "blue"), segments, (), (), "sigmoid")


def printed(*renderables: object, width: int = 42) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(*renderables)
    return [line.rstrip() for line in capture.get().splitlines()]


@pytest.mark.parametrize(
    ("field", "decision"),
    [({}, ("red",)), ({"decision": "none"}, ()), ({"decision": ["red", "blue"]}, ("red", "blue"))],
    ids=["older service", "none", "two"],
)
def test_decision_is_parsed(field: dict[str, object], decision: tuple[str, ...]) -> None:
    assert parse_result({**ANSWER, **field}).decision == decision


def test_answer_shows_all_passing_labels() -> None:
    def shown(decision: object) -> list[str]:
        return printed(result_block("a.png", parse_result({**ANSWER, "decision": decision})))

    assert "  passes: red, blue" in shown(["red", "blue"])
    assert "  none: no label passes its threshold" in shown("none")
    assert not any("pass" in line for line in shown(["red"]))


@pytest.mark.parametrize(("decision", "cell"), [(["red", "blue"], "red; blue"), ("none", "none")])
def test_csv_has_the_decision_where_it_is_asked_for(decision: object, cell: str) -> None:
    outcome = Outcome(File("a.png"), answer=parse_result({**ANSWER, "decision": decision}))
    names = columns("classify", 2, decides=True)
    assert dict(zip(names, rows(outcome, names)[0], strict=True))["decision"] == cell
    assert "decision" not in columns("classify", 2)


def test_overlapping_segments_have_a_lane_for_each_label() -> None:
    assert lanes(timeline(*OVERLAPPING)) == [(OVERLAPPING[0], OVERLAPPING[2]), (OVERLAPPING[1],)]
    apart = (OVERLAPPING[0], Segment(6.0, 7.0, "blue", 0.8))
    assert lanes(timeline(*apart)) == [apart]


def test_bar_shows_gaps_and_overlaps_in_place() -> None:
    red, blue, axis = printed(TimelineBar(timeline(*OVERLAPPING)), width=40)
    assert (red[:4], red[4], red[24:32], red[32]) == ("····", "|", "········", "|")
    assert (blue[:16], blue[16], blue[36:]) == ("·" * 16, "|", "····")
    assert axis.split() == ["0:00.0", "0:10.0"]


def test_lists_of_labels_may_hold_commas() -> None:
    assert label_list(["a, b", "c"]) == '["a, b", "c"]'
    assert (label_list("a,b"), label_list(None)) == ("a,b", None)


def test_model_without_the_fields_is_a_softmax() -> None:
    model = {"name": "m", "version": "1", "kind": "image", "labels": ["a"], "frames": 1, "resize": 8, "crop": 8}
    assert (parse_model(model).scores, parse_model(model).thresholds) == ("softmax", ())
    sigmoid = parse_model(model | {"scores": "sigmoid", "thresholds": [0.25]})
    assert (sigmoid.scores, sigmoid.thresholds) == ("sigmoid", (0.25,))


def test_timeline_without_segments_is_one_row() -> None:
    record = {
        "id": "1", "state": "done", "created": "", "bytes": 1, "model": "m",
        "progress": {"percent": 100, "windows_done": 1},
        "timeline": {
            "duration_s": 1, "complete_to_s": 1, "window_s": 1, "hop_s": 1, "margin": 0.5, "labels": ["a"],
            "segments": [], "cuts_s": [], "scores": "sigmoid",
        },
    }  # fmt: skip
    job = parse_job(copy.deepcopy(record))
    names = columns("timeline", 5)
    (row,) = rows(Outcome(File("a.mp4"), answer=job), names)
    assert dict(zip(names, row, strict=True)) | {"file": ""} == dict.fromkeys(names, "") | {"model": "m"}
