"""Schemas of the responses about files, models, health and errors."""

from app.openapi.schemas import (
    COUNT,
    DECISION,
    FLAG,
    FRACTION,
    NUMBER,
    POSITIVE,
    SCORES,
    SCORES_HELP,
    TEXT,
    THRESHOLDS,
    Schema,
    array,
    mapping,
    nullable,
    one_of,
    prop,
    record,
    ref,
)

PREDICTION = {"label": "pan_left", "score": 0.98}
CACHE = prop(one_of("hit", "miss", "off"), "Whether the result came from the cache; `off`: it was not asked.", "miss")

_MEDIA = record(
    {
        "name": prop(TEXT, "File name that the client sent, empty if none.", "clip.mp4"),
        "kind": prop(one_of("video", "image"), "Kind of file.", "video"),
        "container": prop(TEXT, "Container format.", "mp4"),
        "codec": prop(TEXT, "Codec of the video or picture.", "h264"),
        "width": prop(POSITIVE, "Width of the upright picture, pixels.", 1280),
        "height": prop(POSITIVE, "Height of the upright picture, pixels.", 720),
        "rotation": prop(
            {"type": "integer", "enum": [0, 90, 180, 270]}, "Clockwise turn that was applied, degrees.", 0
        ),
        "mirrored": prop(FLAG, "Whether the picture was mirrored to set it right.", False),
        "duration_s": prop(nullable(NUMBER), "Duration, seconds; null for pictures or if unknown.", 3.0),
        "fps": prop(nullable(NUMBER), "Mean frame rate, 1/s; null for pictures or if unknown.", 30.0),
        "frames": prop(COUNT, "Number of frames; 1 for pictures.", 90),
        "truncated": prop(FLAG, "Whether the file is cut off, so that only its readable part was used.", False),
        "bytes": prop(COUNT, "Size of the file, bytes.", 412_883),
    }
)

_CLIP = record(
    {
        "start_s": prop(NUMBER, "Time of the first frame, seconds.", 1.0),
        "end_s": prop(NUMBER, "Time of the last frame, seconds.", 1.4),
        "frames": prop(array(COUNT), "Numbers of the frames, from 0.", [30, 34, 38, 42]),
        "times_s": prop(array(NUMBER), "Times of the frames, seconds.", [1.0, 1.133, 1.267, 1.4]),
        "padded": prop(FLAG, "Whether the last frame was repeated, because the video is too short.", False),
    }
)

_CLASSIFICATION = record(
    {
        "request_id": prop(TEXT, "Id of the request, also in `X-Request-Id` and in the logs.", "5d1c0f7e9ab3"),
        "model": prop(TEXT, "Name of the model that answered.", "camera_motion"),
        "model_version": prop(TEXT, "Its version.", "1"),
        "predictions": prop(array(ref("Prediction")), "Best labels, highest score first.", [PREDICTION]),
        "decision": prop(DECISION, "Labels that pass their threshold, highest score first, or `none`.", ["pan_left"]),
        "media": prop(ref("Media"), "Properties of the file."),
        "clips": prop(array(ref("Clip")), "Frames that the model saw."),
        "transport": prop(
            one_of("cuda_shared_memory", "system_shared_memory", "inline"),
            "How the frames reached the inference server.", "system_shared_memory",
        ),
        "precision": prop(nullable(TEXT), "Precision of the inference; null if unknown.", "f32"),
        "warnings": prop(array(TEXT), "Notes on the file, for people.", ["the file is cut off"]),
        "thumbnails": prop(array(TEXT), "Frames of the first clip as the model saw them, JPEG in data URLs."),
        "embedding": prop(
            array({"type": "number", "minimum": -1, "maximum": 1}),
            "Vector of length 1 that is close to those of similar files; only if requested.", [0.0132, 0.0, 0.0481],
        ),
        "cache": CACHE,
        "timing_ms": prop(mapping(NUMBER), "Time of each stage, milliseconds.", {"decode": 12.8, "total": 28.0}),
    },
    optional=("thumbnails", "embedding"),
)  # fmt: skip

