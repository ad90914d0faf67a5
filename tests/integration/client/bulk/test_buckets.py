"""`clipstack bulk` from a bucket to a bucket, against a real S3 on this machine."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Iterator

import obstore
import pytest
from obstore.store import S3Store

from clipstack_client.bulk.source import Entry, list_source, opened
from clipstack_client.bulk.stores import open_store
from clipstack_client.bulk.stores.buckets import BucketStore
from clipstack_client.bulk.stores.interface import StoreFailed
from tests.support.client_process import Running
from tests.support.client_service import MP4, Received, RecordedService, Reply, recorded_service
from tests.support.s3_server import REGION, S3Server, s3_server

FILES = [f"films/{index // 10}/{index:03}.mp4" for index in range(40)]


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        server.make_bucket("archive")
        for index, key in enumerate(FILES):
            server.put(f"archive/{key}", MP4 + bytes([index]))
        server.put("archive/films/notes.txt", b"no video")
        server.put("archive/large/large.mp4", MP4 + bytes(9 << 20))
        yield server


def parts(bucket: str, s3: S3Server) -> dict[str, bytes]:
    config = {"endpoint": s3.url, "region": REGION, "access_key_id": "testing", "secret_access_key": "testing"}
    store = S3Store(bucket, config=config, client_options={"allow_http": True})  # type: ignore[arg-type]
    names = [meta["path"] for chunk in obstore.list(store) for meta in chunk]
    return {name: bytes(obstore.get(store, name).bytes()) for name in names}


def slow(service: RecordedService) -> None:
    usual = service.reply_to

    def reply(request: Received) -> Reply:
        time.sleep(0.3)
        return usual(request)

    service.reply_to = reply  # type: ignore[method-assign]


def test_killed_run_continues_from_the_journal_in_the_bucket(s3: S3Server) -> None:
    s3.make_bucket("results")
    words = ["bulk", "s3://archive/films", "--to", "s3://results/first", "--part-files", "16", "--format", "jsonl"]
    with recorded_service() as service:
        slow(service)
        running = Running(service, *words)
        running.until(lambda: any("/journal/" in name for name in parts("results", s3)))
        running.end(signal.SIGKILL)
        done_before = sum(
            content.count(b"\n") for name, content in parts("results", s3).items() if name.endswith(".jsonl")
        )
        last = Running(service, *words)
        assert last.process.wait(60) == 0
        last.process.communicate()
        sent = Counter(request.headers["x-file-name"] for request in service.received if request.method == "POST")
    files = parts("results", s3)
    assert not [name for name in files if "/journal/" in name]
    lines = [
        json.loads(line)
        for name in sorted(files)
        if name.startswith("first/part-")
        for line in files[name].splitlines()
    ]
    assert [line["file"] for line in lines] == [f"s3://archive/{key}" for key in FILES]
    assert lines[0]["media"]["bytes"] == len(MP4) + 1
    repeated = sum(sent.values()) - len(FILES)
    assert repeated <= len(FILES) - done_before


def test_only_media_files_of_a_prefix_are_listed(s3: S3Server) -> None:
    entries = list_source("s3://archive/films/1")
    assert [entry.file for entry in entries] == [f"s3://archive/{key}" for key in FILES[10:20]]
    assert all(entry.size == len(MP4) + 1 and entry.version for entry in entries)


@pytest.mark.parametrize("size", [None, 9 << 20, 1])
def test_object_is_read_whole_or_in_blocks(s3: S3Server, size: int | None) -> None:
    with opened(Entry("s3://archive/large/large.mp4", size)) as file:
        assert file.name == "large.mp4"  # type: ignore[union-attr]
        content = file.read()  # type: ignore[union-attr]
        assert (content[: len(MP4)], len(content)) == (MP4, len(MP4) + (9 << 20))
        file.seek(4)  # type: ignore[union-attr]
        assert file.read(4) == b"ftyp"  # type: ignore[union-attr]


def test_store_of_a_bucket_creates_once_and_removes_folders(s3: S3Server) -> None:
    s3.make_bucket("store")
    store = open_store("s3://store/a")
    assert store.create("x/one.json", b"1") and not store.create("x/one.json", b"2")
    store.write("x/two.json", b"2")
    assert (store.read("x/one.json"), store.names("x"), store.names()) == (b"1", ["one.json", "two.json"], [])
    assert store.exists("x/two.json") and not store.exists("x/three.json")
    store.remove("x")
    assert store.names("x") == []
    with pytest.raises(FileNotFoundError):
        store.read("x/one.json")


def test_missing_bucket_is_reported(s3: S3Server) -> None:
    with pytest.raises(StoreFailed, match="s3://none"):
        list_source("s3://none/films")
    with pytest.raises(StoreFailed, match="s3://none"):
        BucketStore("s3://none/results").create("a", b"")
