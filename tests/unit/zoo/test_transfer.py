"""Labelled files, their split, and the metrics of a model on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from triton_repo.zoo import ModelError
from triton_repo.zoo.transfer.examples import Dataset, Example, check_counts, inspect, read_examples
from triton_repo.zoo.transfer.metrics import measure, worst
from triton_repo.zoo.transfer.split import split

PNG = b"\x89PNG\r\n\x1a\n"


def put(folder: Path, name: str, content: bytes) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(PNG + content)
    return file


def look(path: Path, multi_label: bool = False) -> Dataset:
    return inspect(read_examples(path, multi_label), multi_label, lambda: None)


def example(content: str, *labels: str) -> Example:
    return Example(Path(content), labels, sha256=content)


def test_folders_are_labels_and_hidden_files_are_ignored(tmp_path: Path) -> None:
    put(tmp_path, "cat/a.png", b"1")
    put(tmp_path, "cat/more/b.png", b"2")
    put(tmp_path, "cat/.hidden.png", b"3")
    put(tmp_path, "Ko\u0308ter/c.png", b"4")
    put(tmp_path, "README.md", b"5")
    dataset = look(tmp_path)
    assert dataset.labels == ("K\u00f6ter", "cat")
    assert [e.file.name for e in dataset.examples] == ["c.png", "a.png", "b.png"]
    assert dataset.warnings == ()


def test_copies_and_contradictions_are_skipped_with_a_warning(tmp_path: Path) -> None:
    for name, content in (
        ("a/1.png", b"1"),
        ("a/2.png", b"1"),
        ("a/3.png", b"3"),
        ("b/4.png", b"3"),
        ("b/5.png", b"5"),
    ):
        put(tmp_path, name, content)
    dataset = look(tmp_path)
    assert [e.file.name for e in dataset.examples] == ["1.png", "5.png"]
    assert dataset.warnings == (
        "2 files are left out because the same content has another label too: a/3.png, b/4.png",
        "1 exact copies are left out: 2.png",
    )


def test_unusable_files_are_named_and_skipped(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", b"1")
    (tmp_path / "a" / "notes.txt").write_text("no picture")
    (tmp_path / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    dataset = look(tmp_path)
    assert len(dataset.examples) == 1
    assert dataset.warnings[0].startswith("1 files are left out: notes.txt: ")


def test_a_list_gives_several_labels_to_one_file(tmp_path: Path) -> None:
    put(tmp_path, "1.png", b"1")
    put(tmp_path, "2.png", b"2")
    table = tmp_path / "list.csv"
    table.write_text("file,label\n1.png,red\n1.png,round\n2.png,red\n")
    dataset = look(table, multi_label=True)
    assert [(e.file.name, e.labels) for e in dataset.examples] == [("1.png", ("red", "round")), ("2.png", ("red",))]
    with pytest.raises(ModelError, match="say --multi-label"):
        read_examples(table, multi_label=False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,label\n1.png,a\n", "needs a first line with the columns file,label"),
        ("file,label\n,a\n", "line 2: the column file is empty"),
        ("file,label\n1.png,\n", "line 2: '' is no label"),
        ("file,label,start_s,end_s\n1.mp4,a,3,1\n", "line 2: start_s and end_s are '3' and '1'"),
        ("file,label,start_s,end_s\n1.mp4,a,nan,1\n", "must be seconds, start first"),
        ("file,label\n", "has no examples"),
    ],
)
def test_wrong_lines_of_a_list_are_named(text: str, words: str, tmp_path: Path) -> None:
    table = tmp_path / "list.csv"
    table.write_text(text)
    with pytest.raises(ModelError, match=words):
        read_examples(table, multi_label=False)


def test_too_few_labels_or_files_are_refused() -> None:
    one = Dataset("image", (example("1", "a"), example("2", "a")), ("a",))
    with pytest.raises(ModelError, match="one label only"):
        check_counts(one)
    lone = Dataset("image", (example("1", "a"), example("2", "a"), example("3", "b")), ("a", "b"))
    with pytest.raises(ModelError, match="too few files for b"):
        check_counts(lone)
    few = Dataset("image", (*lone.examples, example("4", "b")), ("a", "b"))
    assert "fewer than 10 files: a (2), b (2)" in check_counts(few).warnings[0]


def test_too_many_labels_are_refused(tmp_path: Path) -> None:
    for number in range(1001):
        put(tmp_path, f"{number}/1.png", str(number).encode())
    with pytest.raises(ModelError, match="there are 1001 labels, and 1000 are allowed"):
        read_examples(tmp_path, multi_label=False)


def test_split_keeps_contents_apart_and_labels_on_both_sides() -> None:
    spans = [Example(Path("film"), ("a",), (n, n + 1.0), sha256="film") for n in range(5)]
    examples = [*spans, *(example(f"a{n}", "a") for n in range(9)), *(example(f"b{n}", "b") for n in range(2))]
    for seed in range(20):
        sides = split(examples, 0.2, seed)
        assert sorted(sides.train + sides.held_out) == list(range(len(examples)))
        train, held_out = ({examples[n].sha256 for n in side} for side in sides)
        assert not train & held_out
        assert len({sha for sha in held_out if sha[0] != "b"}) == 2
        assert sum(sha[0] == "b" for sha in held_out) == 1
    assert split(examples, 0.2, 1) == split(examples, 0.2, 1) != split(examples, 0.2, 2)


def test_contents_stay_where_an_earlier_version_had_them() -> None:
    examples = [example(f"{label}{n}", label) for label in "ab" for n in range(10)]
    first = split(examples, 0.2, 0)
    known = {examples[n].sha256: n in first.held_out for n in range(20)}
    more = [*examples, *(example(f"{label}{n}", label) for label in "ab" for n in range(10, 30))]
    second = split(more, 0.2, 5, known)
    assert set(first.held_out) <= set(second.held_out)
    assert not set(first.train) & set(second.held_out)
    assert len(second.held_out) == 12


def test_figures_are_those_counted_by_hand() -> None:
    scores = np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.5, 0.1, 0.4]], np.float32)
    truths = np.eye(3, dtype=bool)[[0, 1, 2]]
    figures = measure(scores, truths, ("a", "b", "c"))
    assert figures.accuracy == pytest.approx(2 / 3)
    assert figures.top_5 == 1
    assert figures.confusion == ((1, 0, 0), (0, 1, 0), (1, 0, 0))
    assert [(one.precision, one.recall) for one in figures.labels] == [(0.5, 1.0), (1.0, 1.0), (None, 0.0)]
    assert worst(scores, truths, 5) == [2]


def test_several_labels_count_at_their_thresholds() -> None:
    scores = np.array([[0.9, 0.6], [0.2, 0.8]], np.float32)
    truths = np.array([[True, True], [False, True]])
    figures = measure(scores, truths, ("a", "b"), [0.5, 0.7])
    assert figures.confusion is None
    assert figures.mean_average_precision == 1
    assert [(one.precision, one.recall) for one in figures.labels] == [(1.0, 1.0), (1.0, 0.5)]
