"""Mutants can be made again, and the structure of every kind of file is found."""

from __future__ import annotations

import zlib

import pytest

from tests.nightly.fuzz import seeds
from tests.nightly.fuzz.fields import chunks_of_png, structure
from tests.nightly.fuzz.mutants import MOST_BYTES, _sum_up, mutant

FILES = seeds.made()
BLIND = [each for each in FILES if each.form == "blind"]


def test_the_same_seed_and_number_give_the_same_bytes() -> None:
    assert [mutant(7, number, FILES) for number in range(50)] == [mutant(7, number, FILES) for number in range(50)]


def test_another_seed_gives_others() -> None:
    assert [mutant(7, number, FILES).content for number in range(20)] != [
        mutant(8, number, FILES).content for number in range(20)
    ]


def test_seeds_are_written_the_same_each_time() -> None:
    assert seeds.made.__wrapped__() == FILES


@pytest.mark.parametrize("file", [each for each in FILES if each not in BLIND], ids=lambda file: file.name)
def test_fields_and_parts_lie_in_the_file(file: seeds.Seed) -> None:
    fields, parts = structure(file.form, file.content)
    assert len(fields) >= 10 and parts
    assert all(field.at >= 0 and field.at + field.width <= len(file.content) for field in fields)
    assert all(0 <= part.start < part.end <= len(file.content) for part in parts)


@pytest.mark.parametrize("name", [b"stts", b"stsz", b"ctts", b"elst", b"tkhd", b"stsc"])
def test_the_tables_that_a_demuxer_believes_are_fields(name: bytes) -> None:
    content = next(each.content for each in FILES if each.name == "mp4 h264")
    count = content.index(name) + 8
    assert any(field.at == count and field.width == 4 for field in structure("boxes", content)[0])


def test_readers_bear_what_was_damaged_before() -> None:
    for number in range(600):
        made = mutant(3, number, FILES)
        assert len(made.content) <= MOST_BYTES
        for form in ("boxes", "ebml", "riff", "packets", "gif", "png", "jpeg"):
            structure(form, made.content)


def test_sums_of_a_png_are_made_right() -> None:
    data = bytearray(next(each.content for each in FILES if each.name == "png"))
    data[16] ^= 1
    _sum_up(data)
    for start, _kind, stop in chunks_of_png(bytes(data)):
        assert int.from_bytes(data[stop - 4 : stop], "big") == zlib.crc32(data[start + 4 : stop - 4])
