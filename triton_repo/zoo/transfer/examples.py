"""Examples: files with their labels, from a folder of folders or from a CSV file, with a check of both.

FOLDER/<label>/**                           every file below belongs to the label
LIST.csv: file,label[,start_s,end_s]        paths are relative to the CSV file; a span in seconds, of films only
"""

import csv
import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from app.errors import UnsupportedMedia
from app.files import DamagedFile, open_file
from app.media.formats import HEAD_BYTES, Kind, recognise
from triton_repo.zoo import ModelError, listed
from triton_repo.zoo.architectures.downloads import sha256_of

MAX_LABELS, MAX_FILES = 1000, 100_000
MAX_LABEL_LENGTH = 100  # characters
FEW = 10  # files of a label; with fewer the model and its figures are doubtful
Span = tuple[float, float] | None
Stamp = tuple[int, int]  # size in bytes and time of change in ns


@dataclass(frozen=True)
class Example:
    """One file, or a span of a film, with its labels.

    Attributes:
        file: The file.
        labels: Its labels, in the order of their first appearance.
        span: Start and end in seconds, or None for the whole file.
        kind: Whether it is a film or a picture; set by `inspect`.
        sha256: Digest of its content; set by `inspect`.
        stamp: Size and time of change when the digest was made.
        is_correction: Whether a person said this of an answer of the service; it outweighs other examples.
        name: Name of the file for people, if its path does not say it.
    """

    file: Path
    labels: tuple[str, ...]
    span: Span = None
    kind: Kind = "image"
    sha256: str = ""
    stamp: Stamp = (0, 0)
    is_correction: bool = False
    name: str = ""

    @property
    def title(self) -> str:
        """Return the name of the file for people."""
        return self.name or self.file.name

    @property
    def readable_folder(self) -> Path:
        """Return the folder that the decoders' sandbox must admit; all corrections share one."""
        return self.file.parent.parent if self.is_correction else self.file.parent

    @property
    def is_unchanged(self) -> bool:
        """Return whether the file still has the size and time of change of its digest."""
        try:
            return stamp_of(self.file) == self.stamp
        except OSError:
            return False


@dataclass(frozen=True)
class Dataset:
    """Examples of one kind, their labels in order, and what the user should know about them."""

    kind: Kind
    examples: tuple[Example, ...]
    labels: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def read_examples(path: Path, multi_label: bool) -> list[Example]:
    """Return the examples of a folder or a CSV file, not inspected yet.

    Raises:
        ModelError: The path does not exist, has no examples, too many, or too many labels, or a label is unusable.
    """
    if not path.exists():
        raise ModelError(f"{path} does not exist.")
    examples = _from_csv(path) if path.is_file() else _from_folder(path)
    merged: dict[tuple[Path, Span], tuple[str, ...]] = {}
    for example in examples:
        key = (example.file, example.span)
        merged[key] = tuple(dict.fromkeys(merged.get(key, ()) + example.labels))
        if len(merged) > MAX_FILES:
            raise ModelError(f"{path} has more than the {MAX_FILES} files allowed: train with a part of them.")
        if len(merged[key]) > 1 and not multi_label:
            raise ModelError(
                f"{example.file} has the labels {listed(list(merged[key]))}: say --multi-label if a file can "
                "have several labels, else correct the list."
            )
    if not merged:
        raise ModelError(
            f"{path} has no examples: it needs a folder for each label, with files in it, or be a CSV file."
        )
    result = [Example(file, labels, span) for (file, span), labels in merged.items()]
    if (count := len(label_names(result))) > MAX_LABELS:
        raise ModelError(f"there are {count} labels, and {MAX_LABELS} are allowed: is each folder a label?")
    return result


def inspect(examples: Sequence[Example], multi_label: bool, advance: Callable[[], None]) -> Dataset:
    """Return the examples that can be used, and warnings about the others.

    `advance` is called after each file.

    Raises:
        ModelError: Pictures and films are mixed, or no file is usable.
    """
    warnings: list[str] = []
    usable = []
    unusable: list[str] = []
    digests: dict[Path, tuple[Kind, str, Stamp]] = {}
    for example in examples:
        try:
            if example.file not in digests:
                digests[example.file] = _facts(example.file)
            kind, sha256, stamp = digests[example.file]
            if kind == "image" and example.span:
                raise UnsupportedMedia("a picture has no start and end")
            usable.append(replace(example, kind=kind, sha256=sha256, stamp=stamp))
        except (OSError, DamagedFile, UnsupportedMedia) as error:
            unusable.append(f"{example.title}: {error}")
        advance()
    if unusable:
        warnings.append(f"{len(unusable)} files are left out: {listed(unusable)}")
    usable = _corrected(usable, warnings)
    kept = usable if multi_label else _without_conflicts(usable, warnings)
    kept = _of_main_kind(_without_duplicates(kept, warnings), warnings)
    return Dataset(_one_kind(kept), tuple(kept), label_names(kept), tuple(warnings))


def check_counts(dataset: Dataset) -> Dataset:
    """Return the dataset with a warning about labels with few files.

    Raises:
        ModelError: There are fewer than two labels, or a label has one file only.
    """
    files = {label: len({e.sha256 for e in dataset.examples if label in e.labels}) for label in dataset.labels}
    if len(files) < 2:
        raise ModelError(f"there is one label only ({', '.join(files)}): a model needs two labels or more.")
    if lone := [label for label, count in files.items() if count < 2]:
        raise ModelError(f"too few files for {listed(lone)}: each label needs two different files at least, one of "
                         f"them to check the model with, and {FEW} or more to be of use.")  # fmt: skip
    few = [f"{label} ({count})" for label, count in files.items() if count < FEW]
    warning = (f"labels with fewer than {FEW} files: {listed(few)}; the figures say little about them",) if few else ()
    return replace(dataset, warnings=dataset.warnings + warning)


