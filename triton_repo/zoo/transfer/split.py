"""Division of the examples by content: what trains the model, and what is held out to check it."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from triton_repo.zoo.transfer.examples import Example


class Split(NamedTuple):
    """Numbers of the examples that train, and of those that are held out."""

    train: list[int]
    held_out: list[int]


def split(examples: Sequence[Example], share: float, seed: int, earlier: Mapping[str, bool] | None = None) -> Split:
    """Return a split in which all examples of one content are on the same side.

    Each label has about `share` of its contents held out, at least one and never all. The order in which contents are
    chosen depends on their digest and the seed alone.

    Args:
        examples: Inspected examples.
        share: Share of the contents to hold out, between 0 and 1.
        seed: Another seed gives another split.
        earlier: For contents that an earlier version knew, by digest: whether they were held out. They stay where they
            were, so that two versions can be compared on files that neither was trained on.
    """
    labels: dict[str, set[str]] = {}
    for example in examples:
        labels.setdefault(example.sha256, set()).update(example.labels)
    held_out = {sha256: earlier[sha256] for sha256 in labels if earlier and sha256 in earlier}
    counts = Counter(label for own in labels.values() for label in own)
    for label in sorted(counts, key=lambda label: (counts[label], label)):  # the rarest label first
        own = sorted((sha for sha in labels if label in labels[sha]), key=lambda sha: _order(sha, seed))
        wanted = min(len(own) - 1, max(1, round(share * len(own))))
        count = sum(held_out.get(sha256, False) for sha256 in own)
        for sha256 in own:
            if sha256 not in held_out:
                held_out[sha256] = count < wanted
                count += held_out[sha256]
        if count == len(own):  # the files that trained the earlier version are gone
            held_out[own[-1]] = False
    sides = [held_out[example.sha256] for example in examples]
    return Split([n for n, out in enumerate(sides) if not out], [n for n, out in enumerate(sides) if out])


def _order(sha256: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed} {sha256}".encode()).digest()
