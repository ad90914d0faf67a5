"""Description of a file in the format of the API."""

from typing import Any

from app.media.types import Media


def media_json(media: Media, name: str, total: int, truncated: bool, length: int) -> dict[str, Any]:
    """Return the `media` object of a response for a file of `length` bytes with `total` frames."""
    return {
        "name": name,
        "kind": media.kind,
        "container": media.container,
        "codec": media.codec,
        "width": media.width,
        "height": media.height,
        "rotation": media.rotation,
        "mirrored": media.mirrored,
        "duration_s": media.duration_s,
        "fps": media.fps,
        "frames": total,
        "truncated": truncated,
        "bytes": length,
    }
