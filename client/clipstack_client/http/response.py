"""HTTP response, and the error for a status other than 2xx."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from ..errors import ClipstackError, KeyRefused, RequestRefused, ServiceFailed, ServiceUnavailable

UNAVAILABLE_STATUSES = frozenset({429, 502, 503, 504})


@dataclass(frozen=True)
class Response:
    """Complete HTTP response; `content` is its JSON object, empty if there is none, and `body` all its bytes.

    `cache` is `hit` or `miss`, `off` if the service did not use its result cache, None from a service without one.
    `upload_offset` is the number of bytes of a resumable upload that have arrived.
    """

    status: int
    body: bytes
    content: Mapping[str, Any]
    request_id: str | None
    retry_after_s: float | None
    location: str | None
    cache: str | None
    upload_offset: int | None = None


def error_from(response: Response, url: str) -> ClipstackError:
    """Return the error for a response other than 2xx."""
    details = response.content.get("error")
    details = details if isinstance(details, Mapping) else {}
    status, request_id = response.status, details.get("request_id") or response.request_id
    code, message = details.get("code"), details.get("message")
    if 300 <= status < 400:
        text = f"{url} points to {response.location or 'another address'}: use that one"
        return ServiceFailed(text, code="redirected", status=status, request_id=request_id)
    if status in UNAVAILABLE_STATUSES:
        return ServiceUnavailable(
            str(message or f"the service is not available (HTTP {status})"),
            code=str(code or "unavailable"),
            status=status,
            request_id=request_id,
            retry_after_s=response.retry_after_s,
        )
    if code is None or message is None:
        text = f"{url} does not answer like Clipstack (HTTP {status})"
        return ServiceFailed(text, code="unexpected_answer", status=status, request_id=request_id)
    if status == 401:
        text = f"{message} (in Python key=; in a shell CLIPSTACK_KEY or --key-file)"
        return KeyRefused(text, code=str(code), status=status, request_id=request_id)
    kind = RequestRefused if 400 <= status < 500 else ServiceFailed
    return kind(str(message), code=str(code), status=status, request_id=request_id)


def retry_after_s(header: str | None) -> float | None:
    """Return the seconds to wait; the header holds seconds or a date (RFC 9110, 10.2.3)."""
    if header is None:
        return None
    if header.isascii() and header.strip().isdecimal():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())
