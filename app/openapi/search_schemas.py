"""Schemas of the responses about searches."""

from app.openapi.schemas import COUNT, FRACTION, NUMBER, TEXT, Schema, array, nullable, prop, record, ref

_ID = "3f9a1c0b7d2e4f5a6b8c9d0e"
_COSINE = {"type": "number", "minimum": -1, "maximum": 1}

_MATCH = record(
    {
        "job": prop(TEXT, "Id of the job.", _ID),
        "name": prop(TEXT, "File name of its video, empty if none.", "film.mp4"),
        "window": prop(COUNT, "Number of the window, from 0.", 12),
        "start_s": prop(NUMBER, "Time of its first frame, seconds.", 6.0),
        "end_s": prop(NUMBER, "Time of its last frame, seconds.", 6.9),
        "similarity": prop(_COSINE, "Cosine of the two embeddings: 1 for the same picture.", 0.93),
        "label": prop(nullable(TEXT), "Its best label.", "espresso"),
        "score": prop(FRACTION, "Score of the label, 0 to 1.", 0.91),
        "thumbnail": prop(TEXT, "URL of a JPEG of about this time.", f"/v1/jobs/{_ID}/thumbnails/3.jpg"),
    }
)

_SEARCHED = record(
    {
        "jobs": prop(COUNT, "Jobs that were compared.", 31),
        "windows": prop(COUNT, "Windows that were compared.", 5200),
    }
)

SCHEMAS: dict[str, Schema] = {
    "Match": _MATCH,
    "Search": record(
        {
            "request_id": prop(TEXT, "Id of the request, also in `X-Request-Id` and in the logs.", "5d1c0f7e9ab3"),
            "model": prop(TEXT, "Model of the embeddings.", "objects"),
            "model_version": prop(TEXT, "Its version.", "1"),
            "matches": prop(array(ref("Match")), "Most similar first; neighbours of better ones are left out."),
            "searched": prop(_SEARCHED, "What was compared."),
        }
    ),
}
