"""Schemas of the responses about jobs and timelines."""

from app.jobs.storage.records import STATES
from app.openapi.schemas import (
    COUNT,
    DECISION,
    FLAG,
    FRACTION,
    MISSING_NODES,
    NUMBER,
    POSITIVE,
    SCORES,
    SCORES_HELP,
    TEXT,
    THRESHOLDS,
    TIME,
    Schema,
    array,
    mapping,
    nullable,
    one_of,
    prop,
    record,
    ref,
)

_ID = "3f9a1c0b7d2e4f5a6b8c9d0e"
_URL = f"/v1/jobs/{_ID}"

_SEGMENT = record(
    {
        "start_s": prop(NUMBER, "Start, seconds.", 0.0),
        "end_s": prop(NUMBER, "End, seconds.", 12.5),
        "label": prop(TEXT, "Label.", "pan_left"),
        "score": prop(FRACTION, "Mean score of the label, 0 to 1.", 0.91),
    }
)

_WINDOW = record(
    {
        "start_s": prop(NUMBER, "Time of the first frame, seconds.", 0.0),
        "end_s": prop(NUMBER, "Time of the last frame, seconds.", 2.0),
        "padded": prop(FLAG, "Whether the video ended before the window.", False),
        "predictions": prop(array(ref("Prediction")), "Best labels, highest score first."),
        "decision": prop(DECISION, "Labels that pass their threshold, highest score first, or `none`.", ["pan_left"]),
    }
)

_THUMBNAIL = record(
    {
        "time_s": prop(NUMBER, "Time of the frame, seconds.", 1.0),
        "url": prop(TEXT, "URL of the JPEG.", f"{_URL}/thumbnails/0.jpg"),
    }
)

_TIMELINE = record(
    {
        "duration_s": prop(NUMBER, "Duration of the video, seconds.", 60.0),
        "complete_to_s": prop(NUMBER, "The timeline is complete up to this time, seconds.", 60.0),
        "window_s": prop(NUMBER, "Length of a window, seconds.", 2.0),
        "hop_s": prop(NUMBER, "Time from one window to the next, seconds.", 1.0),
        "margin": prop(FRACTION, "Lead that another label needs to begin a segment.", 0.15),
        "labels": prop(array(TEXT), "All labels of the model.", ["pan_left", "static"]),
        "scores": prop(SCORES, SCORES_HELP, "softmax"),
        "thresholds": prop(THRESHOLDS, "Threshold of each of `labels`; null if the version has none.", [0.5, 0.6]),
        "segments": prop(
            array(ref("Segment")),
            "Parts of the video with one label each, by their start; gaps where none passes, overlaps of a sigmoid.",
        ),
        "decision": prop(DECISION, "Labels that have a segment, longest total time first, or `none`.", ["pan_left"]),
        "cuts_s": prop(array(NUMBER), "Times at which a new shot begins, seconds.", [12.5, 40.0]),
        "thumbnails": prop(array(_THUMBNAIL), "Middle frames of some windows."),
        "windows": prop(array(ref("Window")), "One page of windows; only if requested."),
        "next_offset": prop(nullable(COUNT), "`offset` of the next page; null after the last one.", 500),
    },
    optional=("windows", "next_offset"),
)

_PARAMETERS = record(
    {
        "hop_s": prop(nullable(NUMBER), "Requested `hop_s`; null: the model's.", 1.0),
        "window_s": prop(nullable(NUMBER), "Requested `window_s`; null: the model's.", 2.0),
        "margin": prop(FRACTION, "Requested `margin`, or the default.", 0.15),
        "top_k": prop(POSITIVE, "Requested `top_k`, or the default.", 5),
        "min_score": prop(nullable(FRACTION), "Requested `min_score`; null: the model's thresholds.", 0.5),
        "labels": prop(array(TEXT), "Requested `labels`; empty: all.", ["pan_left", "pan_right"]),
        "exclude": prop(array(TEXT), "Requested `exclude`.", ["static"]),
        "embedding": prop(FLAG, "Whether each window's embedding is kept, for `POST /v1/search`.", False),
    }
)

_PROGRESS = record(
    {
        "percent": prop({"type": "number", "minimum": 0, "maximum": 100}, "Share that is done, percent.", 42.0),
        "windows_done": prop(COUNT, "Windows that are done.", 25),
        "windows": prop(nullable(COUNT), "Windows in all; null while unknown.", 60),
        "eta_s": prop(nullable(NUMBER), "Estimated time left, seconds; null while unknown.", 8.5),
        "position": prop(nullable(COUNT), "Jobs ahead in the queue; null unless the job is queued.", 0),
    }
)

