"""Files that no decoder can read, and some that are made to kill it; each is small."""

from __future__ import annotations

import io
import random
import zipfile

from app.settings import CHECKOUT
from bench.tools.overload import demo_clip, picture

MORE = CHECKOUT.parent / "shared" / "bad"  # where there are others' files they are sent too
MOST_BYTES = 4 << 20


def bad_files() -> dict[str, bytes]:
    """By their names; each is answered 4xx."""
    chance, clip, still = random.Random(10), demo_clip(), picture()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("clip.mp4", clip[:1000])
    found = {
        "text": b"this is no video\n" * 100,
        "random bytes": chance.randbytes(200_000),
        "zeros": bytes(100_000),
        "an archive": archive.getvalue(),
        "a playlist": b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/a.ts\n",
        "a video without its end": clip[: len(clip) // 2],  # where the index is
        "a video without pictures": _between(clip, b"mdat", b"moov"),
        "a video that aborts its decoder": bomb(clip),
        "half a picture": still[: len(still) // 8],
    }
    others = sorted(MORE.iterdir()) if MORE.is_dir() else []
    return found | {path.name: path.read_bytes() for path in others if 0 < path.stat().st_size < MOST_BYTES}


def bomb(clip: bytes) -> bytes:
    """Its table of times claims 2^31 frames: decord asks for room for all of them and aborts."""
    data = bytearray(clip)
    at = data.index(b"stts") + 12
    data[at : at + 4] = b"\x7f\xff\xff\xff"
    return bytes(data)


def _between(clip: bytes, first: bytes, last: bytes) -> bytes:
    """With zeros for all that stands between the two words."""
    begin, end = clip.index(first) + 4, clip.index(last) - 4
    return clip[:begin] + bytes(end - begin) + clip[end:]
