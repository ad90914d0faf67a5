"""JSON schemas of the API's responses; properties are required unless listed as optional, and no others exist."""

from typing import Any

Schema = dict[str, Any]


def nullable(schema: Schema) -> Schema:
    """Return `schema` or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def array(items: Schema) -> Schema:
    """Return the schema of a list of `items`."""
    return {"type": "array", "items": items}


def mapping(values: Schema) -> Schema:
    """Return the schema of an object with any property names and values of schema `values`."""
    return {"type": "object", "additionalProperties": values}


def record(properties: dict[str, Schema], optional: tuple[str, ...] = ()) -> Schema:
    """Return the schema of an object with exactly these properties, required unless listed in `optional`."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def ref(name: str) -> Schema:
    """Return a reference to the named schema in SCHEMAS."""
    return {"$ref": f"#/components/schemas/{name}"}


def one_of(*values: str) -> Schema:
    """Return the schema of a string enumeration."""
    return {"type": "string", "enum": list(values)}


TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number", "minimum": 0}
FRACTION: Schema = {"type": "number", "minimum": 0, "maximum": 1}
TIME: Schema = {"type": "string", "format": "date-time"}
STATES = ("queued", "running", "done", "failed", "cancelled")

_MEDIA = record(
    {
        "name": TEXT, "kind": one_of("video", "image"), "container": TEXT, "codec": TEXT,
        "width": {"type": "integer", "minimum": 1}, "height": {"type": "integer", "minimum": 1},
        "rotation": {"type": "integer", "enum": [0, 90, 180, 270]}, "mirrored": FLAG,
        "duration_s": nullable(NUMBER), "fps": nullable(NUMBER), "frames": COUNT, "truncated": FLAG, "bytes": COUNT,
    }
)  # fmt: skip

_TIMELINE = record(
    {
        "duration_s": NUMBER, "complete_to_s": NUMBER, "window_s": NUMBER, "hop_s": NUMBER, "margin": FRACTION,
        "labels": array(TEXT), "segments": array(ref("Segment")), "cuts_s": array(NUMBER),
        "thumbnails": array(record({"time_s": NUMBER, "url": TEXT})), "windows": array(ref("Window")),
        "next_offset": nullable(COUNT),
    },
    optional=("windows", "next_offset"),
)  # fmt: skip

_JOB = record(
    {
        "id": TEXT, "state": one_of(*STATES),
        "created": TIME, "started": nullable(TIME), "finished": nullable(TIME),
        "name": TEXT, "bytes": COUNT, "model": TEXT, "model_version": nullable(TEXT),
        "parameters": record({
            "hop_s": nullable(NUMBER), "window_s": nullable(NUMBER), "margin": FRACTION,
            "top_k": {"type": "integer", "minimum": 1},
        }),
        "progress": record({
            "percent": {"type": "number", "minimum": 0, "maximum": 100}, "windows_done": COUNT,
            "windows": nullable(COUNT), "eta_s": nullable(NUMBER), "position": nullable(COUNT),
        }),
        "tries": COUNT, "cache": nullable(one_of("hit", "miss")),
        "error": nullable(record({"code": TEXT, "message": TEXT})),
        "timing_s": mapping(NUMBER), "media": nullable(ref("Media")), "timeline": nullable(ref("Timeline")),
        "links": record(dict.fromkeys(("self", "events", "timeline", "source"), TEXT)),
    }
)  # fmt: skip

SCHEMAS: dict[str, Schema] = {
    "Prediction": record({"label": TEXT, "score": FRACTION}),
    "Media": _MEDIA,
    "Clip": record(
        {"start_s": NUMBER, "end_s": NUMBER, "frames": array(COUNT), "times_s": array(NUMBER), "padded": FLAG}
    ),
    "Classification": record(
        {
            "request_id": TEXT, "model": TEXT, "model_version": TEXT, "predictions": array(ref("Prediction")),
            "media": ref("Media"), "clips": array(ref("Clip")), "transport": one_of("cuda_shared_memory",
            "system_shared_memory", "inline"), "precision": nullable(TEXT), "warnings": array(TEXT),
            "thumbnails": array(TEXT), "cache": one_of("hit", "miss", "off"), "timing_ms": mapping(NUMBER),
        },
        optional=("thumbnails",),
    ),
    "Model": record(
        {
            "name": TEXT, "version": TEXT, "kind": one_of("video", "image"), "frames": COUNT, "stride": COUNT,
            "fps": NUMBER, "resize": COUNT, "crop": COUNT, "architecture": TEXT, "labels": array(TEXT),
            "precision": nullable(TEXT), "versions": array(TEXT), "title": TEXT, "description": TEXT,
            "examples": array(TEXT), "default": FLAG, "default_for": array(one_of("video", "image")),
        }
    ),
    "Models": record({"models": array(ref("Model"))}),
    "Segment": record({"start_s": NUMBER, "end_s": NUMBER, "label": TEXT, "score": FRACTION}),
    "Window": record(
        {"start_s": NUMBER, "end_s": NUMBER, "padded": FLAG, "predictions": array(ref("Prediction"))}
    ),
    "Timeline": _TIMELINE,
    "Job": _JOB,
    "Jobs": record({"jobs": array(ref("Job"))}),
    "Removed": record({"id": TEXT, "state": one_of("removed")}),
    "Alive": record({"status": one_of("alive")}),
    "Ready": record(
        {
            "status": one_of("ready"), "models": array(TEXT), "left_out": mapping(TEXT),
            "workers": array(record({"decoders": COUNT})),
            "transports": {"type": "object"}, "decoding": {"type": "object"}, "admission": mapping(NUMBER),
        }
    ),
    "Error": record({"error": record({"code": TEXT, "message": TEXT, "request_id": TEXT})}),
}  # fmt: skip
