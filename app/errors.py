"""Errors of a request. Each class carries its HTTP status and its code.

Raised by:

    auth ............. Unauthorized  Forbidden  CsrfFailed  TooManyRequests  KeyStoreUnavailable
    web .............. BadRequest  NotFound  MethodNotAllowed  DeadlineExceeded  ClientDisconnected  Overloaded
      uploads ........ InvalidMultipart  MissingFile  EmptyFile  TooManyFiles  TooLarge  RequestTimeout  StorageFull
      params ......... InvalidParameter
      jobs ........... JobNotFound  IdempotencyConflict  TimelineNotReady  Overloaded  StorageFull
    pipeline ......... Forbidden  Overloaded  WrongMediaKind  DeadlineExceeded  ClientDisconnected
      admission ...... Overloaded  TooManyRequests
      media .......... UnsupportedMedia
      decoding ....... Undecodable  NoVideoStream  LimitExceeded  DecodeTimeout
      inference ...... ModelNotFound  NotReady  InferenceTimeout  InferenceFailed

Messages address the person who sent the file: they contain no paths and no decoder output.
"""


class ClipstackError(Exception):
    """Base of all errors of a request.

    Attributes:
        status: HTTP status, fixed by the class.
        code: Machine-readable code in the response, fixed by the class.
        retry_after_s: Value of the `Retry-After` header in seconds; None for no header.
    """

    status = 500
    code = "internal"
    retry_after_s: int | None = None

    def __init__(self, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        if retry_after_s is not None:
            self.retry_after_s = retry_after_s


class BadRequest(ClipstackError):
    """The request is malformed."""

    status, code = 400, "bad_request"


class InvalidMultipart(BadRequest):
    """The multipart body cannot be parsed."""

    code = "invalid_multipart"


class MissingFile(BadRequest):
    """The request contains no file."""

    code = "missing_file"


class EmptyFile(BadRequest):
    """The uploaded file has no bytes."""

    code = "empty_file"


class TooManyFiles(BadRequest):
    """The request contains more than one file."""

    code = "too_many_files"


class InvalidParameter(BadRequest):
    """A parameter or header has a value that the service does not accept."""

    code = "invalid_parameter"


class Unauthorized(ClipstackError):
    """The request has no API key, or an unknown one."""

    status, code = 401, "unauthorized"


class Forbidden(ClipstackError):
    """The API key is valid but does not permit this request."""

    status, code = 403, "forbidden"


class CsrfFailed(Forbidden):
    """A changing request is authenticated by the session cookie alone: another site may have sent it."""

    code = "csrf_failed"


class NotFound(ClipstackError):
    """The path or resource does not exist."""

    status, code = 404, "not_found"


class ModelNotFound(NotFound):
    """No model has this name."""

    code = "model_not_found"


class JobNotFound(NotFound):
    """No job has this id."""

    code = "job_not_found"


class RequestTimeout(ClipstackError):
    """The upload was slower than the minimum rate."""

    status, code = 408, "request_timeout"


class IdempotencyConflict(ClipstackError):
    """The `Idempotency-Key` was used before with a different request."""

    status, code = 409, "idempotency_conflict"


class TimelineNotReady(ClipstackError):
    """No window of the job's timeline has been computed yet."""

    status, code = 409, "not_ready_yet"


class MethodNotAllowed(ClipstackError):
    """The path exists but does not support the HTTP method."""

    status, code = 405, "method_not_allowed"


class TooLarge(ClipstackError):
    """The upload is larger than the limit."""

    status, code = 413, "too_large"


class UnsupportedMedia(ClipstackError):
    """The file is in a format that the service does not read."""

    status, code = 415, "unsupported_media"


class Undecodable(ClipstackError):
    """The file is damaged and cannot be decoded."""

    status, code = 422, "undecodable"


class NoVideoStream(Undecodable):
    """The file contains no video stream."""

    code = "no_video_stream"


class LimitExceeded(ClipstackError):
    """The media exceeds a limit, for example on pixels, frames, duration or memory."""

    status, code = 422, "limit_exceeded"


class DecodeTimeout(ClipstackError):
    """Probing and decoding took longer than `decode_timeout_s`."""

    status, code = 422, "decode_timeout"


class WrongMediaKind(ClipstackError):
    """The model does not accept this kind of media, for example a picture for a video model."""

    status, code = 422, "wrong_media_kind"


class TooManyRequests(ClipstackError):
    """One client, identified by API key or address, exceeds its share or quota; others may still be served."""

    status, code = 429, "too_many_requests"
    retry_after_s = 1


class ClientDisconnected(ClipstackError):
    """The client closed its connection; the status is the one that nginx logs."""

    status, code = 499, "client_gone"


class DeadlineExceeded(ClipstackError):
    """The request's deadline has passed; unlike Unavailable, the response has no `Retry-After`."""

    status, code = 504, "deadline_exceeded"


class Unavailable(ClipstackError):
    """The service cannot answer now; `Retry-After` says when to retry."""

    status, code = 503, "unavailable"
    retry_after_s = 2


class Overloaded(Unavailable):
    """The service is at capacity."""

    code = "overloaded"
    retry_after_s = 1


class NotReady(Unavailable):
    """A part of the service is not running or not reachable."""

    code = "not_ready"


class KeyStoreUnavailable(Unavailable):
    """The key file is damaged or unreadable; all requests are rejected (fail closed)."""


class InferenceTimeout(Unavailable):
    """Inference took longer than `infer_timeout_s`."""

    code = "inference_timeout"


class InferenceFailed(ClipstackError):
    """The model failed on this input."""

    status, code = 500, "inference_failed"


class StorageFull(Unavailable):
    """The disk has no room for the upload or job."""

    code = "storage_full"
    retry_after_s = 5