_MODEL = record(
    {
        "name": prop(TEXT, "Name for the parameter `model`.", "camera_motion"),
        "version": prop(TEXT, "Version that answers by default.", "1"),
        "kind": prop(one_of("video", "image"), "Kind of files that it is made for.", "video"),
        "frames": prop(COUNT, "Frames of one clip.", 16),
        "stride": prop(COUNT, "Frames from one frame of a clip to the next, at `fps`.", 4),
        "fps": prop(NUMBER, "Frame rate that `stride` refers to, 1/s.", 30.0),
        "resize": prop(COUNT, "Length of the short side before the crop, pixels.", 182),
        "crop": prop(COUNT, "Width and height of the centre crop, pixels.", 182),
        "architecture": prop(TEXT, "Architecture of the network.", "X3D-S"),
        "labels": prop(array(TEXT), "All labels.", ["pan_left", "pan_right", "static"]),
        "precision": prop(nullable(TEXT), "Precision of the inference; null if unknown.", "f32"),
        "embedding_size": prop(COUNT, "Numbers of an embedding; 0 if the model gives none.", 2048),
        "versions": prop(array(TEXT), "All versions that answer, newest first.", ["1"]),
        "title": prop(TEXT, "Name for people.", "Camera motion"),
        "description": prop(TEXT, "What it recognises, for people.", "How the camera moves."),
        "examples": prop(array(TEXT), "Some of the labels.", ["pan_left", "zoom_in"]),
        "scores": prop(SCORES, SCORES_HELP, "softmax"),
        "thresholds": prop(THRESHOLDS, "Threshold of each of `labels`; null if the version has none.", [0.5, 0.6, 0.5]),
        "default": prop(FLAG, "Whether it is the default for videos.", True),
        "default_for": prop(array(one_of("video", "image")), "Kinds of files that it is the default for.", ["video"]),
    }
)

_READY = record(
    {
        "status": prop(one_of("ready"), "Always `ready`; else the response is 503.", "ready"),
        "models": prop(array(TEXT), "Models that answer.", ["camera_motion", "objects"]),
        "left_out": prop(mapping(TEXT), "Models that cannot be used, with the reason.", {"x": "has no labels"}),
        "workers": prop(
            array(record({"decoders": prop(COUNT, "Decoder processes of the worker.", 2)})),
            "Web workers that are warm.",
        ),
        "transports": prop({"type": "object"}, "How frames reach the inference server.", {"camera_motion": "shm"}),
        "decoding": prop({"type": "object"}, "Counts of decoded videos.", {"exact": 12}),
        "admission": prop(mapping(NUMBER), "Running and waiting requests of one worker.", {"running": 1, "waiting": 0}),
    }
)

_ERROR = record(
    {
        "code": prop(TEXT, "Machine-readable code; later versions may add codes.", "undecodable"),
        "message": prop(TEXT, "What happened and what to do, for people.", "the file is damaged"),
        "request_id": prop(TEXT, "Id of the request, which finds it in the logs.", "5d1c0f7e9ab3"),
    }
)

_CLASSIFICATIONS = record(
    {
        "request_id": prop(TEXT, "Id of the request, which finds it in the logs.", "5d1c0f7e9ab3"),
        "results": prop(array(ref("PictureResult")), "One result for each picture, in the order of the form."),
        "timing_ms": prop(mapping(NUMBER), "Time of the whole request, milliseconds.", {"total": 210.0}),
    }
)

_PICTURE_RESULT = record(
    {
        "name": prop(TEXT, "File name that the client sent, empty if none.", "photo.jpg"),
        "status": prop({"type": "integer"}, "HTTP status that the picture alone would have got.", 200),
        "answer": prop(ref("Classification"), "The answer; only without an error."),
        "error": prop(
            record(
                {
                    "code": prop(TEXT, "Machine-readable code.", "undecodable"),
                    "message": prop(TEXT, "What happened and what to do, for people.", "the file is damaged"),
                }
            ),
            "Why there is no answer.",
        ),
    },
    optional=("answer", "error"),
)

SCHEMAS: dict[str, Schema] = {
    "Prediction": record(
        {
            "label": prop(TEXT, "Label.", "pan_left"),
            "score": prop(FRACTION, "Score of the label, 0 to 1.", 0.98),
        }
    ),
    "Media": _MEDIA,
    "Clip": _CLIP,
    "Classification": _CLASSIFICATION,
    "Classifications": _CLASSIFICATIONS,
    "PictureResult": _PICTURE_RESULT,
    "Model": _MODEL,
    "Models": record({"models": prop(array(ref("Model")), "Models that answer.")}),
    "Alive": record({"status": prop(one_of("alive"), "Always `alive`.", "alive")}),
    "Ready": _READY,
    "Error": record({"error": prop(_ERROR, "The error.")}),
}
