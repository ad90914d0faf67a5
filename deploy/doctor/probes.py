"""What is asked of others, with an end to every wait: Triton by gRPC, nginx by HTTP, a program by its output."""

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
    """An answer of nginx."""

    status: int
    headers: Message
    body: str


def page(url: str) -> Page:
    """What nginx answers, whatever the status and the certificate; raises OSError when it does not."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it has another name than loopback's
    try:
        with urllib.request.urlopen(url, timeout=CALL_S, context=context) as answer:
            return Page(answer.status, answer.headers, answer.read(2000).decode(errors="replace"))
    except urllib.error.HTTPError as error:
        with error:
            return Page(error.code, error.headers, error.read(2000).decode(errors="replace"))


def regions(settings: Settings) -> set[str]:
    """Names of the regions of shared memory that Triton has open; raises Unchecked while it is away."""
    from tritonclient.utils import InferenceServerException

    from app.inference.channel import connect

    try:
        with connect(settings.triton_target, settings.triton_key) as triton:
            return set(triton.get_system_shared_memory_status(as_json=True, client_timeout=CALL_S).get("regions", {}))
    except InferenceServerException as error:
        raise Skipped(f"Triton does not answer: {error.message()}") from error


def triton_version(settings: Settings) -> str:
    """As Triton tells it; raises Unchecked while it is away."""
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
    """Run a program to its end; raises OSError or TimeoutExpired."""
    return subprocess.run(
        words, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
        timeout=limit_s, check=False,
    )  # fmt: skip