_FAILURE = record(
    {
        "code": prop(TEXT, "Machine-readable code.", "undecodable"),
        "message": prop(TEXT, "What happened, for people.", "the file is damaged"),
    }
)

_RESULT = record(
    {
        "label": prop(TEXT, "Label with the longest total time.", "pan_left"),
        "share": prop(FRACTION, "Its share of the video, 0 to 1.", 0.62),
    }
)

_LINKS = record(
    {
        "self": prop(TEXT, "This record.", _URL),
        "events": prop(TEXT, "Its events.", f"{_URL}/events"),
        "timeline": prop(TEXT, "Its timeline.", f"{_URL}/timeline"),
        "source": prop(TEXT, "Its video.", f"{_URL}/source"),
    }
)

_JOB = record(
    {
        "id": prop(TEXT, "Id of the job.", _ID),
        "state": prop(one_of(*STATES), "State of the job.", "running"),
        "created": prop(TIME, "Time of the request, UTC.", "2026-05-04T10:00:00Z"),
        "started": prop(nullable(TIME), "Time of the first attempt, UTC; null before.", "2026-05-04T10:00:01Z"),
        "finished": prop(nullable(TIME), "Time of the end, UTC; null before.", "2026-05-04T10:00:20Z"),
        "name": prop(TEXT, "File name that the client sent, empty if none.", "film.mp4"),
        "bytes": prop(COUNT, "Size of the file, bytes.", 73_400_320),
        "url": prop(
            nullable(TEXT),
            "URL that the video is downloaded from, without its query; null for an upload.",
            "https://media.example.com/film.mp4",
        ),
        "results": prop(
            nullable(TEXT),
            "Object that the finished record is written to; null without `results` in the request.",
            f"s3://bucket/results/{_ID}.json",
        ),
        "model": prop(TEXT, "Requested model.", "camera_motion"),
        "model_version": prop(nullable(TEXT), "Version that runs; null before the first window.", "1"),
        "parameters": prop(_PARAMETERS, "Parameters of the timeline."),
        "callback_url": prop(
            nullable(TEXT), "Receiver of the job's webhooks; null for none.", "https://hooks.example.com/clipstack"
        ),
        "progress": prop(_PROGRESS, "Progress."),
        "tries": prop(COUNT, "Attempts so far.", 1),
        "cache": prop(
            nullable(one_of("hit", "miss")), "Whether the timeline came from the cache; null: not asked.", "miss"
        ),
        "error": prop(nullable(_FAILURE), "Why the job failed; null unless it did."),
        "result": prop(nullable(_RESULT), "Main label of a finished timeline; null before, and if no label passes."),
        "timing_s": prop(mapping(NUMBER), "Time of each stage, seconds.", {"queued": 0.4, "total": 18.2}),
        "near_duplicates": prop(
            array(TEXT), "Ids of earlier jobs whose videos show nearly the same; some may be removed by now.", [_ID]
        ),
        "media": prop(nullable(ref("Media")), "Properties of the video; null before it was probed."),
        "timeline": prop(nullable(ref("Timeline")), "Timeline so far; null before the first window, and in lists."),
        "links": prop(_LINKS, "URLs of the job."),
    }
)

_RESUMABLE_UPLOAD = record(
    {
        "id": prop(TEXT, "Id of the upload.", "9f2c4e6a8b0d1f3e5a7c9b1d3f5e7a90"),
        "length": prop(COUNT, "Length of the whole file, bytes.", 1_048_576),
        "offset": prop(COUNT, "Number of bytes that have arrived.", 0),
    }
)

SCHEMAS: dict[str, Schema] = {
    "ResumableUpload": _RESUMABLE_UPLOAD,
    "Segment": _SEGMENT,
    "Window": _WINDOW,
    "Timeline": _TIMELINE,
    "Job": _JOB,
    "Jobs": record(
        {
            "jobs": prop(array(ref("Job")), "Jobs, newest first."),
            "next_cursor": prop(
                nullable(TEXT), "`cursor` of the next page; null on the last one.", f"2026-05-04T10:00:00Z~{_ID}"
            ),
            "missing_nodes": MISSING_NODES,
        }
    ),
    "Removed": record({"id": prop(TEXT, "Id of the job.", _ID), "state": prop(one_of("removed"), "State.", "removed")}),
}
