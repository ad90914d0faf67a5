"""Parsing of request parameters."""

import pytest
from werkzeug.datastructures import MultiDict

from app.errors import InvalidParameter
from app.inference.decision import Selection
from app.web.known_params import check_names
from app.web.params import flag, merged, selection, whole_number


def test_a_missing_number_is_the_default() -> None:
    assert whole_number({}, "top_k", 5, 10) == 5


def test_a_number_in_range_is_taken() -> None:
    assert whole_number({"top_k": "10"}, "top_k", 5, 10) == 10


@pytest.mark.parametrize("text", ["0", "-1", "11", "1e9", "NaN", "1.0", " 1", "٣", "99999999999999999999", "true"])
def test_numbers_outside_the_range_are_refused(text: str) -> None:
    with pytest.raises(InvalidParameter, match="top_k=.*must be a whole number from 1 to 10"):
        whole_number({"top_k": text}, "top_k", 5, 10)


@pytest.mark.parametrize("text", ["9" * 260, "9" * 5000, "-1", "4294967296"])
def test_number_of_any_length_is_compared_with_its_limits(text: str) -> None:
    with pytest.raises(InvalidParameter, match="offset=.*must be a whole number from 0 to 4294967295"):
        whole_number({"offset": text}, "offset", 0, 4294967295, minimum=0)


@pytest.mark.parametrize(("text", "meant"), [("", False), ("true", True), ("1", True), ("No", False)])
def test_flags(text: str, meant: bool) -> None:
    assert flag({"thumbnails": text}, "thumbnails") is meant


def test_an_unclear_flag_is_refused() -> None:
    with pytest.raises(InvalidParameter):
        flag({"thumbnails": "maybe"}, "thumbnails")


KNOWN = {"model", "top_k", "clips", "sampling", "thumbnails"}


@pytest.mark.parametrize(
    ("name", "meant"), [("topk", "top_k"), ("Top_K", "top_k"), ("clip", "clips"), ("Models", "model")]
)
def test_misspelled_name_is_refused_with_a_suggestion(name: str, meant: str) -> None:
    with pytest.raises(InvalidParameter, match=f"unknown parameter '{name}': did you mean {meant}\\?"):
        check_names(["model", name], KNOWN)


def test_unknown_name_is_refused_with_all_known_ones() -> None:
    with pytest.raises(InvalidParameter, match="'xxxx': this address knows clips, model, sampling, thumbnails, top_k"):
        check_names(["xxxx"], KNOWN)
    with pytest.raises(InvalidParameter, match="this address knows none"):
        check_names(["x" * 10_000], ())


@pytest.mark.parametrize(
    ("text", "labels"),
    [("", ()), ("b, a,,b", ("a", "b")), ('["a, b", "c"]', ("a, b", "c")), ("mountain bike", ("mountain bike",))],
)
def test_labels_are_listed_with_commas_or_as_json(text: str, labels: tuple[str, ...]) -> None:
    assert selection({"labels": text, "exclude": text}) == Selection(None, labels, labels)


@pytest.mark.parametrize("text", ["[", "[1]", '["a"', '[["a"]]', "[null]", '["a"],["b"]'])
def test_damaged_json_list_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter, match="labels=.*JSON list"):
        selection({"labels": text})


def test_too_many_labels_are_refused() -> None:
    assert len(selection({"labels": ",".join(map(str, range(1000)))}).labels) == 1000
    with pytest.raises(InvalidParameter, match="1001 labels"):
        selection({"labels": ",".join(map(str, range(1001)))})


@pytest.mark.parametrize("text", ["-0.1", "1.1", "nan", "half"])
def test_min_score_is_a_number_from_0_to_1(text: str) -> None:
    with pytest.raises(InvalidParameter, match="min_score=.*from 0 to 1"):
        selection({"min_score": text})


def test_query_wins_over_the_form_and_may_repeat_lists() -> None:
    query = MultiDict([("labels", "a"), ("labels", "b,c"), ("top_k", "2")])
    assert merged({"labels": "z", "exclude": "y"}, query) == {"labels": "a,b,c", "exclude": "y", "top_k": "2"}
