"""Schemas of the responses about feedback."""

from app.feedback.records import STATES
from app.openapi.schemas import (
    COUNT,
    FRACTION,
    MISSING_NODES,
    NUMBER,
    TEXT,
    TIME,
    Schema,
    array,
    nullable,
    one_of,
    prop,
    record,
    ref,
)

ENTRY_ID = "8d2f60a1c4b94e7f9a0b1c2d"
JOB_ID = "3f9a1c0b7d2e4f5a6b8c9d0e"
_SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

_FILE = record(
    {
        "name": prop(TEXT, "File name that the client sent, empty if none.", "film.mp4"),
        "bytes": prop(COUNT, "Size of the file, bytes.", 412_883),
        "kind": prop(one_of("video", "image"), "Kind of file.", "video"),
        "sha256": prop(TEXT, "SHA-256 of the file.", _SHA256),
        "duration_s": prop(nullable(NUMBER), "Duration, seconds; null for pictures or if unknown.", 12.5),
        "fps": prop(nullable(NUMBER), "Mean frame rate, 1/s; null for pictures or if unknown.", 30.0),
    }
)

_FEEDBACK = record(
    {
        "id": prop(TEXT, "Id of the entry: the same for the same file, part and model.", ENTRY_ID),
        "state": prop(one_of(*STATES), "`unsure` until a person confirms or corrects the answer.", "corrected"),
        "labels": prop(array(TEXT), "Right labels; empty while `unsure`.", ["pan_left"]),
        "predicted": prop(array(TEXT), "Labels of the model; empty if unknown.", ["static"]),
        "score": prop(nullable(FRACTION), "Best score of the model; null if unknown.", 0.41),
        "model": prop(TEXT, "Model that answered.", "camera_motion"),
        "model_version": prop(nullable(TEXT), "Its version; null if unknown.", "1"),
        "start_s": prop(nullable(NUMBER), "Start of the part, seconds; null: the whole file.", 0.0),
        "end_s": prop(nullable(NUMBER), "End of the part, seconds; null: the whole file.", 4.5),
        "job": prop(nullable(TEXT), "Job of the answer, which may be removed; null for other answers.", JOB_ID),
        "created": prop(TIME, "Time of the first feedback about this part, UTC.", "2026-05-04T10:00:00.000Z"),
        "updated": prop(TIME, "Time of the last change, UTC.", "2026-05-04T10:00:20.000Z"),
        "file": prop(_FILE, "The kept file."),
        "links": prop(
            record({"source": prop(TEXT, "URL of the kept file.", f"/v1/feedback/{ENTRY_ID}/source")}), "URLs."
        ),
    }
)

SCHEMAS: dict[str, Schema] = {
    "Feedback": _FEEDBACK,
    "FeedbackPage": record(
        {
            "feedback": prop(array(ref("Feedback")), "Entries, the last change first."),
            "next_cursor": prop(
                nullable(TEXT),
                "`after` of the next page; null on the last one.",
                f"2026-05-04T10:00:20.000Z_{ENTRY_ID}",
            ),
            "missing_nodes": MISSING_NODES,
        }
    ),
    "FeedbackRemoved": record(
        {"id": prop(TEXT, "Id of the entry.", ENTRY_ID), "state": prop(one_of("removed"), "State.", "removed")}
    ),
}
