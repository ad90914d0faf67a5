"""Small archives, and the rows that `clipstack bulk` wrote about them."""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.support.client_service import MP4

RAY_PYTHON = Path(__file__).resolve().parents[2] / ".runtime" / "ray" / "bin" / "python"
READ_PARQUET = """
import json, sys
from pyarrow import dataset
print(json.dumps(dataset.dataset(sys.argv[1], format="parquet").to_table().to_pylist()))
"""


def archive(folder: Path, number: int) -> list[Path]:
    """Write small videos, each with other bytes, into folders of ten, and return them in their order."""
    paths = [folder / f"{index // 10:02}" / f"{index:04}.mp4" for index in range(number)]
    for index, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(MP4 + index.to_bytes(4, "big"))
    return paths


def pictures(folder: Path, number: int) -> list[Path]:
    """Write JPEG pictures of 64x64 pixels, each of other noise, into folders of a thousand, and return them in order."""
    paths = [folder / f"{index // 1000:03}" / f"{index:06}.jpg" for index in range(number)]
    for index, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = np.random.default_rng(index).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC).save(path, quality=85)
    return paths


def rows_of(results: Path) -> list[dict[str, Any]]:
    """Return all rows of a folder of results, in the order of their parts."""
    rows: list[dict[str, Any]] = []
    for path in sorted(results.glob("part-*")):
        if path.suffix == ".jsonl":
            rows += map(json.loads, path.read_text().splitlines())
        elif path.suffix == ".csv":
            with path.open(newline="") as file:
                rows += csv.DictReader(file)
    return rows


def parquet_rows(results: Path | str) -> list[dict[str, Any]]:
    """Return all rows of a folder of Parquet files, read as others do: the whole folder as one data set."""
    done = subprocess.run([RAY_PYTHON, "-c", READ_PARQUET, results], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows
