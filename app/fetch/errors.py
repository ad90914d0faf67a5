"""Errors of downloads; the docstrings stand in the API reference, as those of app/errors.py.

FetchError ................ SourceUnreachable  SourceStatus  SourceEncoded  TooManyRedirects  FetchTimeout
Forbidden ................. FetchDisabled  HostNotAllowed  AddressNotAllowed
BadRequest, TooLarge ...... InvalidUrl  SourceTooLarge
Unavailable ............... FetcherUnavailable
"""

from app.errors import BadRequest, ClipstackError, Forbidden, StorageFull, TooLarge, Unavailable


class InvalidUrl(BadRequest):
    """The URL cannot be used: it is malformed, too long, or has a user name or an unknown scheme."""

    code = "invalid_url"


class FetchDisabled(Forbidden):
    """This service downloads nothing: send the file itself. `CLIPSTACK_FETCH` turns downloads on."""

    code = "fetch_disabled"


class HostNotAllowed(Forbidden):
    """The URL, or a redirect, names a host, port or bucket that `CLIPSTACK_FETCH` does not allow."""

    code = "host_not_allowed"


class AddressNotAllowed(Forbidden):
    """The host has an address that is not public, for example one of a private network."""

    code = "address_not_allowed"


class FetchError(ClipstackError):
    """Base of errors of the other server."""

    status = 422


class SourceUnreachable(FetchError):
    """The other server cannot be reached, or the connection to it broke."""

    code = "source_unreachable"


class SourceStatus(FetchError):
    """The other server did not answer with 200 and the file."""

    code = "source_status"


class SourceEncoded(FetchError):
    """The other server sent the file compressed, although the request asked for it as it is."""

    code = "source_encoded"


class TooManyRedirects(FetchError):
    """The other server redirects too often, or to nowhere."""

    code = "too_many_redirects"


class FetchTimeout(FetchError):
    """The other server was too slow."""

    code = "fetch_timeout"


class SourceTooLarge(TooLarge):
    """The file at the URL is larger than the limit."""

    code = "source_too_large"


class FetcherUnavailable(Unavailable):
    """The program that downloads files is starting, restarting or at capacity; retry in a moment."""

    code = "fetcher_unavailable"


BY_CODE: dict[str, type[ClipstackError]] = {
    kind.code: kind
    for kind in (
        *(InvalidUrl, FetchDisabled, HostNotAllowed, AddressNotAllowed, SourceUnreachable, SourceStatus),
        *(SourceEncoded, TooManyRedirects, FetchTimeout, SourceTooLarge, FetcherUnavailable, StorageFull),
    )
}
