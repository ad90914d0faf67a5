"""Errors of resumable uploads. As in app/errors.py, each docstring stands in the API reference."""

from app.errors import ClipstackError, NotFound


class UploadNotFound(NotFound, code="upload_not_found"):
    """There is no resumable upload with this id: it was used, has expired, or belongs to another key."""


class OffsetConflict(ClipstackError, status=409, code="offset_conflict"):
    """`Upload-Offset` is not the number of bytes that have arrived: ask for it with HEAD and continue there."""


class UploadIncomplete(ClipstackError, status=409, code="upload_incomplete"):
    """The resumable upload is not complete: send the rest before using it."""


class TusVersionUnknown(ClipstackError, status=412, code="tus_version_unknown"):
    """`Tus-Resumable` is missing or names an unsupported version of tus; `Tus-Version` lists the supported ones."""


class UploadLocked(ClipstackError, status=423, code="upload_locked", retry_after_s=1):
    """Another request is writing to this resumable upload, or uses it: retry in a moment."""


class ChecksumMismatch(ClipstackError, status=460, code="checksum_mismatch"):
    """The bytes do not match `Upload-Checksum` and were discarded: send them again."""
