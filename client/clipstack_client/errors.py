"""Errors, grouped by who has to act.

```
ClipstackError                 base of all; carries `code`, `status` and `request_id`
├── RequestRefused             4xx: the file or the parameters are at fault; a retry fails too
│   └── KeyRefused             401: the service needs a key, or does not know this one
├── ServiceFailed              5xx, or an answer that is not Clipstack's: the service is at fault
│   └── ServiceUnavailable     429, 502, 503, 504: busy or restarting; retry later
├── JobFailed                  a job ended without a timeline; carries `job_id` and `at_fault`
├── DownloadFailed             a file at an https:// address cannot be downloaded, so nothing was sent
├── ReductionUnavailable       a package for smaller uploads is not installed
└── ServiceUnreachable         no answer came, so the outcome of the request is unknown
    ├── ConnectFailed          no connection could be made: nothing was sent
    └── TimedOut               the service, or the connection to it, was silent for too long
```

A local file that cannot be read raises `OSError`: nothing was sent.
"""


class ClipstackError(Exception):
    """Base class of all errors of the service and of the connection to it.

    Attributes:
        message: What happened.
        code: The service's error code (`undecodable`, `too_large`, ...), or without an answer `connect_failed`,
            `timed_out` or `connection_broken`.
        status: HTTP status; None without an answer.
        request_id: Identifier of the request in the service's logs; None without an answer.
    """

    def __init__(self, message: str, *, code: str, status: int | None = None, request_id: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.request_id = request_id


class RequestRefused(ClipstackError):
    """The service refuses the request; sending it again gives the same answer."""


class KeyRefused(RequestRefused):
    """The service needs a key and got none, or one that is unknown or no longer valid."""


class ServiceFailed(ClipstackError):
    """The service failed on this request, or the server is not Clipstack."""


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


# Codes of failed jobs for which the file is not at fault, so that a retry may succeed.
_SERVICE_CODES = frozenset(
    {
        *("internal", "inference_failed", "inference_timeout", "not_ready", "overloaded", "storage_full"),
        *("unavailable", "fetcher_unavailable"),
    }
)


class JobFailed(ClipstackError):
    """A job failed or was cancelled."""

    def __init__(self, message: str, *, code: str, job_id: str) -> None:
        super().__init__(message, code=code)
        self.job_id = job_id

    @property
    def at_fault(self) -> str:
        """Return who is at fault: `file`, `service` or, for a cancelled job, `nobody`."""
        if self.code == "cancelled":
            return "nobody"
        return "service" if self.code in _SERVICE_CODES else "file"


class DownloadFailed(ClipstackError):
    """A file at an https:// address cannot be downloaded."""


class ReductionUnavailable(ClipstackError):
    """The package is installed without the extra `shrink`, which encodes videos."""

    def __init__(self) -> None:
        message = "making videos smaller needs PyAV: in Clipstack's checkout, pip install './client[shrink]'"
        super().__init__(message, code="reduction_unavailable")


class ServiceUnreachable(ClipstackError):
    """No complete answer came; the outcome of the request is unknown."""


class ConnectFailed(ServiceUnreachable):
    """No connection could be made, so nothing was sent."""


class TimedOut(ServiceUnreachable):
    """No data moved within the timeout."""
