"""Damage files; each mutant is a function of (seed, number), so that a finding can be reproduced."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.nightly.fuzz.fields import Field, chunks_of_png, structure
from tests.nightly.fuzz.seeds import Seed

MOST_BYTES = 1 << 20
_BLIND_SHARE = 0.4  # share of blind changes in files with known structure


@dataclass(frozen=True, slots=True)
class Mutant:
    """The content of one request; `story` describes the changes to the file."""

    number: int
    source: str
    story: str
    content: bytes


def mutant(seed: int, number: int, seeds: Sequence[Seed]) -> Mutant:
    """Return the mutant of that number; the same for the same seeds."""
    rng = random.Random(f"{seed}:{number}")
    whole = rng.choice(seeds)
    data, changes = bytearray(whole.content), []
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5))):
        fields, parts = structure(whole.form, bytes(data))
        if not fields or rng.random() < _BLIND_SHARE:
            changes.append(rng.choice(_BLIND)(rng, data, seeds))
        elif parts and rng.random() < 0.25:
            part, other = rng.choice(parts), rng.choice(parts)
            changes.append(_move_part(rng, data, part.start, part.end, other.start))
        else:
            changes.append(_change_number(rng, data, rng.choice(fields)))
    if whole.form == "png" and rng.random() < 0.7:
        _fix_checksums(data)
    return Mutant(number, whole.name, "; ".join(changes), bytes(data[:MOST_BYTES]))


def _change_number(rng: random.Random, data: bytearray, field: Field) -> str:
    """Change a number that a demuxer reads to an extreme one."""
    order = "big" if field.big else "little"
    bits = 7 * field.width if field.vint else 8 * field.width
    most = (1 << bits) - 1
    before = int.from_bytes(data[field.at : field.at + field.width], order) & most
    after = (
        rng.choice(
            (
                0,
                1,
                2,
                most,
                most - 1,
                most >> 1,
                (most >> 1) + 1,
                before + 1,
                before - 1,
                before * 2,
                before // 2,
                ~before,
                len(data),
                len(data) - field.at,
                before ^ 1 << rng.randrange(bits),
                rng.randrange(most + 1),
                1000,
                65535,
                30000,
                -before,
            )
        )
        & most
    )
    written = after | 1 << bits if field.vint else after
    data[field.at : field.at + field.width] = written.to_bytes(field.width, order)
    return f"number at {field.at}: {before} to {after}"


def _move_part(rng: random.Random, data: bytearray, start: int, end: int, to: int) -> str:
    """Remove, duplicate, repeat or move a whole box, element, chunk or packet."""
    part = bytes(data[start:end])
    what = rng.choice(("removed", "doubled", "repeated", "moved", "emptied"))
    if what in ("removed", "moved"):
        del data[start:end]
    if what == "emptied":
        data[start + 8 : end] = bytes(max(0, end - start - 8))
    elif what != "removed":
        times = rng.choice((8, 64, 500)) if what == "repeated" else 1
        data[to:to] = part * max(1, min(times, (MOST_BYTES - len(data)) // max(1, len(part))))
    return f"part {start} to {end} {what} at {to}"


def _flip(rng: random.Random, data: bytearray, _seeds: Sequence[Seed]) -> str:
    count = rng.choice((1, 2, 4, 16, 64))
    for _ in range(count if data else 0):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return f"{count} bits flipped"


def _cut(rng: random.Random, data: bytearray, _seeds: Sequence[Seed]) -> str:
    at = rng.randrange(len(data) + 1)
    del data[at:]
    return f"cut off at {at}"


def _without_head(rng: random.Random, data: bytearray, _seeds: Sequence[Seed]) -> str:
    start = min(len(data), rng.randrange(4, 64))
    end = rng.randrange(start, len(data) + 1)
    del data[start:end]
    return f"bytes {start} to {end} missing"


def _block(rng: random.Random, data: bytearray) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.choice((1, 4, 16, 64, 256, 4096)))


def _filled(rng: random.Random, data: bytearray, _seeds: Sequence[Seed]) -> str:
    start, end = _block(rng, data)
    byte = rng.choice((0, 0, 0xFF, 0x7F, 0x80, rng.randrange(256)))
    data[start:end] = bytes([byte]) * (end - start)
    return f"bytes {start} to {end} are all {byte}"


def _noise(rng: random.Random, data: bytearray, _seeds: Sequence[Seed]) -> str:
    start, end = _block(rng, data)
    data[start:end] = rng.randbytes(end - start)
    return f"bytes {start} to {end} random"


def _repeated(rng: random.Random, data: bytearray, _seeds: Sequence[Seed]) -> str:
    start, end = _block(rng, data)
    times = rng.choice((1, 2, 16, 100))
    data[end:end] = bytes(data[start:end]) * times
    return f"bytes {start} to {end} {times} times more"


def _spliced(rng: random.Random, data: bytearray, seeds: Sequence[Seed]) -> str:
    other = rng.choice(seeds)
    start, end = _block(rng, data)
    there = rng.randrange(len(other.content) + 1)
    data[start:end] = other.content[there : there + rng.choice((16, 256, 4096, len(other.content)))]
    return f"bytes {start} to {end} from {other.name}"


def _halved(rng: random.Random, data: bytearray, seeds: Sequence[Seed]) -> str:
    other = rng.choice(seeds)
    at, there = rng.randrange(len(data) + 1), rng.randrange(len(other.content) + 1)
    data[at:] = other.content[there:]
    return f"from {at} on as {other.name} from {there} on"


_BLIND: tuple[Callable[[random.Random, bytearray, Sequence[Seed]], str], ...] = (
    _flip,
    _flip,
    _cut,
    _without_head,
    _filled,
    _noise,
    _repeated,
    _spliced,
    _halved,
)


def _fix_checksums(data: bytearray) -> None:
    """Correct the checksums, without which readers stop."""
    for start, _kind, stop in chunks_of_png(bytes(data)):
        struct.pack_into(">I", data, stop - 4, zlib.crc32(data[start + 4 : stop - 4]))
