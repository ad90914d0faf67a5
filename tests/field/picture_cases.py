"""Pictures as phones, scanners, browsers and editors make them, whole and odd, and files that are refused by name."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image

from tests.field.case import Case
from tests.films import texture


def _saved(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    """Return a picture of many scales, 320x240, as a file of that kind."""
    file = io.BytesIO()
    Image.fromarray(texture(320, 240, seed=3)).convert(mode).save(file, kind, **options)
    return file.getvalue()


def cases() -> list[Case]:
    """Return the cases of this module."""

    def picture(file: str, why: str, content: bytes, **right: Any) -> Case:
        def make(path: Path) -> object:
            return path.write_bytes(content)

        return Case(file, make, why, "Pictures", "frame_quality", **right)

    return [
        picture("plain.jpg", "JPEG", _saved("JPEG"), size=(320, 240), codec="jpeg"),
        picture("plain.png", "PNG", _saved("PNG"), size=(320, 240), codec="png"),
        picture("plain.webp", "WebP", _saved("WEBP"), size=(320, 240), codec="webp"),
    ]
