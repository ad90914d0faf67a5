from app.web.site.pages import facts, spans, stages

VIDEO = {
    "name": "clip.mp4", "kind": "video", "container": "mp4", "codec": "h264", "width": 340, "height": 256,
    "rotation": 0, "duration_s": 10.0, "fps": 29.97002997, "frames": 12345, "bytes": 635539,
}  # fmt: skip


def test_stages_stand_side_by_side_and_fill_bar():
    rows = stages({"total": 40.0, "decode": 30.0, "receive": 0.0, "infer": 10.0})
    assert [row["name"] for row in rows] == ["receive", "decode", "infer"]
    assert [row["x"] for row in rows] == [0, 0, 75]
    assert sum(row["width"] for row in rows) == 100


def test_time_between_the_stages_is_shown_too():
    rows = stages({"decode": 30.0, "infer": 10.0, "total": 50.0})
    assert (rows[-1]["name"], rows[-1]["ms"], rows[-1]["x"]) == ("other", 10.0, 80.0)


def test_stages_of_no_time_at_all_have_no_width():
    assert [row["width"] for row in stages({"decode": 0.0, "infer": 0.0})] == [0, 0]


def test_clip_mark_is_at_its_time():
    assert spans([{"start_s": 4.0, "end_s": 6.0}], 10.0) == [{"x": 40.0, "width": 20.0}]


def test_clip_mark_of_a_long_video_is_visible():
    (span,) = spans([{"start_s": 3599.5, "end_s": 3600.0}], 3600.0)
    assert span["width"] >= 0.5
    assert span["x"] + span["width"] <= 100.001


def test_times_past_the_end_stay_on_the_line():
    assert spans([{"start_s": 0.0, "end_s": 3.0}], 1.0) == [{"x": 0.0, "width": 100.0}]


def test_pictures_have_no_line():
    assert spans([{"start_s": 0.0, "end_s": 0.0}], None) == []


def test_facts_are_formatted():
    assert dict(facts(VIDEO)) == {
        "File": "clip.mp4",
        "Size": "636 kB",
        "Length": "10.00 s",
        "Picture": "340 × 256",
        "Frames": "12,345",
        "Frame rate": "29.97 per second",
        "Codec": "H.264",
        "Container": "MP4",
    }


def test_unknown_facts_are_omitted():
    picture = VIDEO | {"kind": "image", "name": "", "duration_s": None, "fps": None, "frames": 1, "rotation": 90}
    assert [name for name, _ in facts(picture)] == ["Size", "Picture", "Turned", "Codec", "Container"]
