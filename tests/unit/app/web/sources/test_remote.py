import dataclasses
from contextlib import ExitStack

import pytest

from app.errors import ClipstackError, TooManyRequests
from app.fetch.errors import FetchDisabled, FetcherUnavailable, HostNotAllowed, InvalidUrl
from app.settings import Settings
from app.web.sources.remote import RemoteFiles

SETTINGS = Settings.from_environment({"CLIPSTACK_FETCH": "media.example.com,s3://films/results!write"})


@pytest.fixture
def remote() -> RemoteFiles:
    return RemoteFiles(dataclasses.replace(SETTINGS, max_queue=12))  # four places


def test_downloads_of_one_worker_are_bounded(remote: RemoteFiles) -> None:
    with ExitStack() as held:
        for _ in range(4):
            held.enter_context(remote.place(""))
        with pytest.raises(FetcherUnavailable) as error, remote.place(""):
            pass
        assert error.value.retry_after_s
    with remote.place(""):
        pass


def test_key_may_use_half_of_the_places(remote: RemoteFiles) -> None:
    with remote.place("one"), remote.place("one"):
        with pytest.raises(TooManyRequests), remote.place("one"):
            pass
        with remote.place("two"):
            pass
    with remote.place("one"):
        pass


def test_place_is_free_after_error(remote: RemoteFiles) -> None:
    for _ in range(5):
        with pytest.raises(HostNotAllowed), remote.place("one"):
            raise HostNotAllowed("")


def test_name_is_the_last_part_of_the_path(remote: RemoteFiles) -> None:
    assert remote.check("https://media.example.com/films/a%20clip%2Fb.mp4?x=1") == "b.mp4"


@pytest.mark.parametrize(
    ("folder", "error"),
    [("s3://films", HostNotAllowed), ("s3://films/results/../x", InvalidUrl), ("/results", InvalidUrl)],
)
def test_folders_that_are_not_for_results(remote: RemoteFiles, folder: str, error: type[ClipstackError]) -> None:
    with pytest.raises(error):
        remote.check_results(folder)


def test_folder_for_results(remote: RemoteFiles) -> None:
    assert remote.check_results("s3://films/results/today//") == "s3://films/results/today"
    assert remote.check_results("") == ""


def test_downloads_are_off_without_rules() -> None:
    remote = RemoteFiles(Settings.from_environment({}))
    assert remote.check_results("") == ""
    for call in (remote.check, remote.check_results):
        with pytest.raises(FetchDisabled):
            call("s3://films/results")
