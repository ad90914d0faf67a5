"""Settings of the service, read from the environment (app/settings/table.py lists them), and what follows from them.

`python -m app.settings` prints all settings with their current values.
"""

import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from app.settings.table import CHECKOUT as CHECKOUT
from app.settings.table import PREFIX as PREFIX
from app.settings.table import SAMPLINGS as SAMPLINGS
from app.settings.table import SETTINGS as SETTINGS
from app.settings.table import SettingsTable

GRPC_SOCKET, METRICS_SOCKET = "grpc:1", "metrics"  # Triton adds a colon and its port to the first
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # listen address: address for clients
# Limits of a key's concurrent uploads: nginx has a location for each (deploy/stack/run_dir.py), web chooses one
UPLOAD_LIMITS = (
    *(3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768),
    *(1024, 1536, 2048, 3072, 4096, 6144),
)
CPUS_OF_WORKER = 4  # one queue for a whole machine is fairer; Python's part is a tenth of a request's CPU time
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container, as Linux shows it inside: "200000 100000" for two CPUs
LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")


def available_cpus() -> int:
    """Return the number of CPUs that this process may use: its affinity, or its container's quota if that is less."""
    cpus = len(os.sched_getaffinity(0))
    try:
        quota, period = CPU_QUOTA.read_text().split()
        return min(cpus, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no container, or "max"
        return cpus


def require_checkout(command: str) -> None:
    """Exit with one sentence unless this code runs from a checkout of Clipstack, or from its image."""
    if not (CHECKOUT / "nginx" / "nginx.conf").is_file():
        sys.exit(f"{command}: this command needs a checkout of Clipstack: run .venv/bin/{command} there")


class InvalidSetting(Exception):
    """An environment variable has a value that its setting does not accept."""


class TritonTls(NamedTuple):
    """Files (PEM) for TLS between Triton and its clients, on either side; an empty text stands for none.

    `ca` is that of the other side's certificate, `cert` the own one with its private `key`, and `name` the one that
    Triton's certificate must have, if it is not the host of its address.
    """

    ca: str
    cert: str = ""
    key: str = ""
    name: str = ""


@dataclass(frozen=True)
class Settings(SettingsTable):
    """The current values of all settings, and values that follow from them."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Return the settings of `environment`.

        Raises InvalidSetting if a value is invalid or contradicts another; the message names the variable.
        """
        values = {}
        for setting in SETTINGS:
            text = environment.get(setting.variable, "")
            try:
                values[setting.name] = setting.parse(text) if text else setting.default
            except ValueError as error:
                raise InvalidSetting(f"{setting.variable}={text!r}: {error}") from error
        values["data_dir"] = values["data_dir"] or values["run_dir"] / "data"
        values["web_workers"] = values["web_workers"] or math.ceil(available_cpus() / CPUS_OF_WORKER)
        values["decoders"] = values["decoders"] or max(2, math.ceil(available_cpus() / values["web_workers"]))
        settings = cls(**values)
        settings._check_combinations()
        return settings

    def _check_combinations(self) -> None:
        if self.max_clips > self.slots:
            raise InvalidSetting(
                f"CLIPSTACK_MAX_CLIPS ({self.max_clips}) is larger than CLIPSTACK_SLOTS ({self.slots}): a request with "
                "so many clips could never start"
            )
        if bool(self.tls_cert) != bool(self.tls_key):
            raise InvalidSetting("CLIPSTACK_TLS_CERT and CLIPSTACK_TLS_KEY belong together: set both or neither")
        if bool(self.triton_tls_cert) != bool(self.triton_tls_key):
            raise InvalidSetting(
                "CLIPSTACK_TRITON_TLS_CERT and CLIPSTACK_TRITON_TLS_KEY belong together: set both or neither"
            )
        if self.decoder_device == "cuda" and self.transport not in ("auto", "cuda"):
            raise InvalidSetting(
                f"CLIPSTACK_DECODER_DEVICE=cuda needs CLIPSTACK_TRANSPORT=auto or cuda: {self.transport} keeps clips "
                "off the GPU"
            )
        if self.decoder_device == "cuda" and self.sandbox == "required":
            raise InvalidSetting(
                "CLIPSTACK_SANDBOX is required, and CLIPSTACK_DECODER_DEVICE is cuda: a decoder on the GPU cannot have "
                "every layer (docs/security.md)"
            )
        if self.nodes and self.node not in self._addresses:
            raise InvalidSetting(
                f"CLIPSTACK_NODES lists {', '.join(self._addresses)}, and CLIPSTACK_NODE is {self.node!r}: set it to "
                "one of them"
            )
        if self.nodes and self.tls:
            raise InvalidSetting(
                "CLIPSTACK_NODES and CLIPSTACK_TLS_CERT exclude each other: nodes reach one another by plain HTTP, and "
                "the load balancer speaks TLS (docs/nodes.md)"
            )
        if self.redis_url and not self.node:
            raise InvalidSetting("CLIPSTACK_REDIS_URL is for several nodes: set CLIPSTACK_NODE to this one's name")
        held = self.max_inflight + self.max_queue + self.max_watchers + self.max_transfers
        if held >= self.web_threads:
            raise InvalidSetting(
                f"CLIPSTACK_WEB_THREADS ({self.web_threads}) must be larger than CLIPSTACK_MAX_INFLIGHT, "
                f"CLIPSTACK_MAX_QUEUE, CLIPSTACK_MAX_WATCHERS and CLIPSTACK_MAX_TRANSFERS together ({held}): one "
                "thread must stay free to refuse a request"
            )

    @property
    def tls(self) -> bool:
        """Whether nginx speaks TLS."""
        return bool(self.tls_cert)

    @property
    def public(self) -> bool:
        """Whether other machines can reach nginx, according to the settings."""
        host = self.published.rpartition(":")[0] if self.published else self.host
        return host not in LOOPBACK

    @property
    def _addresses(self) -> dict[str, str]:
        entries = (entry.partition("=") for entry in self.nodes.split(",") if entry)
        return {name: address for name, _, address in entries}

    @property
    def other_nodes(self) -> dict[str, str]:
        """Names of the other nodes, and the addresses of their nginx, `host:port`."""
        return {name: address for name, address in self._addresses.items() if name != self.node}

    @property
    def triton_sockets(self) -> Path:
        """Folder of Triton's sockets and key; accessible to the service's user alone."""
        return self.run_dir / "sockets"

    @property
    def triton_target(self) -> str:
        """Triton's gRPC target for clients."""
        if not self.triton_address:
            return f"unix:{quote(str(self.triton_sockets / GRPC_SOCKET), safe='/:')}"
        host, _, port = self.triton_address.rpartition(":")
        return f"{ANY_ADDRESS.get(host, host)}:{port}"  # it listens on all addresses: use loopback

    @property
    def triton_key_path(self) -> Path:
        """File of the key for a Triton that listens on TCP."""
        return Path(self.triton_key_file) if self.triton_key_file else self.triton_sockets / "key"

    @property
    def triton_key(self) -> str:
        """Triton's key; empty when Triton listens on a socket or the file is missing."""
        if not self.triton_address:
            return ""
        try:
            return self.triton_key_path.read_text().strip()
        except FileNotFoundError:
            return ""

    @property
    def triton_tls(self) -> TritonTls | None:
        """Files for TLS with Triton; None for plain text, or when Triton listens on a socket."""
        if not self.triton_address or not (self.triton_tls_ca or self.triton_tls_cert):
            return None
        return TritonTls(self.triton_tls_ca, self.triton_tls_cert, self.triton_tls_key, self.triton_tls_name)

    @property
    def longest_answer_s(self) -> int:
        """Longest time from a complete upload to its response, in seconds.

        The sum of the timeouts of a download, admission, slots, probing, decoding, inference and a restart of Triton.
        """
        stages_s = 2 * self.queue_timeout_s + 2 * self.decode_timeout_s + self.infer_timeout_s
        return stages_s + self.restart_patience_s + (self.fetch_timeout_s if self.fetch else 0)

    @property
    def resumable_dir(self) -> Path:
        """Folder of resumable uploads."""
        return self.data_dir / "uploads"

    @property
    def keys_file(self) -> Path:
        """File of the API keys."""
        return self.data_dir / "access" / "keys.json"

    @property
    def webhook_secret_path(self) -> Path:
        """File of the secrets that sign webhooks."""
        return Path(self.webhook_secret_file) if self.webhook_secret_file else self.data_dir / "webhooks" / "secret"

    @property
    def asks_for_keys(self) -> bool:
        """Whether requests need an API key."""
        return self.keys == "required" or (self.keys == "auto" and self.public)

    def environment(self) -> dict[str, str]:
        """Return the environment variables for child processes that reproduce these settings."""
        return {setting.variable: str(getattr(self, setting.name)) for setting in SETTINGS}


def table(settings: Settings) -> str:
    """Return the current settings as a Markdown table."""
    rows = ["| variable | value | meaning |", "|---|---|---|"]
    for setting in SETTINGS:
        value = str(getattr(settings, setting.name)).replace(f"{CHECKOUT}/", "")
        rows.append(f"| `{setting.variable}` | `{value or '(none)'}` | {setting.help} |")
    return "\n".join(rows)
