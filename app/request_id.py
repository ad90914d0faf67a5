"""Which request this thread or task works for: logs and Triton are told it without every function's passing it on."""

from contextvars import ContextVar

# A coroutine that is handed to an event loop keeps that of who handed it over
request_id: ContextVar[str] = ContextVar("request_id", default="")
