"""Corrections as examples: what people confirmed and corrected in the service (docs/feedback.md)."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from app.feedback.clips import ClipFolders
from app.jobs.storage.new_job import NewFolder, remove_leftovers
from app.settings import Settings
from triton_repo.zoo import ModelError, listed
from triton_repo.zoo.transfer.card import DIGITS
from triton_repo.zoo.transfer.examples import Dataset, Example, label_names

FOLDER = Path("feedback", "clips")


def read_corrections(settings: Settings, model: str, multi_label: bool) -> list[Example]:
    """Return the confirmed and corrected answers of a model as examples, not inspected yet.

    Raises:
        ModelError: There is none, or one has several labels without `multi_label`.
    """
    folders = ClipFolders(settings.data_dir / FOLDER, settings.data_dir)
    examples, others = [], Counter[str]()
    for clip in folders.clips():
        for entry in clip.entries:
            if entry["state"] == "unsure":
                continue
            if entry["model"] != model:
                others[entry["model"]] += 1
                continue
            if len(entry["labels"]) > 1 and not multi_label:
                raise ModelError(
                    f"the correction {entry['id']} of {clip.name or 'a file without a name'} has the labels "
                    f"{', '.join(entry['labels'])}: say --multi-label if a file can have several labels."
                )
            span = None
            if entry["start_s"] is not None and entry["end_s"] is not None:
                span = (entry["start_s"], entry["end_s"])
            labels = tuple(entry["labels"])
            examples.append(Example(folders.source(clip.id), labels, span, is_correction=True, name=clip.name))
    if not examples:
        hint = ", ".join(f"{name} ({count})" for name, count in sorted(others.items()))
        hint = f" There are corrections of {hint}: --feedback-model uses those." if hint else ""
        raise ModelError(f"{folders.path} has no corrections of {model}.{hint}")
    return examples


@contextmanager
def readable(corrections: Sequence[Example], folder: Path) -> Iterator[list[Example]]:
    """Yield the corrections with files that decoders can read.

    Root's decoders have no rights on another user's files, so these are copied to a hidden folder in `folder`, which is
    removed after the block. What a killed process left there is removed at the next start.
    """
    with ExitStack() as cleanup:
        examples = list(corrections)
        if os.geteuid() == 0:
            folder.mkdir(parents=True, exist_ok=True)
            remove_leftovers(folder)
            copies = cleanup.enter_context(NewFolder(folder / "corrections")).path
            examples = [_copied(example, copies) for example in corrections]
        yield examples


def _copied(example: Example, folder: Path) -> Example:
    """Return an example whose file is root's own; `inspect` names a file that is gone."""
    target = folder / example.file.parent.name / example.file.name
    try:
        if example.file.stat().st_uid == 0:
            return example
        if not target.exists():
            target.parent.mkdir()
            shutil.copyfile(example.file, target)
    except FileNotFoundError:
        return example
    return replace(example, file=target)


def without_lone_labels(dataset: Dataset) -> Dataset:
    """Return the dataset without corrections to a label that too few files have, which is often misspelled."""
    files = {label: len({e.sha256 for e in dataset.examples if label in e.labels}) for label in dataset.labels}
    lone = [e for e in dataset.examples if e.is_correction and any(files[label] < 2 for label in e.labels)]
    if not lone:
        return dataset
    kept = tuple(e for e in dataset.examples if e not in lone)
    words = listed([f"{e.title} ({', '.join(e.labels)})" for e in lone])
    warning = f"{len(lone)} corrections are left out, because fewer than two files have their label: {words}"
    return replace(dataset, examples=kept, labels=label_names(kept), warnings=(*dataset.warnings, warning))


def training_sides(examples: Sequence[Example], earlier: Mapping[str, bool]) -> dict[str, bool]:
    """Return for contents (first DIGITS digits) whether they are held out: `earlier`, and the corrections.

    A content that only corrections have trains the model if all of its labels have other examples. It was corrected
    because an earlier version was wrong: held out, it would make that version look worse than it is.
    """
    others = [example for example in examples if not example.is_correction]
    labels, contents = set(label_names(others)), {example.sha256 for example in others}
    own: dict[str, set[str]] = {}
    for example in examples:
        if example.sha256 not in contents:
            own.setdefault(example.sha256[:DIGITS], set()).update(example.labels)
    return {content: False for content, names in own.items() if names <= labels} | dict(earlier)
