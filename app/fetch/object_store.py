"""Objects of S3, Google Cloud Storage and Azure, read and written by obstore.

The endpoint and the credentials come from the fetcher's environment (`AWS_…`, `GOOGLE_…`, `AZURE_…`), never from a
request. A request chooses the bucket and the key, as far as CLIPSTACK_FETCH allows them.
"""

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import from_url

from app.fetch.download import BLOCK_BYTES, SILENCE_S, Sink, check_length, copy
from app.fetch.errors import FetchTimeout, InvalidUrl, SourceStatus, SourceUnreachable
from app.fetch.messages import Limits
from app.fetch.network import CONNECT_S
from app.fetch.policy import bucket_rule
from app.fetch.urls import ObjectAddress
from app.settings.fetch_rules import FetchRules

RETRIES, RETRY_S = 2, 10.0
PREFIXES = ("AWS_", "AZURE_", "GOOGLE_")
MAX_WRITTEN = 64 << 20  # bytes of one result
NAMES = {"s3": "S3", "gs": "Google Cloud Storage", "az": "Azure"}


class ObjectStores:
    """Reads and writes the objects that `rules` allow; `environment` says whether an endpoint needs no TLS."""

    def __init__(self, rules: FetchRules, environment: Mapping[str, str] = os.environ) -> None:
        self._rules = rules
        endpoints = [value for name, value in environment.items() if name.startswith(PREFIXES) and "ENDPOINT" in name]
        self._allow_http = any(value.startswith("http://") for value in endpoints)

    async def download(self, address: ObjectAddress, sink: Sink, limits: Limits) -> None:
        """Write an object to `sink`; raises the errors of app/fetch/errors.py."""
        bucket_rule(self._rules, address)
        with _errors(address, limits):
            async with asyncio.timeout(limits.seconds):
                result = await obstore.get_async(self._store(address, limits), address.key)
                check_length(result.meta["size"], limits)
                await copy(result.stream(min_chunk_size=BLOCK_BYTES // 4), sink, limits)

    async def write(self, address: ObjectAddress, descriptor: int, limits: Limits) -> int:
        """Write the file of a descriptor to an object, and return its bytes; raises as `download`."""
        bucket_rule(self._rules, address, write=True)
        length = os.fstat(descriptor).st_size
        check_length(length, Limits(min(limits.max_bytes, MAX_WRITTEN), limits.seconds))
        content = await asyncio.to_thread(os.pread, descriptor, length, 0)
        attributes: Any = {"Content-Type": "application/json"}
        with _errors(address, limits):
            async with asyncio.timeout(limits.seconds):
                store = self._store(address, limits)
                await obstore.put_async(store, address.key, content, attributes=attributes, use_multipart=False)
        return length

    def _store(self, address: ObjectAddress, limits: Limits) -> Any:
        options: Any = {
            "allow_http": self._allow_http,
            "connect_timeout": timedelta(seconds=CONNECT_S),
            "read_timeout": timedelta(seconds=SILENCE_S),
            "timeout": timedelta(seconds=limits.seconds),
            "user_agent": "Clipstack",
        }
        retries: Any = {"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_S)}
        return from_url(address.origin, client_options=options, retry_config=retries)


@contextmanager
def _errors(address: ObjectAddress, limits: Limits) -> Iterator[None]:
    """Raise this package's errors for obstore's; its messages, which name endpoints, stay in `__cause__`."""
    try:
        yield
    except TimeoutError:
        raise FetchTimeout(f"{address.origin} took longer than {limits.seconds:g} s") from None
    except FileNotFoundError as error:
        raise SourceStatus(f"{address.origin} has no such object, or there is no such bucket") from error
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise SourceStatus(f"{address.origin} refuses this service's credentials") from error
    except ValueError as error:
        raise InvalidUrl(f"{address.origin}: the object's name is not valid") from error
    except BaseError as error:
        raise SourceUnreachable(f"{NAMES[address.store]} cannot be reached for {address.origin}") from error