def label_names(examples: Iterable[Example]) -> tuple[str, ...]:
    """Return the labels of the examples, sorted."""
    return tuple(sorted({label for example in examples for label in example.labels}))


def _from_folder(folder: Path) -> Iterator[Example]:
    for place in sorted(folder.iterdir()):
        if place.name.startswith(".") or not place.is_dir():
            continue
        label = _label(place.name, str(place))
        for file in sorted(place.rglob("*")):
            if file.is_file() and not any(part.startswith(".") for part in file.relative_to(place).parts):
                yield Example(file, (label,))


def _from_csv(path: Path) -> Iterator[Example]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as text:
            rows = csv.DictReader(text)
            if not {"file", "label"} <= set(rows.fieldnames or ()):
                raise ModelError(
                    f"{path} needs a first line with the columns file,label and, if you like, start_s,end_s."
                )
            for number, row in enumerate(rows, 2):
                where = f"{path}, line {number}"
                if not row["file"]:
                    raise ModelError(f"{where}: the column file is empty.")
                yield Example(path.parent / row["file"], (_label(row["label"] or "", where),), _span(row, where))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ModelError(f"{path} is no CSV file in UTF-8 ({error}).") from error


def _span(row: dict[str, str], where: str) -> Span:
    words = [(row.get(name) or "").strip() for name in ("start_s", "end_s")]
    if not any(words):
        return None
    try:
        start_s, end_s = (float(word) for word in words)
    except ValueError:
        start_s = end_s = math.nan
    if not (math.isfinite(end_s) and 0 <= start_s < end_s):
        raise ModelError(
            f"{where}: start_s and end_s are {words[0]!r} and {words[1]!r}; they must be seconds, start first."
        )
    return start_s, end_s


def _label(text: str, where: str) -> str:
    label = unicodedata.normalize("NFC", text).strip()
    if not label or not label.isprintable() or len(label) > MAX_LABEL_LENGTH:
        raise ModelError(
            f"{where}: {text[:MAX_LABEL_LENGTH]!r} is no label: it needs 1 to {MAX_LABEL_LENGTH} printable characters."
        )
    return label


def _facts(file: Path) -> tuple[Kind, str, Stamp]:
    stamp = stamp_of(file)
    with open_file(file, follow_links=True) as content:
        kind = recognise(content.read(HEAD_BYTES)).kind
    return kind, sha256_of(file), stamp


def stamp_of(file: Path) -> Stamp:
    """Return the file's size in bytes and time of change in ns."""
    facts = file.stat()
    return facts.st_size, facts.st_mtime_ns


def _corrected(examples: Sequence[Example], warnings: list[str]) -> list[Example]:
    """Return the examples without those that a correction of the same content replaces."""
    parts = {(e.sha256, e.span): e.labels for e in examples if e.is_correction}
    wrong = [e for e in examples if not e.is_correction and parts.get((e.sha256, e.span), e.labels) != e.labels]
    if wrong:
        warnings.append(f"{len(wrong)} files have the labels of their corrections: {listed([e.title for e in wrong])}")
    return [e for e in examples if e.is_correction or (e.sha256, e.span) not in parts]


def _without_conflicts(examples: Sequence[Example], warnings: list[str]) -> list[Example]:
    """Return the examples whose content has one label only."""
    labels: dict[tuple[str, Span], set[str]] = defaultdict(set)
    for example in examples:
        labels[example.sha256, example.span].update(example.labels)
    conflicting = [e for e in examples if len(labels[e.sha256, e.span]) > 1]
    if conflicting:
        names = [e.name or f"{e.file.parent.name}/{e.file.name}" for e in conflicting]
        warnings.append(
            f"{len(names)} files are left out because the same content has another label too: {listed(names)}"
        )
    return [e for e in examples if len(labels[e.sha256, e.span]) == 1]


def _without_duplicates(examples: Sequence[Example], warnings: list[str]) -> list[Example]:
    """Return one example for each content and span; copies give it their labels."""
    first: dict[tuple[str, Span], Example] = {}
    copies = []
    for example in examples:
        key = (example.sha256, example.span)
        if key in first:
            copies.append(example.title)
            labels = tuple(dict.fromkeys(first[key].labels + example.labels))
            first[key] = replace(first[key], labels=labels)
        else:
            first[key] = example
    if copies:
        warnings.append(f"{len(copies)} exact copies are left out: {listed(copies)}")
    return list(first.values())


def _of_main_kind(examples: Sequence[Example], warnings: list[str]) -> list[Example]:
    """Return the examples without corrections of the kind that the others, or most corrections, do not have."""
    counts = Counter(e.kind for e in examples if not e.is_correction) or Counter(e.kind for e in examples)
    if len(counts) != 1 and any(not e.is_correction for e in examples):
        return list(examples)
    main = {kind for kind, _ in counts.most_common(1)}
    others = [e.title for e in examples if e.is_correction and e.kind not in main]
    if others:
        warnings.append(f"{len(others)} corrections of the other kind of file are left out: {listed(others)}")
    return [e for e in examples if not e.is_correction or e.kind in main]


def _one_kind(examples: Sequence[Example]) -> Kind:
    counts = Counter(example.kind for example in examples)
    if not counts:
        raise ModelError("no file is a picture or a video that the service can read.")
    if len(counts) > 1:
        raise ModelError(
            f"there are {counts['image']} pictures and {counts['video']} videos: train a model for each kind."
        )
    return next(iter(counts))
