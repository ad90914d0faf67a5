"""Pictures of handwritten digits from scikit-learn: scans of 8 x 8 pixels (UCI ML, Alpaydin and Kaynak, 1998)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SIDE, MARGIN = 160, 32  # pixels of the digit, and of white paper around it
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def write_digits(folder: Path, count: int, seed: int) -> int:
    """Write `count` PNG files of each digit to FOLDER/<word>/ and return the number of all files."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    rng = np.random.default_rng(seed)
    written = 0
    for digit, word in enumerate(WORDS):
        place = folder / word
        place.mkdir(parents=True, exist_ok=True)
        numbers = rng.permutation(np.flatnonzero(digits.target == digit))[:count]
        for number in numbers:
            ink = (255 - digits.images[number] * 255 / 16).astype(np.uint8)
            scan = Image.fromarray(ink).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            page = Image.new("L", (SIDE + 2 * MARGIN,) * 2, 255)
            page.paste(scan, (MARGIN, MARGIN))
            page.save(place / f"{number:04d}.png")
        written += len(numbers)
    return written
