"""Schemas of the responses about jobs, searches in them, and feedback."""

from app.feedback.records import STATES as FEEDBACK_STATES
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

JOB_ID = "3f9a1c0b7d2e4f5a6b8c9d0e"
ENTRY_ID = "8d2f60a1c4b94e7f9a0b1c2d"
_SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_URL = f"/v1/jobs/{JOB_ID}"

_THUMBNAIL = record(
    time_s=prop(NUMBER, "Time of the frame, seconds.", 1.0),
    url=prop(TEXT, "URL of the JPEG.", f"{_URL}/thumbnails/0.jpg"),
)

_PARAMETERS = record(
    hop_s=prop(nullable(NUMBER), "Requested `hop_s`; null: the model's.", 1.0),
    window_s=prop(nullable(NUMBER), "Requested `window_s`; null: the model's.", 2.0),
    margin=prop(FRACTION, "Requested `margin`, or the default.", 0.15),
    top_k=prop(POSITIVE, "Requested `top_k`, or the default.", 5),
    min_score=prop(nullable(FRACTION), "Requested `min_score`; null: the model's thresholds.", 0.5),
    labels=prop(array(TEXT), "Requested `labels`; empty: all.", ["pan_left", "pan_right"]),
    exclude=prop(array(TEXT), "Requested `exclude`.", ["static"]),
    embedding=prop(FLAG, "Whether each window's embedding is kept, for `POST /v1/search`.", False),
)

_PROGRESS = record(
    percent=prop({"type": "number", "minimum": 0, "maximum": 100}, "Share that is done, percent.", 42.0),
    windows_done=prop(COUNT, "Windows that are done.", 25),
    windows=prop(nullable(COUNT), "Windows in all; null while unknown.", 60),
    eta_s=prop(nullable(NUMBER), "Estimated time left, seconds; null while unknown.", 8.5),
    position=prop(nullable(COUNT), "Jobs ahead in the queue; null unless the job is queued.", 0),
)

_FAILURE = record(
    code=prop(TEXT, "Machine-readable code.", "undecodable"),
    message=prop(TEXT, "What happened, for people.", "the file is damaged"),
)

_RESULT = record(
    label=prop(TEXT, "Label with the longest total time.", "pan_left"),
    share=prop(FRACTION, "Its share of the video, 0 to 1.", 0.62),
)

_LINKS = record(
    self=prop(TEXT, "This record.", _URL),
    events=prop(TEXT, "Its events.", f"{_URL}/events"),
    timeline=prop(TEXT, "Its timeline.", f"{_URL}/timeline"),
    source=prop(TEXT, "Its video.", f"{_URL}/source"),
)

_COSINE = {"type": "number", "minimum": -1, "maximum": 1}

_SEARCHED = record(
    jobs=prop(COUNT, "Jobs that were compared.", 31),
    windows=prop(COUNT, "Windows that were compared.", 5200),
)

_KEPT_FILE = record(
    name=prop(TEXT, "File name that the client sent, empty if none.", "film.mp4"),
    bytes=prop(COUNT, "Size of the file, bytes.", 412_883),
    kind=prop(one_of("video", "image"), "Kind of file.", "video"),
    sha256=prop(TEXT, "SHA-256 of the file.", _SHA256),
    duration_s=prop(nullable(NUMBER), "Duration, seconds; null for pictures or if unknown.", 12.5),
    fps=prop(nullable(NUMBER), "Mean frame rate, 1/s; null for pictures or if unknown.", 30.0),
)

