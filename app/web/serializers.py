"""The JSON representation of a classification."""

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.inference.decision import decision_json
from app.media.sampling import is_mostly_repeated
from app.pipeline.classify import ClassifyResult
from app.uploads.parser import Upload

JPEG_QUALITY = 85
EMBEDDING_DIGITS = 6


def classification_json(result: ClassifyResult, upload: Upload) -> dict[str, Any]:
    """Return the response body of a successful `/v1/classify`; equal uploads get equal bodies."""
    body: dict[str, Any] = {
        "model": result.model.name,
        "model_version": result.model.version,
        "predictions": result.predictions,
        "decision": decision_json(result.decision),
        "media": result.media.to_json(
            upload.name, result.decoded.total, result.decoded.truncated, upload.source.length
        ),
        "clips": _clips_json(result),
        "transport": result.transport,
        "precision": result.model.precision,
        "warnings": _warnings(result),
    }
    if result.first_clip is not None:
        body["thumbnails"] = [_data_url(frame) for frame in result.first_clip]
    if result.embedding is not None:
        body["embedding"] = [round(value, EMBEDDING_DIGITS) for value in result.embedding.tolist()]
    return body


def _clips_json(result: ClassifyResult) -> list[dict[str, Any]]:
    decoded = result.decoded
    return [
        {
            "start_s": round(times[0], 3),
            "end_s": round(times[-1], 3),
            "frames": list(frames),
            "times_s": [round(time, 3) for time in times],
            "padded": padded,
        }
        for frames, times, padded in zip(decoded.frames, decoded.times_s, decoded.padded, strict=True)
    ]


def _warnings(result: ClassifyResult) -> list[str]:
    """Return the notes of the decoder and warnings about padding, repeated frames and truncation."""
    warnings, decoded = list(result.media.notes), result.decoded
    if any(decoded.padded):
        warnings.append("the video is shorter than one clip: its last frame was repeated")
    if any(is_mostly_repeated(row) for row, padded in zip(decoded.frames, decoded.padded, strict=True) if not padded):
        warnings.append("the video shows few different frames: most frames of a clip repeat the one before")
    if decoded.truncated:
        warnings.append("the file is cut off: only the part that could be read was looked at")
    return warnings


def _data_url(frame: NDArray[np.uint8]) -> str:
    """Return a frame, uint8 (H, W, 3), as a JPEG in a data URL."""
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
