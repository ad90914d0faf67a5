"""Errors of downloads; the docstrings stand in the API reference, as those of app/errors.py.

FetchError ................ SourceUnreachable  SourceStatus  SourceEncoded  TooManyRedirects  FetchTimeout
Forbidden ................. FetchDisabled  HostNotAllowed  AddressNotAllowed
BadRequest, TooLarge ...... InvalidUrl  SourceTooLarge
Unavailable ............... FetcherUnavailable
"""

from app.errors import BadRequest, ClipstackError, Forbidden, StorageFull, TooLarge, Unavailable


class InvalidUrl(BadRequest, code="invalid_url"):
    """The URL cannot be used: it is malformed, too long, or has a user name or an unknown scheme."""


class FetchDisabled(Forbidden, code="fetch_disabled"):
    """This service downloads nothing: send the file itself. `CLIPSTACK_FETCH` turns downloads on."""


class HostNotAllowed(Forbidden, code="host_not_allowed"):
    """The URL, or a redirect, names a host, port or bucket that `CLIPSTACK_FETCH` does not allow."""


class AddressNotAllowed(Forbidden, code="address_not_allowed"):
    """The host has an address that is not public, for example one of a private network."""


class FetchError(ClipstackError, status=422):
    """Base of errors of the other server."""


class SourceUnreachable(FetchError, code="source_unreachable"):
    """The other server cannot be reached, or the connection to it broke."""


class SourceStatus(FetchError, code="source_status"):
    """The other server did not answer with 200 and the file."""


class SourceEncoded(FetchError, code="source_encoded"):
    """The other server sent the file compressed, although the request asked for it as it is."""


class TooManyRedirects(FetchError, code="too_many_redirects"):
    """The other server redirects too often, or to nowhere."""


class FetchTimeout(FetchError, code="fetch_timeout"):
    """The other server was too slow."""


class SourceTooLarge(TooLarge, code="source_too_large"):
    """The file at the URL is larger than the limit."""


class FetcherUnavailable(Unavailable, code="fetcher_unavailable"):
    """The program that downloads files is starting, restarting or at capacity; retry in a moment."""


BY_CODE: dict[str, type[ClipstackError]] = {
    kind.code: kind
    for kind in (
        *(InvalidUrl, FetchDisabled, HostNotAllowed, AddressNotAllowed, SourceUnreachable, SourceStatus),
        *(SourceEncoded, TooManyRedirects, FetchTimeout, SourceTooLarge, FetcherUnavailable, StorageFull),
    )
}
