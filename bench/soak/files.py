"""Small files that no decoder can read, and some that crash a decoder."""

import io
import random
import zipfile

from app.settings import CHECKOUT
from bench.tools.overload import demo_clip, picture

MORE = CHECKOUT.parent / "shared" / "bad"  # further bad files, if present
MOST_BYTES = 4 << 20


def bad_files() -> dict[str, bytes]:
    """Return the files by name; the service answers each with 4xx."""
    rng, clip, still = random.Random(10), demo_clip(), picture()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("clip.mp4", clip[:1000])
    files = {
        "text": b"this is no video\n" * 100,
        "random bytes": rng.randbytes(200_000),
        "zeros": bytes(100_000),
        "an archive": archive.getvalue(),
        "a playlist": b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/a.ts\n",
        "a video without its end": clip[: len(clip) // 2],  # the index is at the end
        "a video without pictures": _between(clip, b"mdat", b"moov"),
        "a video that aborts its decoder": bomb(clip),
        "half a picture": still[: len(still) // 8],
    }
    others = sorted(MORE.iterdir()) if MORE.is_dir() else []
    return files | {path.name: path.read_bytes() for path in others if 0 < path.stat().st_size < MOST_BYTES}


def bomb(clip: bytes) -> bytes:
    """Return the clip with a time table of 2^31 frames: decord aborts when it allocates memory for them."""
    data = bytearray(clip)
    at = data.index(b"stts") + 12
    data[at : at + 4] = b"\x7f\xff\xff\xff"
    return bytes(data)


def _between(clip: bytes, first: bytes, last: bytes) -> bytes:
    """Return the clip with zeros between the two box names."""
    begin, end = clip.index(first) + 4, clip.index(last) - 4
    return clip[:begin] + bytes(end - begin) + clip[end:]
