"""Requests to Triton and nginx, and runs of programs, each with a timeout."""

from __future__ import annotations

import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from email.message import Message
from pathlib import Path
from typing import NamedTuple

from app.settings import Settings
from deploy.doctor.context import Skipped

CALL_S = 4.0
COMMAND_S = 8.0


class Page(NamedTuple):
    """A response of nginx."""

    status: int
    headers: Message
    body: str


def page(url: str) -> Page:
    """Return nginx's response at `url`, whatever its status and certificate.

    Raises:
        OSError: nginx does not answer.
    """
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the certificate does not name loopback
    try:
        with urllib.request.urlopen(url, timeout=CALL_S, context=context) as response:
            return Page(response.status, response.headers, response.read(2000).decode(errors="replace"))
    except urllib.error.HTTPError as error:
        with error:
            return Page(error.code, error.headers, error.read(2000).decode(errors="replace"))


def regions(settings: Settings) -> set[str]:
    """Return the names of the shared memory regions that Triton has open; raise Skipped when it does not answer."""
    from tritonclient.utils import InferenceServerException

    from app.inference.channel import connect

    try:
        with connect(settings.triton_target, settings.triton_key) as triton:
            return set(triton.get_system_shared_memory_status(as_json=True, client_timeout=CALL_S).get("regions", {}))
    except InferenceServerException as error:
        raise Skipped(f"Triton does not answer: {error.message()}") from error


def triton_version(settings: Settings) -> str:
    """Return Triton's version; raise Skipped when it does not answer."""
    from tritonclient.utils import InferenceServerException

    from app.inference.channel import connect

    try:
        with connect(settings.triton_target, settings.triton_key) as triton:
            return str(triton.get_server_metadata(as_json=True, client_timeout=CALL_S)["version"])
    except InferenceServerException as error:
        raise Skipped(f"Triton does not answer: {error.message()}") from error


def output(
    words: Sequence[str | Path], environment: Mapping[str, str] | None = None, limit_s: float = COMMAND_S
) -> subprocess.CompletedProcess[str]:
    """Run a program and return its result.

    Raises:
        OSError: The program cannot be started.
        TimeoutExpired: It took longer than `limit_s`.
    """
    return subprocess.run(
        words, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
        timeout=limit_s, check=False,
    )  # fmt: skip
