"""The id of the current request as a context variable, for log lines and calls to Triton."""

from contextvars import ContextVar

# A coroutine submitted to an event loop keeps the value of its submitter
request_id: ContextVar[str] = ContextVar("request_id", default="")
