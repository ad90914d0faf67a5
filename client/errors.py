"""What can go wrong, told apart by who has to act.

```
ClipstackError                 base of all; carries `code`, `status` and `request_id`
├── RequestRefused             4xx: the file or the question is at fault, and will be again
│   └── KeyRefused             401: the service asks for a key, or does not know this one
├── ServiceFailed              5xx, or an answer that is not Clipstack's: the service is at fault
│   └── ServiceUnavailable     429, 502, 503, 504: busy or restarting, worth another try later
├── JobFailed                  a job ended without a timeline; carries `job_id` and `at_fault`
├── ReductionUnavailable       the client was asked to make the file smaller, and cannot
└── ServiceUnreachable         no answer came, so nothing is known about the request
    ├── ConnectFailed          no connection could be made: nothing was sent
    └── TimedOut               the service, or the way to it, was silent for too long
```

A file that cannot be read here raises the usual `OSError`: it never reached the service.
"""

from __future__ import annotations


class ClipstackError(Exception):
    """Base of every error of the service or of the way to it.

    `code` is the service's own word (`undecodable`, `too_large`, ...) or, when there was no answer,
    `connect_failed`, `timed_out` or `connection_broken`. `status` is the HTTP status and `request_id`
    the number to look for in the service's logs; both are None when no answer came.
    """

    def __init__(self, message: str, *, code: str, status: int | None = None, request_id: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.request_id = request_id


class RequestRefused(ClipstackError):
    """The service will not do this: sending the same again gives the same answer."""


class KeyRefused(RequestRefused):
    """The service asks for a key and got none, or one that it does not know (any more)."""


class ServiceFailed(ClipstackError):
    """The service broke on this request, or what answered is not Clipstack."""


class ServiceUnavailable(ServiceFailed):
    """The service is busy or restarting; `retry_after_s` is the wait it asked for, in seconds, or None."""

    def __init__(
        self,
        message: str,
        *,
        code: str,
        status: int | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, code=code, status=status, request_id=request_id)
        self.retry_after_s = retry_after_s


# Codes of failed jobs that are not about the file: another try may succeed.
_SERVICE_CODES = frozenset(
    {"internal", "inference_failed", "inference_timeout", "not_ready", "overloaded", "storage_full", "unavailable"}
)


class JobFailed(ClipstackError):
    """A job failed or was cancelled; `at_fault` says whether by the `file`, the `service`, or `nobody`."""

    def __init__(self, message: str, *, code: str, job_id: str) -> None:
        super().__init__(message, code=code)
        self.job_id = job_id

    @property
    def at_fault(self) -> str:
        if self.code == "cancelled":
            return "nobody"
        return "service" if self.code in _SERVICE_CODES else "file"


class ReductionUnavailable(ClipstackError):
    """The client's package was installed without what encodes videos: the extra `shrink`."""

    def __init__(self) -> None:
        message = "making videos smaller needs PyAV, in Clipstack's folder: pip install '.[shrink]'"
        super().__init__(message, code="reduction_unavailable")


class ServiceUnreachable(ClipstackError):
    """No whole answer came: whether the request was carried out is not known."""


class ConnectFailed(ServiceUnreachable):
    """No connection could be made, so nothing was sent."""


class TimedOut(ServiceUnreachable):
    """Nothing moved for as long as the time-out allows."""
