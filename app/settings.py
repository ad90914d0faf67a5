"""All settings in one table of name, default and help; values come from the environment.

`python -m app.settings` prints the table with the current values.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

CHECKOUT = Path(__file__).resolve().parent.parent
PREFIX = "CLIPSTACK_"
SAMPLINGS = ("exact", "keyframe")
GRPC_SOCKET, METRICS_SOCKET = "grpc:1", "metrics"  # Triton adds a colon and its port to the first
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # listen address: address for clients
LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")


class Setting(NamedTuple):
    """One row of the table; `parse` raises ValueError for a text that is not valid."""

    name: str
    default: Any
    parse: Callable[[str], Any]
    help: str


def _between(low: float, high: float) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise ValueError(f"must be between {low:g} and {high:g}")
        return value

    return parse


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text

    return parse


def _path(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _file(text: str) -> str:
    return str(_path(text))


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise ValueError("must be host:port, such as triton:8001")
    return text


def _networks(text: str) -> str:
    for part in text.split(","):
        ip_network(part.strip())
    return ",".join(part.strip() for part in text.split(","))


_HOST = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*(:\d{1,5})?|\[[0-9a-f:.]+\](:\d{1,5})?")


def _hosts(text: str) -> str:
    names = [part.strip().lower().removesuffix(".") for part in text.split(",") if part.strip()]
    for name in names:
        if not _HOST.fullmatch(name):
            raise ValueError(f"{name} is no host: write clips.example.com, *.example.com or [::1], no URL")
    return ",".join(names)


def _redis(text: str) -> str:
    if not text.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must begin with redis://, rediss:// or unix://")
    return text


_port = _between(1, 65535)

SETTINGS = (
    Setting("host", "127.0.0.1", str, "Address nginx listens on."),
    Setting("port", 8080, _port, "Port nginx listens on."),
    Setting(
        "published", "", str,
        "Address at which others reach a container's port, as `docker run -p` takes it; (none): what nginx listens on.",
    ),
    Setting(
        "keys", "auto", _one_of("auto", "required", "off"),
        "Whether requests need a key (docs/access.md): `auto` when others than this machine can reach the service.",
    ),
    Setting(
        "allowed_hosts", "", _hosts,
        "Names or addresses by which requests may call this service, separated by commas, besides its own "
        "(docs/access.md); `*.example.com` is every name below one.",
    ),
    Setting("tls_cert", "", _file, "Certificate with its chain, PEM: nginx then speaks TLS; (none): plain HTTP."),
    Setting("tls_key", "", _file, "Private key of that certificate, PEM, without a passphrase."),
    Setting("user", "", str, "When started as root: the user that nginx's workers, web and Triton run as."),
    Setting("run_dir", CHECKOUT / ".runtime" / "run", _path, "Folder of sockets, logs, uploads and pid files."),
    Setting("data_dir", "", _path, "Folder of uploads, jobs and kept answers; (none): `data` in the run folder."),
    Setting("model_dir", CHECKOUT / "triton_repo" / "models", _path, "Triton's model repository."),
    Setting("model", "camera_motion", str, "Model used when a request names none."),
    Setting("max_upload_mb", 1024, _between(1, 1 << 20), "Largest upload, MiB."),
    Setting(
        "max_uploads", 256, _between(1, 1 << 16),
        "Uploads that one address may have under way at a time where no keys are asked for; one more is 429.",
    ),
    Setting(
        "min_free_mb", 512, _between(0, 1 << 20),
        "MiB that stay free on the disks of uploads and of data, of a small disk a twentieth; below: 503 storage_full.",
    ),
    Setting("log_level", "info", _one_of("debug", "info", "warning", "error"), "Least severe log line written."),
    Setting(
        "log_format", "auto", _one_of("auto", "json", "text"),
        "Lines of the log: JSON, words for a person, or words on a terminal and JSON elsewhere.",
    ),
    Setting(
        "monitors", "127.0.0.1,::1", _networks,
        "Addresses and networks that may ask for /metrics and /status, separated by commas (docs/monitoring.md).",
    ),
    Setting("web_workers", 2, _between(1, 256), "Gunicorn worker processes."),
    Setting("web_threads", 56, _between(1, 1024), "Requests one worker holds at the same time, waiting ones included."),
    Setting("max_inflight", 16, _between(1, 256), "Most requests one worker has at work; it finds what is best below."),
    Setting("max_queue", 24, _between(0, 1024), "Requests that one worker holds besides; one more is answered 503."),
    Setting("queue_timeout_s", 20, _between(1, 3600), "Longest wait in that queue, or for slots, seconds; then 503."),
    Setting("deadline_s", 30, _between(1, 3600), "Time of a request that tells no X-Deadline-Ms, seconds; then 504."),
    Setting("decoders", 2, _between(1, 64), "Decoder processes of one worker."),
    Setting(
        "decoder_device", "cpu", _one_of("cpu", "cuda"),
        "Where videos are decoded for models on a GPU: `cuda` keeps their frames there (docs/gpu.md); not for jobs.",
    ),
    Setting("decode_timeout_s", 20, _between(1, 3600), "Longest probing and decoding of a file, seconds; then 422."),
    Setting(
        "sandbox", "best", _one_of("best", "required", "off"),
        "Layers around decoder processes: as many as can be had here, all of them or no start, "
        "or limits of memory, time and files alone.",
    ),
    Setting(
        "max_pixels", 36_000_000, _between(1, 1 << 31),
        "Most pixels of one frame or picture; JPEG may have 8 times as many, HEIC and AVIF 1.5 times.",
    ),  # fmt: skip
    Setting("max_frames", 2_000_000, _between(1, 1 << 31), "Most frames of one video."),
    Setting("max_duration_s", 4 * 3600, _between(1, 1 << 31), "Longest video, seconds."),
    Setting(
        "sampling", "exact", _one_of(*SAMPLINGS),
        "Where clips begin when a request does not say: `exact`, or at the nearest `keyframe` (docs/sampling.md).",
    ),
    Setting("max_clips", 8, _between(1, 64), "Most clips of one request."),
    Setting("slots", 16, _between(1, 1024), "Slots of one worker's shared-memory region; each holds one clip."),
    Setting("slot_mb", 5, _between(1, 1024), "Size of a slot, MiB: the largest clip of any model must fit."),
    Setting(
        "transport", "auto", _one_of("auto", "cuda", "shm", "inline"),
        "How clips reach Triton: memory shared on the GPU or on the host, inline in the gRPC message, "
        "or the best of these that works.",
    ),
    Setting("queue", "", _redis, "Job queue: `redis://host:6379/0`, or (none) for a SQLite file in the data folder."),
    Setting("job_workers", 1, _between(1, 64), "Jobs that the job worker does at the same time."),
    Setting("max_jobs", 100, _between(1, 100_000), "Jobs that may wait or be at work; one more is answered 503."),
    Setting("max_windows", 100_000, _between(1, 1 << 24), "Most windows of one timeline."),
    Setting("job_patience_s", 600, _between(1, 86_400), "Longest wait of a job for Triton, seconds; then it fails."),
    Setting("job_days", 7, _between(1, 3650), "Days for which a finished job and its video are kept."),
    Setting("job_gb", 20, _between(1, 1 << 20), "GiB of jobs and their videos beyond which the oldest finished go."),
    Setting(
        "max_kept_jobs", 10_000, _between(1, 1_000_000),
        "Finished jobs kept of one key, or of all where no keys are asked for; beyond it the oldest go.",
    ),
    Setting("max_watchers", 8, _between(0, 512), "Clients that follow jobs by events, of one web worker."),
    Setting("results_mb", 256, _between(0, 1 << 20), "MiB of answers kept by the file's content; 0 turns this off."),
    Setting(
        "triton_address", "", _address,
        "Triton's gRPC address, `host:port`, in containers or on another machine; (none): a socket in the run folder.",
    ),
    Setting(
        "triton_key_file", "", _file, "Key of a Triton with a TCP address; (none): `sockets/key` in the run folder."
    ),
    Setting(
        "triton_metrics_port", 0, _between(0, 65535),
        "TCP port of Triton's metrics, beside its gRPC address or on loopback; 0: a socket in the run folder alone.",
    ),
    Setting("max_processes_per_gpu", 1, _between(1, 16), "Instances of each model on each GPU."),
    Setting("gpu_precision", "bf16", _one_of("bf16", "f16", "f32"), "Precision of models on a GPU."),
    Setting("gpu_batch", 16, _between(1, 128), "Most clips that a model on a GPU calculates at once."),
    Setting("infer_timeout_s", 20, _between(1, 3600), "Longest inference of one request, seconds; then 503."),
    Setting(
        "restart_patience_s", 10, _between(0, 60),
        "How long requests wait for a Triton that is restarted, seconds from when it went; then 503 within 2 s.",
    ),
)  # fmt: skip


class InvalidSetting(Exception):
    """An environment variable has a value that its setting does not accept."""


@dataclass(frozen=True)
class Settings:
    """The current values; one attribute per row of SETTINGS."""

    host: str
    port: int
    published: str
    keys: str
    allowed_hosts: str
    tls_cert: str
    tls_key: str
    user: str
    run_dir: Path
    data_dir: Path
    model_dir: Path
    model: str
    max_upload_mb: int
    max_uploads: int
    min_free_mb: int
    log_level: str
    log_format: str
    monitors: str
    web_workers: int
    web_threads: int
    max_inflight: int
    max_queue: int
    queue_timeout_s: int
    deadline_s: int
    decoders: int
    decoder_device: str
    decode_timeout_s: int
    sandbox: str
    max_pixels: int
    max_frames: int
    max_duration_s: int
    sampling: str
    max_clips: int
    slots: int
    slot_mb: int
    transport: str
    queue: str
    job_workers: int
    max_jobs: int
    max_windows: int
    job_patience_s: int
    job_days: int
    job_gb: int
    max_kept_jobs: int
    max_watchers: int
    results_mb: int
    triton_address: str
    triton_key_file: str
    triton_metrics_port: int
    max_processes_per_gpu: int
    gpu_precision: str
    gpu_batch: int
    infer_timeout_s: int
    restart_patience_s: int

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Return the settings of `environment`, read from `CLIPSTACK_<NAME>` for every row.

        Raises:
            InvalidSetting: A value is invalid or contradicts another; the message names the variable.
        """
        values = {}
        for setting in SETTINGS:
            variable = PREFIX + setting.name.upper()
            text = environment.get(variable, "")
            try:
                values[setting.name] = setting.parse(text) if text else setting.default
            except ValueError as error:
                raise InvalidSetting(f"{variable}={text!r}: {error}") from error
        values["data_dir"] = values["data_dir"] or values["run_dir"] / "data"
        settings = cls(**values)
        if settings.max_clips > settings.slots:
            raise InvalidSetting("CLIPSTACK_MAX_CLIPS is larger than CLIPSTACK_SLOTS: such a request could never start")
        if bool(settings.tls_cert) != bool(settings.tls_key):
            raise InvalidSetting("CLIPSTACK_TLS_CERT and CLIPSTACK_TLS_KEY belong together: set both or neither")
        if settings.decoder_device == "cuda" and settings.transport not in ("auto", "cuda"):
            raise InvalidSetting("CLIPSTACK_DECODER_DEVICE is cuda, and CLIPSTACK_TRANSPORT keeps clips off the GPU")
        if settings.decoder_device == "cuda" and settings.sandbox == "required":
            raise InvalidSetting(
                "CLIPSTACK_SANDBOX is required, and CLIPSTACK_DECODER_DEVICE is cuda: a decoder on the GPU cannot have "
                "every layer (docs/security.md)"
            )
        if settings.max_inflight + settings.max_queue + settings.max_watchers >= settings.web_threads:
            raise InvalidSetting(
                "CLIPSTACK_WEB_THREADS must be larger than CLIPSTACK_MAX_INFLIGHT, CLIPSTACK_MAX_QUEUE and "
                "CLIPSTACK_MAX_WATCHERS together: one more request must be told that all is full"
            )
        return settings

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
    def longest_answer_s(self) -> int:
        """Longest time from a complete upload to its response, in seconds.

        The sum of the timeouts of admission, slots, probing, decoding, inference and a restart of Triton.
        """
        stages_s = 2 * self.queue_timeout_s + 2 * self.decode_timeout_s + self.infer_timeout_s
        return stages_s + self.restart_patience_s

    @property
    def keys_file(self) -> Path:
        """File of the API keys."""
        return self.data_dir / "access" / "keys.json"

    @property
    def asks_for_keys(self) -> bool:
        """Whether requests need an API key."""
        return self.keys == "required" or (self.keys == "auto" and self.public)

    def environment(self) -> dict[str, str]:
        """Return the environment variables for child processes that reproduce these settings."""
        return {PREFIX + setting.name.upper(): str(getattr(self, setting.name)) for setting in SETTINGS}


def table(settings: Settings) -> str:
    """Return the current settings as a Markdown table."""
    rows = ["| variable | value | meaning |", "|---|---|---|"]
    for setting in SETTINGS:
        value = str(getattr(settings, setting.name)).replace(f"{CHECKOUT}/", "")
        rows.append(f"| `{PREFIX}{setting.name.upper()}` | `{value or '(none)'}` | {setting.help} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table(Settings.from_environment()))
