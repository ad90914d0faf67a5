"""Routes of resumable uploads (tus 1.0)."""

from app import errors
from app.nodes.ids import id_pattern
from app.openapi.route import Parameter, Route, json_of
from app.openapi.schemas import COUNT, TEXT, Schema, prop
from app.uploads import errors as upload_errors
from app.uploads import tus

UPLOAD_ID = "9f2c4e6a8b0d1f3e5a7c9b1d3f5e7a90"
_TAG, _PATH = "Uploads", "/v1/uploads/{identity}"
_SHA1 = "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0="
_ID = Parameter(
    "identity", {"type": "string", "pattern": f"^{id_pattern(32)}$"}, "Id of the upload.", "path", UPLOAD_ID
)
_VERSION = Parameter("Tus-Resumable", TEXT, f"Must be `{tus.VERSION}`.", "header", tus.VERSION)
_LENGTH = Parameter("Upload-Length", COUNT, "Length of the whole file, bytes.", "header", 1_048_576)
_METADATA = Parameter(
    "Upload-Metadata", TEXT | {"maxLength": tus.MAX_METADATA},
    "Pairs of a key and a value in base64, with commas between them; `filename` names the file.", "header",
    "filename Y2xpcC5tcDQ=",
)  # fmt: skip
_OFFSET = Parameter("Upload-Offset", COUNT, "Number of bytes that have arrived.", "header", 0)
_CHECKSUM = Parameter("Upload-Checksum", TEXT, "`sha1` or `sha256`, and the body's digest in base64.", "header", _SHA1)

_HEADERS: dict[str, Schema] = {
    "Upload-Offset": prop(COUNT, "Number of bytes that have arrived.", 524_288),
    "Upload-Expires": prop(TEXT, "Time at which the upload is removed.", "Sun, 06 Nov 1994 08:49:37 GMT"),
}
_CAPABILITIES: dict[str, Schema] = {
    "Tus-Version": prop(TEXT, "Supported versions of tus.", tus.VERSION),
    "Tus-Extension": prop(TEXT, "Supported extensions of tus.", ",".join(tus.EXTENSIONS)),
    "Tus-Max-Size": prop(COUNT, "Largest file, bytes.", 1_073_741_824),
    "Tus-Checksum-Algorithm": prop(TEXT, "Supported algorithms of checksums.", ",".join(tus.ALGORITHMS)),
}
_FOUND = (upload_errors.UploadNotFound, upload_errors.TusVersionUnknown)
_WRITES = (*_FOUND, upload_errors.UploadLocked, errors.StorageFull)
_APPENDS = (
    errors.UnsupportedMedia, upload_errors.OffsetConflict, upload_errors.ChecksumMismatch, errors.TooLarge,
    errors.RequestTimeout, errors.ClientDisconnected, errors.Overloaded,
)  # fmt: skip


def upload_routes() -> list[Route]:
    """Return the routes of resumable uploads."""
    length = {"Upload-Length": prop(COUNT, "Length of the whole file, bytes.", 1_048_576)}
    location = {"Location": prop(TEXT, "Address of the upload.", f"/v1/uploads/{UPLOAD_ID}")}
    return [
        Route("/v1/uploads", "options", "get_tus_capabilities", _TAG, "Get limits and extensions",
              {204: {}}, headers=_CAPABILITIES),
        Route("/v1/uploads", "post", "create_upload", _TAG, "Create an upload", {201: json_of("ResumableUpload")},
              (*_WRITES, errors.TooLarge), (_VERSION, _LENGTH, _METADATA), headers=location | _HEADERS),
        Route(_PATH, "head", "get_upload_offset", _TAG, "Get the offset", {200: {}}, _FOUND, (_ID, _VERSION),
              headers=length | _HEADERS),
        Route(_PATH, "patch", "append_to_upload", _TAG, "Append to an upload", {204: {}}, _WRITES + _APPENDS,
              (_ID, _VERSION, _OFFSET, _CHECKSUM), headers=_HEADERS, body_type=tus.CHUNK_TYPE),
        Route(_PATH, "delete", "delete_upload", _TAG, "Remove an upload", {204: {}}, _WRITES, (_ID, _VERSION)),
    ]  # fmt: skip
