"""Requests to Triton and nginx, and runs of programs, each with a timeout."""

import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from email.message import Message
from pathlib import Path
from typing import Any, NamedTuple

from app.settings import Settings
from deploy.doctor.context import Skipped
from deploy.nginx import tls

CALL_TIMEOUT_S = 4.0
COMMAND_TIMEOUT_S = 8.0


class Page(NamedTuple):
    """A response of nginx."""

    status: int
    headers: Message
    body: str


def page(url: str) -> Page:
    """Return nginx's response at `url`, whatever its status and certificate; raise OSError if nginx does not answer."""
    try:
        with urllib.request.urlopen(url, timeout=CALL_TIMEOUT_S, context=tls.unchecked()) as response:
            return Page(response.status, response.headers, response.read(2000).decode(errors="replace"))
    except urllib.error.HTTPError as error:
        with error:
            return Page(error.code, error.headers, error.read(2000).decode(errors="replace"))


def regions(settings: Settings) -> set[str]:
    """Return the names of the shared memory regions that Triton has open; raise Skipped when it does not answer."""
    return set(_ask_triton(settings, "get_system_shared_memory_status").get("regions", {}))


def triton_version(settings: Settings) -> str:
    """Return Triton's version; raise Skipped when it does not answer."""
    return str(_ask_triton(settings, "get_server_metadata")["version"])


def _ask_triton(settings: Settings, method: str) -> dict[str, Any]:
    from tritonclient.utils import InferenceServerException

    from app.inference.channel import connect

    try:
        with connect(settings.triton_target, settings.triton_key, settings.triton_tls) as client:
            return dict(getattr(client, method)(as_json=True, client_timeout=CALL_TIMEOUT_S))
    except InferenceServerException as error:
        raise Skipped(f"Triton does not answer: {error.message()}") from error


def output(
    command: Sequence[str | Path], environment: Mapping[str, str] | None = None, timeout_s: float = COMMAND_TIMEOUT_S
) -> subprocess.CompletedProcess[str]:
    """Run a program and return its result; raise OSError if it cannot be started, TimeoutExpired if it takes longer."""
    return subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout_s,
        check=False,
    )
