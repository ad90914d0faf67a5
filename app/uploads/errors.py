"""Errors of resumable uploads. As in app/errors.py, each docstring stands in the API reference."""

from app.errors import ClipstackError, NotFound


class UploadNotFound(NotFound):
    """There is no resumable upload with this id: it was used, has expired, or belongs to another key."""

    code = "upload_not_found"


class OffsetConflict(ClipstackError):
    """`Upload-Offset` is not the number of bytes that have arrived: ask for it with HEAD and continue there."""

    status, code = 409, "offset_conflict"


class UploadIncomplete(ClipstackError):
    """The resumable upload is not complete: send the rest before using it."""

    status, code = 409, "upload_incomplete"


class TusVersionUnknown(ClipstackError):
    """`Tus-Resumable` is missing or names an unsupported version of tus; `Tus-Version` lists the supported ones."""

    status, code = 412, "tus_version_unknown"


class UploadLocked(ClipstackError):
    """Another request is writing to this resumable upload, or uses it: retry in a moment."""

    status, code = 423, "upload_locked"
    retry_after_s = 1


class ChecksumMismatch(ClipstackError):
    """The bytes do not match `Upload-Checksum` and were discarded: send them again."""

    status, code = 460, "checksum_mismatch"
