"""`clipstack bulk` with the engine `local`: one row a file, whatever happens to the service or to the command."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from clipstack_client.cli import main
from tests.support.archives import RAY_PYTHON, archive, parquet_rows, rows_of
from tests.support.client_process import Running
from tests.support.client_service import (
    MEDIA,
    MP4,
    Received,
    RecordedService,
    Reply,
    recorded_service,
    refusal,
)

Run = Callable[..., Result]
PLACES = 4  # files at the same time


@pytest.fixture
def service() -> Iterator[RecordedService]:
    with recorded_service() as service:
        yield service


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return archive(tmp_path / "archive", 60)


@pytest.fixture
def bulk(service: RecordedService, tmp_path: Path, files: list[Path]) -> Run:
    """Runs `clipstack bulk` on the archive, with parts of 16 files."""

    def run(*arguments: str | Path, source: str | Path = tmp_path / "archive", url: str = service.url) -> Result:
        words = ["bulk", source, "--to", tmp_path / "results", "--part-files", "16", *arguments]
        if "--format" not in arguments:
            words += ["--format", "jsonl"]
        return CliRunner(env={"CLIPSTACK_URL": url}).invoke(main, [str(word) for word in words])

    return run


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


def sent(service: RecordedService) -> Counter[str]:
    """Return the number of uploads of each file."""
    return Counter(request.headers["x-file-name"] for request in service.received if request.method == "POST")


def replying(service: RecordedService, reply: Callable[[Received], Reply | None]) -> None:
    """Let `reply` answer, where it has an answer."""
    usual = service.reply_to
    service.reply_to = lambda request: reply(request) or usual(request)  # type: ignore[method-assign]


def test_every_file_has_one_row(bulk: Run, service: RecordedService, files: list[Path], results: Path) -> None:
    done = bulk()
    assert (done.exit_code, "60 files in" in done.stderr) == (0, True), done.stderr
    rows = rows_of(results)
    assert [row["file"] for row in rows] == [str(path) for path in files]
    assert {len(path.read_text().splitlines()) for path in results.glob("part-*.jsonl")} == {16, 12}
    assert (rows[0]["model"], rows[0]["predictions"][0]["label"], rows[0]["error_code"]) == (
        "camera_motion",
        "pan_left",
        None,
    )
    assert rows[0]["media"] == {**MEDIA, "bytes": len(MP4) + 4}
    assert set(sent(service).values()) == {1}
    assert not (results / "_clipstack" / "journal").exists() or not list((results / "_clipstack" / "journal").iterdir())


def test_csv_has_a_column_for_each_fact(bulk: Run, results: Path) -> None:
    assert bulk("--format", "csv").exit_code == 0
    rows = rows_of(results)
    assert (len(rows), rows[0]["media_codec"], rows[0]["media_duration_s"]) == (60, "h264", "10.0")
    assert json.loads(rows[0]["predictions"])[0]["label"] == "pan_left"


@pytest.mark.skipif(not RAY_PYTHON.exists(), reason="no environment with pyarrow: deploy/setup ray")
def test_parquet_folder_is_one_data_set(service: RecordedService, files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "archive" / "broken.mp4").write_bytes(b"no video")
    (tmp_path / "archive" / "\udcff.mp4").write_bytes(MP4)  # a name that is no UTF-8
    words = ["bulk", tmp_path / "archive", "--to", tmp_path / "results", "--part-files", 16, "--url", service.url]
    import subprocess

    command = [RAY_PYTHON, "-m", "clipstack_client", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    rows = parquet_rows(tmp_path / "results")
    assert len(rows) == len({row["file"] for row in rows}) == 62
    assert [row["error_code"] for row in rows if row["error_code"]] == ["unsupported_media"]
    assert rows[0]["media"]["duration_s"] == 10.0
    assert [prediction["label"] for prediction in rows[0]["predictions"]][:2] == ["pan_left", "static"]


def test_killed_run_continues_without_repeating_finished_files(
    service: RecordedService, tmp_path: Path, files: list[Path], results: Path
) -> None:
    replying(service, lambda request: time.sleep(0.02) if request.method == "POST" else None)
    words = ["bulk", tmp_path / "archive", "--to", results, "--part-files", "16", "--format", "jsonl"]
    for stop_at in (7, 25, 44):  # in the middle of parts
        running = Running(service, *words)
        running.until(lambda stop_at=stop_at: len(sent(service)) >= stop_at)
        running.end(signal.SIGKILL)
        assert len(rows_of(results)) < 60
    last = Running(service, *words)
    assert last.process.wait(30) == 0
    last.process.communicate()
    assert sorted(row["file"] for row in rows_of(results)) == [str(path) for path in files]
    # Only files that were under way at a kill were sent again
    assert sum(sent(service).values()) <= 60 + 3 * PLACES


@pytest.mark.usefixtures("interruptible")
def test_interrupted_run_says_how_to_continue(service: RecordedService, tmp_path: Path, files: list[Path]) -> None:
    replying(service, lambda request: time.sleep(0.05) if request.method == "POST" else None)
    running = Running(service, "bulk", tmp_path / "archive", "--to", tmp_path / "results", "--format", "jsonl")
    running.until(lambda: len(sent(service)) >= 10)
    code, err = running.end(signal.SIGINT)
    assert (code, "not done: the same command continues" in err) == (130, True)


def test_bad_files_have_rows_with_their_error(
    bulk: Run, service: RecordedService, files: list[Path], results: Path
) -> None:
    files[3].write_bytes(b"no video")
    files[5].unlink()
    files[5].symlink_to("nowhere")
    done = bulk()
    assert done.exit_code == 1
    assert "with errors: " in done.stderr
    errors = {row["file"]: (row["error_code"], row["attempts"]) for row in rows_of(results) if row["error_code"]}
    assert errors == {str(files[3]): ("unsupported_media", 1), str(files[5]): ("missing_file", 1)}
    before = len(service.received)
    assert bulk().exit_code == 0  # nothing is left to do
    assert sent(service)[files[3].name] == 1 and len(service.received) == before + 1  # the check of the service


def test_busy_service_rests_as_long_as_it_asks(bulk: Run, service: RecordedService, results: Path) -> None:
    arrivals: list[float] = []

    def busy(request: Received) -> Reply | None:
        if request.method != "POST":
            return None
        arrivals.append(time.monotonic())
        return refusal(429, "too_many_requests", ("Retry-After", "1")) if len(arrivals) == 20 else None

    replying(service, busy)
    assert bulk("--patience", "0").exit_code == 0
    assert len(rows_of(results)) == 60
    # Files that were under way arrive in the moment of the refusal
    assert not [at for at in arrivals if 0.5 < at - arrivals[19] < 1.0]
    assert sum(sent(service).values()) == 61


def test_file_that_breaks_the_service_is_recorded_and_may_be_repeated(
    bulk: Run, service: RecordedService, files: list[Path], results: Path
) -> None:
    broken = True

    def reply(request: Received) -> Reply | None:
        poison = request.headers.get("x-file-name") == files[20].name
        return refusal(500, "inference_failed") if broken and poison else None

    replying(service, reply)
    assert bulk("--retries", "2").exit_code == 1
    (row,) = [row for row in rows_of(results) if row["error_code"]]
    assert (row["file"], row["error_code"], row["error_status"], row["attempts"]) == (
        str(files[20]),
        "inference_failed",
        500,
        3,
    )
    broken = False
    assert bulk().exit_code == 0  # a finished run has nothing to do
    assert sent(service)[files[20].name] == 3
    assert bulk("--retry-errors").exit_code == 0
    rows = rows_of(results)
    assert len(rows) == 60 and not [row for row in rows if row["error_code"]]
    assert sum(sent(service).values()) == 60 + 3


def test_changed_source_is_noticed(bulk: Run, files: list[Path], results: Path, tmp_path: Path) -> None:
    assert bulk("--shard", "1/4").exit_code == 0
    (tmp_path / "archive" / "new.mp4").write_bytes(MP4)
    files[2].write_bytes(MP4 * 2)
    done = bulk()
    assert done.exit_code == 2
    assert "1 new" in done.stderr and "1 changed" in done.stderr and "--keep-list" in done.stderr
    assert bulk("--keep-list").exit_code == 0
    assert [row["file"] for row in rows_of(results)] == [str(path) for path in files]


def test_results_of_other_parameters_are_refused(bulk: Run) -> None:
    assert bulk("--shard", "1/4").exit_code == 0
    done = bulk("--top-k", "2")
    assert (done.exit_code, "top_k=5, not 2" in done.stderr) == (2, True)


def test_shards_divide_the_work(bulk: Run, service: RecordedService, files: list[Path], results: Path) -> None:
    assert [bulk("--shard", f"{shard}/3").exit_code for shard in (3, 1, 2)] == [0, 0, 0]
    assert [row["file"] for row in rows_of(results)] == [str(path) for path in files]
    assert set(sent(service).values()) == {1}
    assert bulk("--shard", "4/3").exit_code == 2


def test_two_services_share_the_files_and_one_may_be_away(bulk: Run, service: RecordedService, results: Path) -> None:
    with recorded_service() as other:
        done = bulk(url=f"{service.url},{other.url},http://127.0.0.1:9")
        assert (done.exit_code, len(rows_of(results))) == (0, 60), done.stderr
        assert sent(service) and sent(other)
        assert sum((sent(service) + sent(other)).values()) == 60


def test_service_that_is_lost_ends_the_run_and_keeps_the_rows(
    bulk: Run, service: RecordedService, results: Path, files: list[Path]
) -> None:
    gone = threading.Event()

    def reply(request: Received) -> Reply | None:
        if len(sent(service)) > 30:
            gone.set()
        return refusal(503, "unavailable", ("Retry-After", "1")) if gone.is_set() and request.method == "POST" else None

    replying(service, reply)
    done = bulk("--max-outage", "0.5", "--patience", "0")
    assert (done.exit_code, "has answered nothing for" in done.stderr) == (3, True), done.stderr
    del service.reply_to
    service.received.clear()
    assert bulk().exit_code == 0
    assert len(sent(service)) <= 60 - 30 + PLACES
    assert sorted(row["file"] for row in rows_of(results)) == [str(path) for path in files]


@pytest.mark.parametrize(
    ("options", "words"), [(["--model", "none"], "has no model"), (["--labels", "x"], "will not do")]
)
def test_wrong_parameters_end_the_run_at_once(
    bulk: Run, service: RecordedService, options: list[str], words: str
) -> None:
    replying(service, lambda request: refusal(400, "invalid_parameter") if request.method == "POST" else None)
    done = bulk(*options)
    assert (done.exit_code, words in done.stderr) == (3, True), done.stderr
    assert sum(sent(service).values()) <= PLACES


def test_timelines_have_segments_and_leave_no_job(
    bulk: Run, service: RecordedService, results: Path, tmp_path: Path
) -> None:
    for path in sorted((tmp_path / "archive").glob("*/*"))[6:]:
        path.unlink()
    assert bulk("--timeline").exit_code == 0
    rows = rows_of(results)
    assert len(rows) == 6
    assert all(row["segments"] and row["predictions"] is None for row in rows)
    assert service.jobs.records(10, "all", "") == []


def test_dry_run_estimates_and_writes_nothing(bulk: Run, service: RecordedService, results: Path) -> None:
    done = bulk("--dry-run", "--sample", "12", "--price", "3.6")
    assert done.exit_code == 0, done.stderr
    assert not results.exists()
    assert sum(sent(service).values()) == 12
    for words in ("60, ", "12 files", "files/s", "10 min", "per hour of video", "in all"):
        assert words in done.stderr


def test_list_names_files_once(bulk: Run, files: list[Path], results: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"# two files\n{files[1]}\n{files[0]}\n\n{files[1]}\n")
    assert bulk(source=tmp_path / "list.txt").exit_code == 0
    assert [row["file"] for row in rows_of(results)] == [str(files[0]), str(files[1])]
    assert bulk(source=tmp_path / "nothing").exit_code == 2


def test_parquet_without_pyarrow_says_what_to_do(bulk: Run) -> None:
    with suppress(ImportError):
        import pyarrow  # noqa: F401

        pytest.skip("this environment has pyarrow")
    done = bulk("--format", "parquet")
    assert (done.exit_code, "use --format jsonl" in done.stderr) == (2, True)