SCHEMAS: dict[str, Schema] = {
    "ResumableUpload": record(
        id=prop(TEXT, "Id of the upload.", "9f2c4e6a8b0d1f3e5a7c9b1d3f5e7a90"),
        length=prop(COUNT, "Length of the whole file, bytes.", 1_048_576),
        offset=prop(COUNT, "Number of bytes that have arrived.", 0),
    ),
    "Segment": record(
        start_s=prop(NUMBER, "Start, seconds.", 0.0),
        end_s=prop(NUMBER, "End, seconds.", 12.5),
        label=prop(TEXT, "Label.", "pan_left"),
        score=prop(FRACTION, "Mean score of the label, 0 to 1.", 0.91),
    ),
    "Window": record(
        start_s=prop(NUMBER, "Time of the first frame, seconds.", 0.0),
        end_s=prop(NUMBER, "Time of the last frame, seconds.", 2.0),
        padded=prop(FLAG, "Whether the video ended before the window.", False),
        predictions=prop(array(ref("Prediction")), "Best labels, highest score first."),
        decision=prop(DECISION, "Labels that pass their threshold, highest score first, or `none`.", ["pan_left"]),
    ),
    "Timeline": record(
        "windows",
        "next_offset",
        duration_s=prop(NUMBER, "Duration of the video, seconds.", 60.0),
        complete_to_s=prop(NUMBER, "The timeline is complete up to this time, seconds.", 60.0),
        window_s=prop(NUMBER, "Length of a window, seconds.", 2.0),
        hop_s=prop(NUMBER, "Time from one window to the next, seconds.", 1.0),
        margin=prop(FRACTION, "Lead that another label needs to begin a segment.", 0.15),
        labels=prop(array(TEXT), "All labels of the model.", ["pan_left", "static"]),
        scores=prop(SCORES, SCORES_HELP, "softmax"),
        thresholds=prop(THRESHOLDS, "Threshold of each of `labels`; null if the version has none.", [0.5, 0.6]),
        segments=prop(
            array(ref("Segment")),
            "Parts of the video with one label each, by their start; gaps where none passes, overlaps of a sigmoid.",
        ),
        decision=prop(DECISION, "Labels that have a segment, longest total time first, or `none`.", ["pan_left"]),
        cuts_s=prop(array(NUMBER), "Times at which a new shot begins, seconds.", [12.5, 40.0]),
        thumbnails=prop(array(_THUMBNAIL), "Middle frames of some windows."),
        windows=prop(array(ref("Window")), "One page of windows; only if requested."),
        next_offset=prop(nullable(COUNT), "`offset` of the next page; null after the last one.", 500),
    ),
    "Job": record(
        id=prop(TEXT, "Id of the job.", JOB_ID),
        state=prop(one_of(*STATES), "State of the job.", "running"),
        created=prop(TIME, "Time of the request, UTC.", "2026-05-04T10:00:00Z"),
        started=prop(nullable(TIME), "Time of the first attempt, UTC; null before.", "2026-05-04T10:00:01Z"),
        finished=prop(nullable(TIME), "Time of the end, UTC; null before.", "2026-05-04T10:00:20Z"),
        name=prop(TEXT, "File name that the client sent, empty if none.", "film.mp4"),
        bytes=prop(COUNT, "Size of the file, bytes.", 73_400_320),
        url=prop(
            nullable(TEXT),
            "URL that the video is downloaded from, without its query; null for an upload.",
            "https://media.example.com/film.mp4",
        ),
        results=prop(
            nullable(TEXT),
            "Object that the finished record is written to; null without `results` in the request.",
            f"s3://bucket/results/{JOB_ID}.json",
        ),
        model=prop(TEXT, "Requested model.", "camera_motion"),
        model_version=prop(nullable(TEXT), "Version that runs; null before the first window.", "1"),
        parameters=prop(_PARAMETERS, "Parameters of the timeline."),
        callback_url=prop(
            nullable(TEXT), "Receiver of the job's webhooks; null for none.", "https://hooks.example.com/clipstack"
        ),
        progress=prop(_PROGRESS, "Progress."),
        tries=prop(COUNT, "Attempts so far.", 1),
        cache=prop(
            nullable(one_of("hit", "miss")), "Whether the timeline came from the cache; null: not asked.", "miss"
        ),
        error=prop(nullable(_FAILURE), "Why the job failed; null unless it did."),
        result=prop(nullable(_RESULT), "Main label of a finished timeline; null before, and if no label passes."),
        timing_s=prop(mapping(NUMBER), "Time of each stage, seconds.", {"queued": 0.4, "total": 18.2}),
        near_duplicates=prop(
            array(TEXT), "Ids of earlier jobs whose videos show nearly the same; some may be removed by now.", [JOB_ID]
        ),
        media=prop(nullable(ref("Media")), "Properties of the video; null before it was probed."),
        timeline=prop(nullable(ref("Timeline")), "Timeline so far; null before the first window, and in lists."),
        links=prop(_LINKS, "URLs of the job."),
    ),
    "Jobs": record(
        jobs=prop(array(ref("Job")), "Jobs, newest first."),
        next_cursor=prop(
            nullable(TEXT), "`cursor` of the next page; null on the last one.", f"2026-05-04T10:00:00Z~{JOB_ID}"
        ),
        missing_nodes=MISSING_NODES,
    ),
    "Removed": record(id=prop(TEXT, "Id of the job.", JOB_ID), state=prop(one_of("removed"), "State.", "removed")),
    "Match": record(
        job=prop(TEXT, "Id of the job.", JOB_ID),
        name=prop(TEXT, "File name of its video, empty if none.", "film.mp4"),
        window=prop(COUNT, "Number of the window, from 0.", 12),
        start_s=prop(NUMBER, "Time of its first frame, seconds.", 6.0),
        end_s=prop(NUMBER, "Time of its last frame, seconds.", 6.9),
        similarity=prop(_COSINE, "Cosine of the two embeddings: 1 for the same picture.", 0.93),
        label=prop(nullable(TEXT), "Its best label.", "espresso"),
        score=prop(FRACTION, "Score of the label, 0 to 1.", 0.91),
        thumbnail=prop(TEXT, "URL of a JPEG of about this time.", f"/v1/jobs/{JOB_ID}/thumbnails/3.jpg"),
    ),
    "Search": record(
        request_id=prop(TEXT, "Id of the request, also in `X-Request-Id` and in the logs.", "5d1c0f7e9ab3"),
        model=prop(TEXT, "Model of the embeddings.", "objects"),
        model_version=prop(TEXT, "Its version.", "1"),
        matches=prop(array(ref("Match")), "Most similar first; neighbours of better ones are left out."),
        searched=prop(_SEARCHED, "What was compared."),
    ),
    "Feedback": record(
        id=prop(TEXT, "Id of the entry: the same for the same file, part and model.", ENTRY_ID),
        state=prop(one_of(*FEEDBACK_STATES), "`unsure` until a person confirms or corrects the answer.", "corrected"),
        labels=prop(array(TEXT), "Right labels; empty while `unsure`.", ["pan_left"]),
        predicted=prop(array(TEXT), "Labels of the model; empty if unknown.", ["static"]),
        score=prop(nullable(FRACTION), "Best score of the model; null if unknown.", 0.41),
        model=prop(TEXT, "Model that answered.", "camera_motion"),
        model_version=prop(nullable(TEXT), "Its version; null if unknown.", "1"),
        start_s=prop(nullable(NUMBER), "Start of the part, seconds; null: the whole file.", 0.0),
        end_s=prop(nullable(NUMBER), "End of the part, seconds; null: the whole file.", 4.5),
        job=prop(nullable(TEXT), "Job of the answer, which may be removed; null for other answers.", JOB_ID),
        created=prop(TIME, "Time of the first feedback about this part, UTC.", "2026-05-04T10:00:00.000Z"),
        updated=prop(TIME, "Time of the last change, UTC.", "2026-05-04T10:00:20.000Z"),
        file=prop(_KEPT_FILE, "The kept file."),
        links=prop(record(source=prop(TEXT, "URL of the kept file.", f"/v1/feedback/{ENTRY_ID}/source")), "URLs."),
    ),
    "FeedbackPage": record(
        feedback=prop(array(ref("Feedback")), "Entries, the last change first."),
        next_cursor=prop(
            nullable(TEXT),
            "`after` of the next page; null on the last one.",
            f"2026-05-04T10:00:20.000Z_{ENTRY_ID}",
        ),
        missing_nodes=MISSING_NODES,
    ),
    "FeedbackRemoved": record(
        id=prop(TEXT, "Id of the entry.", ENTRY_ID), state=prop(one_of("removed"), "State.", "removed")
    ),
}
