"""The table of all settings: name, type, default, parser and help, each declared once."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from app.settings.parsers import (
    absolute_path,
    between,
    fraction,
    host_list,
    host_port,
    http_url,
    network_list,
    node_list,
    node_name,
    one_of,
    optional_path,
    origin_list,
    receiver_list,
    redis_address,
    source_list,
)

CHECKOUT = Path(__file__).resolve().parents[2]
PREFIX = "CLIPSTACK_"
SAMPLINGS = ("exact", "auto", "keyframe")


def setting(default: Any, parse: Callable[[str], Any], help_text: str) -> Any:
    """Return the field of one setting; `parse` raises ValueError for an invalid text."""
    return field(default=default, metadata={"parse": parse, "help": help_text})


@dataclass(frozen=True)
class SettingsTable:
    """The values of all settings; the environment variable CLIPSTACK_<NAME> sets each."""

    host: str = setting("127.0.0.1", str, "Address nginx listens on.")
    port: int = setting(8080, between(1, 65535), "Port nginx listens on.")
    published: str = setting(
        "",
        str,
        "Published address of a container's port, as in `docker run -p`; (none): the address that nginx listens on.",
    )
    keys: str = setting(
        "auto",
        one_of("auto", "required", "off"),
        "Whether requests need a key (docs/access.md); `auto`: when other machines can reach the service.",
    )
    allowed_hosts: str = setting(
        "",
        host_list,
        "Further host names of this service, separated by commas; `*.example.com`: all subdomains (docs/access.md).",
    )
    origins: str = setting(
        "",
        origin_list,
        "Origins whose web pages may call the API (CORS), such as `https://app.example.com`, separated by commas.",
    )
    tls_cert: str = setting(
        "", optional_path, "Certificate with its chain, PEM: nginx then speaks TLS; (none): plain HTTP."
    )
    tls_key: str = setting("", optional_path, "Private key of that certificate, PEM, without a passphrase.")
    user: str = setting("", str, "When started as root: the user that nginx's workers, web and Triton run as.")
    run_dir: Path = setting(
        CHECKOUT / ".runtime" / "run", absolute_path, "Folder of sockets, logs, uploads and pid files."
    )
    data_dir: Path = setting(
        "", absolute_path, "Folder of uploads, jobs and cached results; (none): `data` in the run folder."
    )
    model_dir: Path = setting(CHECKOUT / "triton_repo" / "models", absolute_path, "Triton's model repository.")
    model: str = setting("camera_motion", str, "Model used when a request names none.")
    picture_model: str = setting("objects", str, "The same for pictures, unless `CLIPSTACK_MODEL` takes pictures.")
    max_upload_mb: int = setting(1024, between(1, 1 << 20), "Largest upload, MiB.")
    max_uploads: int = setting(
        256,
        between(1, 1 << 16),
        "Concurrent uploads of one address where no keys are required; one more is answered 429.",
    )
    min_free_mb: int = setting(
        512,
        between(0, 1 << 20),
        "Free MiB to keep on the disks of uploads and data, at most 5 % of a disk; below: 503 storage_full.",
    )
    fetch: str = setting(
        "",
        source_list,
        "Hosts and buckets that files may be downloaded from, separated by commas: `media.example.com`, "
        "`s3://bucket/folder` (docs/fetch.md); (none): no downloads.",
    )
    fetch_user: str = setting("proxy", str, "When started as root: the user that the program for downloads runs as.")
    fetch_timeout_s: int = setting(60, between(1, 3600), "Longest download for /v1/classify, seconds; then 422.")
    fetch_job_timeout_s: int = setting(1800, between(1, 86400), "Longest download of a job's video, seconds.")
    log_level: str = setting("info", one_of("debug", "info", "warning", "error"), "Least severe log line written.")
    log_format: str = setting(
        "auto", one_of("auto", "json", "text"), "Format of log lines; `auto`: text on a terminal and JSON elsewhere."
    )
    monitors: str = setting(
        "127.0.0.1,::1",
        network_list,
        "Addresses and networks that may read /metrics and /status, separated by commas (docs/monitoring.md).",
    )
    web_workers: int = setting(0, between(0, 256), "Gunicorn worker processes; 0: one for every four CPUs.")
    max_open_uploads: int = setting(
        64,
        between(1, 10_000),
        "Unfinished resumable uploads of one key, or of all clients where no keys are required.",
    )
    open_uploads_gb: int = setting(20, between(1, 1 << 20), "GiB of the same uploads, counted by their whole length.")
    upload_hours: int = setting(
        24, between(1, 8760), "Hours after its last byte for which an unfinished or unused resumable upload is kept."
    )
    max_transfers: int = setting(
        12,
        between(1, 256),
        "Bodies of resumable uploads that one web worker receives at once; one more is answered 503.",
    )
    web_threads: int = setting(
        64, between(1, 1024), "Requests that one worker holds at the same time, waiting ones included."
    )
    max_inflight: int = setting(
        16, between(1, 256), "Most requests that one worker processes at once; it adapts the limit below that."
    )
    max_queue: int = setting(24, between(0, 1024), "Most requests that wait in one worker; one more is answered 503.")
    queue_timeout_s: int = setting(20, between(1, 3600), "Longest wait in the queue or for slots, seconds; then 503.")
    deadline_s: int = setting(30, between(1, 3600), "Deadline of a request without X-Deadline-Ms, seconds; then 504.")
    decoders: int = setting(
        0, between(0, 64), "Decoder processes of one worker; 0: as many as CPUs for each worker, at least 2."
    )
    decoder_device: str = setting(
        "cpu",
        one_of("cpu", "cuda"),
        "Where videos are decoded for models on a GPU: `cuda` keeps their frames there (docs/gpu.md); not for jobs.",
    )
    decode_timeout_s: int = setting(20, between(1, 3600), "Longest probing and decoding of a file, seconds; then 422.")
    sandbox: str = setting(
        "best",
        one_of("best", "required", "off"),
        "Sandbox layers of decoders: all available ones, all or no start, or only limits of memory, time and files.",
    )
    max_pixels: int = setting(
        36_000_000,
        between(1, 1 << 31),
        "Most pixels of one frame or picture; JPEG may have 8 times as many, HEIC and AVIF 1.5 times.",
    )
    max_frames: int = setting(2_000_000, between(1, 1 << 31), "Most frames of one video.")
    max_duration_s: int = setting(4 * 3600, between(1, 1 << 31), "Longest video, seconds.")
    sampling: str = setting(
        "exact",
        one_of(*SAMPLINGS),
        "Default start of clips: `exact`, `auto` (a near key frame) or the nearest `keyframe` (docs/sampling.md).",
    )
    max_clips: int = setting(8, between(1, 64), "Most clips of one request.")
    slots: int = setting(16, between(1, 1024), "Slots of one worker's shared-memory region; each holds one clip.")
    slot_mb: int = setting(5, between(1, 1024), "Size of a slot, MiB: the largest clip of any model must fit.")
    transport: str = setting(
        "auto",
        one_of("auto", "cuda", "shm", "inline"),
        "How clips reach Triton: shared GPU memory, shared host memory, inline in gRPC messages; `auto`: the best one.",
    )
    queue: str = setting(
        "", redis_address, "Job queue: `redis://host:6379/0`, or (none) for a SQLite file in the data folder."
    )
    node: str = setting(
        "",
        node_name,
        "Name of this node, which ids of its jobs and uploads begin with, where several nodes run (docs/nodes.md).",
    )
    nodes: str = setting(
        "",
        node_list,
        "All nodes, as `a=10.0.0.1:8080,b=10.0.0.2:8080`: this node lists their jobs too (docs/nodes.md).",
    )
    redis_url: str = setting(
        "",
        redis_address,
        "Redis or Valkey that all nodes share, for idempotency keys, limits of keys and logins; (none): each node has "
        "its own.",
    )
    job_workers: int = setting(1, between(1, 64), "Jobs that the job worker runs at the same time.")
    max_jobs: int = setting(100, between(1, 100000), "Most jobs that wait or run; one more is answered 503.")
    max_windows: int = setting(100_000, between(1, 1 << 24), "Most windows of one timeline.")
    job_patience_s: int = setting(
        600, between(1, 86400), "Longest Triton outage that a job waits for, seconds; then it fails."
    )
    job_days: int = setting(7, between(1, 3650), "Days for which a finished job and its video are kept.")
    job_gb: int = setting(
        20, between(1, 1 << 20), "GiB of jobs and their videos; beyond it the oldest finished jobs are removed."
    )
    max_kept_jobs: int = setting(
        10_000,
        between(1, 1000000),
        "Finished jobs kept per key, or of all clients where no keys are required; beyond it the oldest are removed.",
    )
    max_watchers: int = setting(8, between(0, 512), "Event streams of jobs that one web worker serves at once.")
    webhooks: str = setting(
        "",
        receiver_list,
        "Hosts that jobs may send webhooks to, separated by commas (docs/webhooks.md); (none): webhooks are off.",
    )
    webhook_secret_file: str = setting(
        "",
        optional_path,
        "Secrets that sign webhooks, one `whsec_...` per line; (none): `webhooks/secret` in the data folder.",
    )
    otel_endpoint: str = setting(
        "",
        http_url,
        "OTLP collector for traces, such as `http://127.0.0.1:4318` (docs/tracing.md); (none): traces are off.",
    )
    results_mb: int = setting(256, between(0, 1 << 20), "Size of the result cache, MiB; 0 turns it off.")
    feedback: str = setting(
        "off",
        one_of("off", "on"),
        "Whether corrections of answers, and unsure answers, are kept with their files (docs/feedback.md).",
    )
    feedback_gb: int = setting(
        10, between(1, 1 << 20), "GiB of files kept for feedback; a correction then displaces unsure answers."
    )
    max_feedback: int = setting(
        10_000, between(1, 1000000), "Most corrections and confirmations kept; one key may have half of them."
    )
    unsure_below: float = setting(
        0.5, fraction, "Answers whose best score is below this are kept as unsure, if feedback is on; 0: none."
    )
    max_unsure: int = setting(
        200, between(0, 1000000), "Most unsure answers kept, for `CLIPSTACK_JOB_DAYS` days; one key may have half."
    )
    search_mb: int = setting(
        256,
        between(1, 1 << 16),
        "Memory of one web worker for searches, MiB, about 2,000 windows each; beyond it only the newest jobs count.",
    )
    triton_address: str = setting(
        "",
        host_port,
        "Triton's gRPC address, `host:port`, in containers or on another machine; (none): a socket in the run folder.",
    )
    triton_key_file: str = setting(
        "", optional_path, "Key of a Triton with a TCP address; (none): `sockets/key` in the run folder."
    )
    triton_tls_ca: str = setting(
        "",
        optional_path,
        "CA (PEM) of the other side's certificate, for TLS between web and Triton. At Triton, clients then need one.",
    )
    triton_tls_cert: str = setting(
        "",
        optional_path,
        "Own certificate (PEM) of Triton, or of web where Triton requires one (docs/remote-triton.md).",
    )
    triton_tls_key: str = setting(
        "", optional_path, "Private key (PEM) of `CLIPSTACK_TRITON_TLS_CERT`, without a passphrase."
    )
    triton_tls_name: str = setting(
        "", str, "Name that Triton's certificate must have; (none): the host of `CLIPSTACK_TRITON_ADDRESS`."
    )
    triton_metrics_port: int = setting(
        0,
        between(0, 65535),
        "TCP port of Triton's metrics, beside its gRPC address or on loopback; 0: only a socket in the run folder.",
    )
    max_processes_per_gpu: int = setting(1, between(1, 16), "Instances of each model on each GPU.")
    gpu_precision: str = setting("bf16", one_of("bf16", "f16", "f32"), "Precision of models on a GPU.")
    gpu_batch: int = setting(16, between(1, 128), "Largest batch of a model on a GPU, clips.")
    infer_timeout_s: int = setting(20, between(1, 3600), "Longest inference of one request, seconds; then 503.")
    restart_patience_s: int = setting(
        10,
        between(0, 60),
        "How long requests retry while Triton restarts, seconds from the start of the outage; then 503 within 2 s.",
    )


class Setting(NamedTuple):
    """One row of the table."""

    name: str
    default: Any
    parse: Callable[[str], Any]
    help: str

    @property
    def variable(self) -> str:
        """Name of the environment variable."""
        return PREFIX + self.name.upper()


SETTINGS = tuple(
    Setting(row.name, row.default, row.metadata["parse"], row.metadata["help"]) for row in fields(SettingsTable)
)
