"""Corrections as training examples: selection, precedence, and their side of the split."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.feedback.records import Answer, ClipFacts
from app.feedback.store import FeedbackLimits, FeedbackStore
from app.media.types import Source
from app.settings import Settings
from triton_repo.zoo import ModelError
from triton_repo.zoo.transfer.card import DIGITS
from triton_repo.zoo.transfer.corrections import read_corrections, readable, training_sides, without_lone_labels
from triton_repo.zoo.transfer.examples import Dataset, Example, inspect, read_examples

PNG = b"\x89PNG\r\n\x1a\n"
AVI = b"RIFF\x00\x00\x00\x00AVI LIST"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeedbackStore]:
    store = FeedbackStore(tmp_path / "data", FeedbackLimits(100, 100, 1 << 20))
    (tmp_path / "data").mkdir()
    yield store
    store.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return replace(Settings.from_environment({}), data_dir=tmp_path / "data")


def correct(store: FeedbackStore, folder: Path, content: bytes, answer: Answer, name: str = "x.png") -> None:
    (folder / "upload").write_bytes(content)
    store.put(Source(str(folder / "upload"), 0, len(content)), ClipFacts("", name, "image"), [answer])
    (folder / "upload").unlink()


def put(folder: Path, name: str, content: bytes) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def together(folder: Path, settings: Settings) -> Dataset:
    examples = read_examples(folder, False) + read_corrections(settings, "digits", False)
    return inspect(examples, False, lambda: None)


def test_only_corrections_of_the_model_are_used(store: FeedbackStore, settings: Settings, tmp_path: Path) -> None:
    correct(store, tmp_path, PNG + b"1", Answer("digits", labels=("one",)))
    correct(store, tmp_path, PNG + b"2", Answer("digits", predicted=("two",), score=0.1))
    correct(store, tmp_path, PNG + b"3", Answer("other", labels=("three",)))
    correct(store, tmp_path, AVI + b"4", Answer("digits", labels=("four",), start_s=1.0, end_s=2.5))
    corrections = read_corrections(settings, "digits", False)
    assert {(e.labels, e.span, e.is_correction) for e in corrections} == {
        (("one",), None, True),
        (("four",), (1.0, 2.5), True),
    }
    assert {e.readable_folder for e in corrections} == {tmp_path / "data" / "feedback" / "clips"}


def test_no_corrections_name_those_of_other_models(store: FeedbackStore, settings: Settings, tmp_path: Path) -> None:
    correct(store, tmp_path, PNG, Answer("other", labels=("one",)))
    with pytest.raises(ModelError, match=r"no corrections of digits.*other \(1\)"):
        read_corrections(settings, "digits", False)


def test_several_labels_need_the_option(store: FeedbackStore, settings: Settings, tmp_path: Path) -> None:
    correct(store, tmp_path, PNG, Answer("digits", labels=("one", "two")))
    with pytest.raises(ModelError, match="--multi-label"):
        read_corrections(settings, "digits", False)
    assert read_corrections(settings, "digits", True)[0].labels == ("one", "two")


def test_correction_outweighs_the_folder(store: FeedbackStore, settings: Settings, tmp_path: Path) -> None:
    put(tmp_path / "files", "one/a.png", PNG + b"1")
    put(tmp_path / "files", "two/b.png", PNG + b"2")
    correct(store, tmp_path, PNG + b"1", Answer("digits", labels=("two",)))
    dataset = together(tmp_path / "files", settings)
    assert [(e.title, e.labels) for e in dataset.examples] == [("b.png", ("two",)), ("x.png", ("two",))]
    assert dataset.warnings == ("1 files have the labels of their corrections: a.png",)


def test_corrections_of_another_kind_are_left_out(store: FeedbackStore, settings: Settings, tmp_path: Path) -> None:
    put(tmp_path / "files", "one/a.png", PNG + b"1")
    correct(store, tmp_path, AVI, Answer("digits", labels=("one",)), "film.avi")
    dataset = together(tmp_path / "files", settings)
    assert (dataset.kind, len(dataset.examples)) == ("image", 1)
    assert "film.avi" in dataset.warnings[0]


def test_label_of_one_correction_is_left_out() -> None:
    examples = (
        Example(Path("a"), ("one",), sha256="a"),
        Example(Path("b"), ("one",), sha256="b"),
        Example(Path("c"), ("odd",), sha256="c", is_correction=True),
    )
    dataset = without_lone_labels(Dataset("image", examples, ("odd", "one")))
    assert (dataset.labels, len(dataset.examples)) == (("one",), 2)
    assert "c (odd)" in dataset.warnings[0]


def test_corrections_train_if_other_files_can_be_held_out() -> None:
    def example(content: str, label: str, is_correction: bool) -> Example:
        return Example(Path(content), (label,), sha256=content * 64, is_correction=is_correction)

    examples = [example("a", "one", False), example("b", "one", True), example("c", "new", True)]
    examples.append(example("d", "one", True))
    sides = training_sides(examples, {"d" * DIGITS: True})
    assert sides == {"b" * DIGITS: False, "d" * DIGITS: True}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's decoders need copies")
def test_root_trains_on_copies_of_others_files(store: FeedbackStore, settings: Settings, tmp_path: Path) -> None:
    correct(store, tmp_path, PNG + b"1", Answer("digits", labels=("one",)))
    (example,) = read_corrections(settings, "digits", False)
    os.chown(example.file, 12345, 12345)
    with readable([example], tmp_path / "cache") as (copy,):
        assert copy.file.read_bytes() == PNG + b"1"
        assert copy.file.stat().st_uid == 0
        assert copy.readable_folder.parent == tmp_path / "cache"
    assert list((tmp_path / "cache").iterdir()) == []
