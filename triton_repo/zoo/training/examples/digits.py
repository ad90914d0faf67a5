"""Pictures of handwritten digits from scikit-learn: scans of 8 x 8 pixels (UCI ML, Alpaydin and Kaynak, 1998)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

SIDE, MARGIN = 160, 32  # pixels of the digit, and of white paper around it
Images = tuple[NDArray[Any], NDArray[Any]]  # (N, 8, 8) of 0 to 16, and the digit of each
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def write_digits(folder: Path, count: int, seed: int) -> int:
    """Write `count` PNG files of each digit to FOLDER/<word>/ and return the number of all files."""
    return sum(_write(folder, numbers[:count], images, False) for numbers, images in _shuffled(seed))


def write_chalk(folder: Path, count: int, seed: int) -> int:
    """Write `count` files of each digit in white on black to FOLDER/new/<word>/, and other ones to FOLDER/check/<word>/.

    No scan is one of `write_digits` with the same seed, as long as there are at most 174 of each digit together.
    """
    written = 0
    for numbers, images in _shuffled(seed):
        written += _write(folder / "new", numbers[::-1][:count], images, True)
        written += _write(folder / "check", numbers[::-1][count : 2 * count], images, True)
    return written


def _shuffled(seed: int) -> Iterator[tuple[NDArray[np.int64], Images]]:
    """Yield for each digit the numbers of its scans in random order, and all scans."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    rng = np.random.default_rng(seed)
    for digit in range(len(WORDS)):
        yield rng.permutation(np.flatnonzero(digits.target == digit)), (digits.images, digits.target)


def _write(folder: Path, numbers: NDArray[np.int64], scans: Images, chalk: bool) -> int:
    images, targets = scans
    for number in numbers:
        place = folder / WORDS[targets[number]]
        place.mkdir(parents=True, exist_ok=True)
        ink = (255 - images[number] * 255 / 16).astype(np.uint8)
        scan = Image.fromarray(ink).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        page = Image.new("L", (SIDE + 2 * MARGIN,) * 2, 255)
        page.paste(scan, (MARGIN, MARGIN))
        (ImageOps.invert(page) if chalk else page).save(place / f"{number:04d}.png")
    return len(numbers)
