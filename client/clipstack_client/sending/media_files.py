"""Videos and pictures in folders, known by their suffixes."""

import os
from collections.abc import Iterator
from pathlib import Path

# Suffixes that a folder is searched for; a file named directly is sent whatever its suffix
VIDEOS = "3gp asf avi flv gif m2ts m4v mkv mov mp4 mpeg mpg mts ogv ts vob webm wmv"
PICTURES = "avif bmp heic heif jpeg jpg png tif tiff webp"
SUFFIXES = frozenset(f".{suffix}" for suffix in f"{VIDEOS} {PICTURES}".split())


def walk_folder(folder: str) -> Iterator[str]:
    """Yield videos and pictures anywhere below a folder, sorted by name; hidden ones are skipped."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if path.suffix.lower() in SUFFIXES and not name.startswith("."):
                yield str(path)
