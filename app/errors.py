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

    Each class has its HTTP status and the machine-readable code of the response. `retry_after_s` is the value of the
    `Retry-After` header in seconds; None for no header.
    """

    status = 500
    code = "internal"
    retry_after_s: int | None = None

    def __init_subclass__(cls, **attributes: int | str) -> None:
        """Set the attributes that a class names after its base; others are those of the base."""
        for name, value in attributes.items():
            setattr(cls, name, value)

    def __init__(self, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        if retry_after_s is not None:
            self.retry_after_s = retry_after_s


class BadRequest(ClipstackError, status=400, code="bad_request"):
    """The request is malformed."""


class InvalidMultipart(BadRequest, code="invalid_multipart"):
    """The multipart form is damaged or cut off."""


class MissingFile(BadRequest, code="missing_file"):
    """The request has no file: send it as the body, as the form field `file`, or as `file` in JSON."""


class EmptyFile(BadRequest, code="empty_file"):
    """The file has no bytes."""


class TooManyFiles(BadRequest, code="too_many_files"):
    """The request has more files than allowed: one, or 64 pictures for /v1/classify."""


class InvalidParameter(BadRequest, code="invalid_parameter"):
    """A parameter is unknown or invalid, or a header is invalid; the message says what is valid."""


class Unauthorized(ClipstackError, status=401, code="unauthorized"):
    """The request has no API key, or an unknown one."""


class Forbidden(ClipstackError, status=403, code="forbidden"):
    """The API key does not permit this request, or your address may not use this path."""


class CsrfFailed(Forbidden, code="csrf_failed"):
    """The request changes something and carries a browser's session without the page's CSRF token."""


class FeedbackOff(Forbidden, code="feedback_off"):
    """This service keeps no feedback: `CLIPSTACK_FEEDBACK` is off."""


class NotFound(ClipstackError, status=404, code="not_found"):
    """The path does not exist."""


class ModelNotFound(NotFound, code="model_not_found"):
    """There is no model with this name or version; `/v1/models` lists all."""


class JobNotFound(NotFound, code="job_not_found"):
    """There is no job with this id: it was removed, has expired, or belongs to another key."""


class FeedbackNotFound(NotFound, code="feedback_not_found"):
    """There is no feedback with this id: it was removed, or belongs to another key."""


class WebhookNotFound(NotFound, code="webhook_not_found"):
    """There is no webhook with this id: it was removed, has expired, or belongs to another key."""


class RequestTimeout(ClipstackError, status=408, code="request_timeout"):
    """The upload was too slow."""


class IdempotencyConflict(ClipstackError, status=409, code="idempotency_conflict"):
    """This `Idempotency-Key` was used for another file or other parameters."""


class FeedbackFull(ClipstackError, status=409, code="feedback_full"):
    """As many corrections are kept as allowed; remove some."""


class TimelineNotReady(ClipstackError, status=409, code="not_ready_yet"):
    """The job has no result yet; retry in a moment."""


class MethodNotAllowed(ClipstackError, status=405, code="method_not_allowed"):
    """The path does not support this method; `Allow` lists those that it does."""


class TooLarge(ClipstackError, status=413, code="too_large"):
    """The upload is larger than the limit."""


class UnsupportedMedia(ClipstackError, status=415, code="unsupported_media"):
    """The format or codec of the file is not supported."""


class Undecodable(ClipstackError, status=422, code="undecodable"):
    """The file is damaged and cannot be decoded."""


class NoVideoStream(Undecodable, code="no_video_stream"):
    """The file contains no video, for example only sound."""


class LimitExceeded(ClipstackError, status=422, code="limit_exceeded"):
    """The media has more pixels, frames or seconds than the limits allow."""


class DecodeTimeout(ClipstackError, status=422, code="decode_timeout"):
    """Probing and decoding took too long."""


class WrongMediaKind(ClipstackError, status=422, code="wrong_media_kind"):
    """The model expects a video and this is a picture, or the other way round."""


class TooManyRequests(ClipstackError, status=429, code="too_many_requests", retry_after_s=1):
    """The key or address exceeds its rate limit or its number of concurrent requests."""


class RateLimited(TooManyRequests):
    """The key exceeds its rate limit; `headers` are those of its rate, `RateLimit` and `RateLimit-Policy`."""

    def __init__(self, message: str, retry_after_s: int, headers: Mapping[str, str]) -> None:
        super().__init__(message, retry_after_s)
        self.headers = headers


class ClientDisconnected(ClipstackError, status=499, code="client_gone"):
    """The client closed its connection before the response; only the log shows this code."""


class DeadlineExceeded(ClipstackError, status=504, code="deadline_exceeded"):
    """The request's deadline passed: that in `X-Deadline-Ms`, or the service's default."""


class Unavailable(ClipstackError, status=503, code="unavailable", retry_after_s=2):
    """The service cannot answer now; retry later."""


class Overloaded(Unavailable, code="overloaded", retry_after_s=1):
    """The service is at capacity; retry later."""


class NotReady(Unavailable, code="not_ready"):
    """The service or a model is starting or restarting; retry in a moment."""


class NodeAway(Unavailable, code="node_away", retry_after_s=5):
    """The node that this job or upload is on does not answer; it continues when the node is back."""


class KeyStoreUnavailable(Unavailable):
    """The key file is damaged or unreadable; all requests are rejected (fail closed)."""


class InferenceTimeout(Unavailable, code="inference_timeout"):
    """The model did not answer in time."""


class InferenceFailed(ClipstackError, status=500, code="inference_failed"):
    """The model failed on this clip."""


class StorageFull(Unavailable, code="storage_full", retry_after_s=5):
    """The server's disk has no room for the file."""

    def __init__(self, message: str = "the server's disk has no room for this file; please try again later") -> None:
        super().__init__(message)


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
