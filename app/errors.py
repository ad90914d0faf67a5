"""Everything that can go wrong with a request; each class carries its HTTP status and code.

    access ........ Unauthorized  Forbidden  CsrfFailed  TooManyRequests  KeysUnreadable
    views ......... BadRequest  NotFound  MethodNotAllowed  DeadlineExceeded  ClientGone  Overloaded
      uploads ..... InvalidMultipart  MissingFile  EmptyFile  TooManyFiles  TooLarge  RequestTimeout  StorageFull
      parameters .. InvalidParameter
      jobs ........ JobNotFound  IdempotencyConflict  NotReadyYet  Overloaded  StorageFull
    pipeline ...... Forbidden  Overloaded  WrongMediaKind  DeadlineExceeded  ClientGone
      models ...... ModelNotFound  NotReady
      media ....... UnsupportedMedia
      decoder ..... Undecodable  NoVideoStream  LimitExceeded  DecodeTimeout
      inference ... NotReady  InferenceTimeout  InferenceFailed

The message is for a person who sends a file: no path, no decoder's own words.
"""


class ClipstackError(Exception):
    """Base of all; `status` and `code` are fixed by the class, `retry_after_s` asks the client to come back."""

    status = 500
    code = "internal"
    retry_after_s: int | None = None

    def __init__(self, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        if retry_after_s is not None:
            self.retry_after_s = retry_after_s


class BadRequest(ClipstackError):
    status, code = 400, "bad_request"


class InvalidMultipart(BadRequest):
    code = "invalid_multipart"


class MissingFile(BadRequest):
    code = "missing_file"


class EmptyFile(BadRequest):
    code = "empty_file"


class TooManyFiles(BadRequest):
    code = "too_many_files"


class InvalidParameter(BadRequest):
    code = "invalid_parameter"


class Unauthorized(ClipstackError):
    """No key came with the request, or none that is known."""

    status, code = 401, "unauthorized"


class Forbidden(ClipstackError):
    """The key is good, and this is not for it."""

    status, code = 403, "forbidden"


class CsrfFailed(Forbidden):
    """A change asked for with a session's cookie alone: another site may have sent it."""

    code = "csrf_failed"


class NotFound(ClipstackError):
    status, code = 404, "not_found"


class ModelNotFound(NotFound):
    code = "model_not_found"


class JobNotFound(NotFound):
    code = "job_not_found"


class RequestTimeout(ClipstackError):
    """The upload came too slowly."""

    status, code = 408, "request_timeout"


class IdempotencyConflict(ClipstackError):
    status, code = 409, "idempotency_conflict"


class TimelineNotReady(ClipstackError):
    status, code = 409, "not_ready_yet"


class MethodNotAllowed(ClipstackError):
    status, code = 405, "method_not_allowed"


class TooLarge(ClipstackError):
    status, code = 413, "too_large"


class UnsupportedMedia(ClipstackError):
    status, code = 415, "unsupported_media"


class Undecodable(ClipstackError):
    status, code = 422, "undecodable"


class NoVideoStream(Undecodable):
    code = "no_video_stream"


class LimitExceeded(ClipstackError):
    status, code = 422, "limit_exceeded"


class DecodeTimeout(ClipstackError):
    status, code = 422, "decode_timeout"


class WrongMediaKind(ClipstackError):
    status, code = 422, "wrong_media_kind"


class TooManyRequests(ClipstackError):
    """One key asks for more than its share, while there may be room for others."""

    status, code = 429, "too_many_requests"
    retry_after_s = 1


class ClientDisconnected(ClipstackError):
    """Nobody reads the answer; the status is the one that nginx logs."""

    status, code = 499, "client_gone"


class DeadlineExceeded(ClipstackError):
    """The request's own time was over; unlike Unavailable it does not ask to be sent again."""

    status, code = 504, "deadline_exceeded"


class Unavailable(ClipstackError):
    """The service cannot answer now, and says when to come back."""

    status, code = 503, "unavailable"
    retry_after_s = 2


class Overloaded(Unavailable):
    code = "overloaded"
    retry_after_s = 1


class NotReady(Unavailable):
    code = "not_ready"


class KeyStoreUnavailable(Unavailable):
    """The file of keys is damaged or cannot be read: nobody is let in rather than everybody."""


class InferenceTimeout(Unavailable):
    code = "inference_timeout"


class InferenceFailed(ClipstackError):
    status, code = 500, "inference_failed"


class StorageFull(Unavailable):
    code = "storage_full"
    retry_after_s = 5
