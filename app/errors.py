"""Errors of a request. Each class carries its HTTP status and its code; its docstring stands in the API reference.

Raised by:

    auth ............. Unauthorized  Forbidden  CsrfFailed  TooManyRequests  KeyStoreUnavailable
    nodes ............ NodeAway
    web .............. BadRequest  NotFound  MethodNotAllowed  DeadlineExceeded  ClientDisconnected  Overloaded
      uploads ........ InvalidMultipart  MissingFile  EmptyFile  TooManyFiles  TooLarge  RequestTimeout  StorageFull
      params ......... InvalidParameter
      jobs ........... JobNotFound  IdempotencyConflict  TimelineNotReady  Overloaded  StorageFull
      feedback ....... FeedbackOff  FeedbackNotFound  FeedbackFull  JobNotFound  StorageFull
      webhooks ....... WebhookNotFound
    pipeline ......... Forbidden  Overloaded  WrongMediaKind  DeadlineExceeded  ClientDisconnected
      admission ...... Overloaded  TooManyRequests
      media .......... UnsupportedMedia
      decoding ....... Undecodable  NoVideoStream  LimitExceeded  DecodeTimeout
      inference ...... ModelNotFound  NotReady  InferenceTimeout  InferenceFailed

Messages address the person who sent the file: they contain no paths and no decoder output.
"""

import errno
from collections.abc import Mapping


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
    """The multipart form is damaged or cut off."""

    code = "invalid_multipart"


class MissingFile(BadRequest):
    """The request has no file: send it as the body, as the form field `file`, or as `file` in JSON."""

    code = "missing_file"


class EmptyFile(BadRequest):
    """The file has no bytes."""

    code = "empty_file"


class TooManyFiles(BadRequest):
    """The request has more files than allowed: one, or 64 pictures for /v1/classify."""

    code = "too_many_files"


class InvalidParameter(BadRequest):
    """A parameter is unknown or invalid, or a header is invalid; the message says what is valid."""

    code = "invalid_parameter"


class Unauthorized(ClipstackError):
    """The request has no API key, or an unknown one."""

    status, code = 401, "unauthorized"


class Forbidden(ClipstackError):
    """The API key does not permit this request, or your address may not use this path."""

    status, code = 403, "forbidden"


class CsrfFailed(Forbidden):
    """The request changes something and carries a browser's session without the page's CSRF token."""

    code = "csrf_failed"


class FeedbackOff(Forbidden):
    """This service keeps no feedback: `CLIPSTACK_FEEDBACK` is off."""

    code = "feedback_off"


class NotFound(ClipstackError):
    """The path does not exist."""

    status, code = 404, "not_found"


class ModelNotFound(NotFound):
    """There is no model with this name or version; `/v1/models` lists all."""

    code = "model_not_found"


class JobNotFound(NotFound):
    """There is no job with this id: it was removed, has expired, or belongs to another key."""

    code = "job_not_found"


class FeedbackNotFound(NotFound):
    """There is no feedback with this id: it was removed, or belongs to another key."""

    code = "feedback_not_found"


class WebhookNotFound(NotFound):
    """There is no webhook with this id: it was removed, has expired, or belongs to another key."""

    code = "webhook_not_found"


class RequestTimeout(ClipstackError):
    """The upload was too slow."""

    status, code = 408, "request_timeout"


class IdempotencyConflict(ClipstackError):
    """This `Idempotency-Key` was used for another file or other parameters."""

    status, code = 409, "idempotency_conflict"


class FeedbackFull(ClipstackError):
    """As many corrections are kept as allowed; remove some."""

    status, code = 409, "feedback_full"


class TimelineNotReady(ClipstackError):
    """The job has no result yet; retry in a moment."""

    status, code = 409, "not_ready_yet"


class MethodNotAllowed(ClipstackError):
    """The path does not support this method; `Allow` lists those that it does."""

    status, code = 405, "method_not_allowed"


class TooLarge(ClipstackError):
    """The upload is larger than the limit."""

    status, code = 413, "too_large"


class UnsupportedMedia(ClipstackError):
    """The format or codec of the file is not supported."""

    status, code = 415, "unsupported_media"


class Undecodable(ClipstackError):
    """The file is damaged and cannot be decoded."""

    status, code = 422, "undecodable"


class NoVideoStream(Undecodable):
    """The file contains no video, for example only sound."""

    code = "no_video_stream"


class LimitExceeded(ClipstackError):
    """The media has more pixels, frames or seconds than the limits allow."""

    status, code = 422, "limit_exceeded"


class DecodeTimeout(ClipstackError):
    """Probing and decoding took too long."""

    status, code = 422, "decode_timeout"


class WrongMediaKind(ClipstackError):
    """The model expects a video and this is a picture, or the other way round."""

    status, code = 422, "wrong_media_kind"


class TooManyRequests(ClipstackError):
    """The key or address exceeds its rate limit or its number of concurrent requests."""

    status, code = 429, "too_many_requests"
    retry_after_s = 1


class RateLimited(TooManyRequests):
    """The key exceeds its rate limit; `headers` are those of its rate, `RateLimit` and `RateLimit-Policy`."""

    def __init__(self, message: str, retry_after_s: int, headers: Mapping[str, str]) -> None:
        super().__init__(message, retry_after_s)
        self.headers = headers


class ClientDisconnected(ClipstackError):
    """The client closed its connection before the response; only the log shows this code."""

    status, code = 499, "client_gone"


class DeadlineExceeded(ClipstackError):
    """The request's deadline passed: that in `X-Deadline-Ms`, or the service's default."""

    status, code = 504, "deadline_exceeded"


class Unavailable(ClipstackError):
    """The service cannot answer now; retry later."""

    status, code = 503, "unavailable"
    retry_after_s = 2


class Overloaded(Unavailable):
    """The service is at capacity; retry later."""

    code = "overloaded"
    retry_after_s = 1


class NotReady(Unavailable):
    """The service or a model is starting or restarting; retry in a moment."""

    code = "not_ready"


class NodeAway(Unavailable):
    """The node that this job or upload is on does not answer; it continues when the node is back."""

    code = "node_away"
    retry_after_s = 5


class KeyStoreUnavailable(Unavailable):
    """The key file is damaged or unreadable; all requests are rejected (fail closed)."""


class InferenceTimeout(Unavailable):
    """The model did not answer in time."""

    code = "inference_timeout"


class InferenceFailed(ClipstackError):
    """The model failed on this clip."""

    status, code = 500, "inference_failed"


class StorageFull(Unavailable):
    """The server's disk has no room for the file."""

    code = "storage_full"
    retry_after_s = 5


_LACKING = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM))


def is_lack_of_resources(error: BaseException | None) -> bool:
    """Return whether an error, or one that led to it, is a lack of file descriptors, memory or threads."""
    while error is not None:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _LACKING):
            return True
        if isinstance(error, RuntimeError) and "start new thread" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
