import inspect
import json
import re

import pytest

from app import errors
from app.settings import CHECKOUT
from app.web.site import formatting


def codes() -> set[str]:
    classes = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    return {kind.code for kind in classes if issubclass(kind, errors.ClipstackError)}


def test_every_error_is_explained():
    assert codes() - set(formatting.PROBLEMS) == {"internal"}
    assert formatting.problem("internal") is formatting.UNEXPECTED


def test_every_error_of_nginx_is_explained():
    table = (CHECKOUT / "nginx" / "conf.d" / "errors.conf").read_text()
    blocks = re.findall(r"map \S+ \$(?:error|busy)_code \{(.*?)\}", table, re.DOTALL)
    assert len(blocks) == 2
    error_codes = set(re.findall(r"\s(\w+);", "".join(blocks))) - {"internal"}
    assert len(error_codes) > 10
    assert error_codes <= set(formatting.PROBLEMS)


@pytest.mark.parametrize(
    ("name", "text"),
    [("pan_left", "Pan left"), ("roll_ccw", "Roll counter-clockwise"), ("golden retriever", "Golden retriever")],
)
def test_label(name, text):
    assert formatting.label(name) == text


@pytest.mark.parametrize(
    ("score", "text"),
    [(0, "0.0 %"), (0.0001, "< 0.1 %"), (0.5, "50.0 %"), (0.9992, "99.9 %"), (0.99999, "> 99.9 %"), (1, "100.0 %")],
)
def test_percent_never_rounds_to_certainty(score, text):
    assert formatting.percent(score) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(12, "12 bytes"), (1500, "1.5 kB"), (99_960, "100 kB"), (635_539, "636 kB"), (999_700, "1.0 MB"), (5e9, "5.0 GB")],
)
def test_size(count, text):
    assert formatting.size(int(count)) == text


@pytest.mark.parametrize(("mebibytes", "text"), [(10, "10 MiB"), (1024, "1 GiB"), (1500, "1.4 GiB")])
def test_limit_promises_no_more_than_is_taken(mebibytes, text):
    assert formatting.limit(mebibytes) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.04, "0.04 s"), (59.999, "1:00"), (187, "3:07"), (3765, "1:02:45")])
def test_duration(seconds, text):
    assert formatting.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.04, "0.0 ms"), (36.96, "37.0 ms"), (470.2, "470 ms"), (12_300, "12.3 s")]
)
def test_milliseconds(value, text):
    assert formatting.milliseconds(value) == text


@pytest.mark.parametrize(
    ("text", "sentence"), [("the file is empty", "The file is empty."), ("Done!", "Done!"), ("", "")]
)
def test_sentence(text, sentence):
    assert formatting.sentence(text) == sentence


@pytest.mark.parametrize(("name", "word"), [("clip.mp4", "clip.mp4"), ("-x", "./-x"), ("a'; rm b", "'a'\"'\"'; rm b'")])
def test_file_names_are_quoted_for_the_shell(name, word):
    assert formatting.shell(name) == word


def test_the_answer_as_json_has_no_thumbnails():
    assert json.loads(formatting.plain_json({"model": "m", "thumbnails": ["data:"]})) == {"model": "m"}
