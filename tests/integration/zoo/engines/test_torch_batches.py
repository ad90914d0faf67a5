"""Batches of recorded sizes: every clip gets its own scores, in any batch and at any position."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from triton_repo.backends.clip.clip_engines.torch_batches import (
    RECORD_AFTER,
    Batches,
    Network,
    Run,
    cut,
    fastest,
    sizes,
)

SHAPE = (2, 3)


class FakeRecorder:
    """A recorder like that of a GPU: fixed buffers for clips and scores."""

    def __init__(self) -> None:
        self.recorded: list[int] = []
        self.replayed: list[int] = []
        self.failing: int | None = None  # a size that fails for lack of memory

    def __call__(self, network: Network, clips: Tensor) -> Run:
        if len(clips) == self.failing:
            raise RuntimeError("CUDA out of memory")
        self.recorded.append(len(clips))
        scores = network(clips)

        def run() -> Tensor:
            self.replayed.append(len(clips))
            return scores.copy_(network(clips))

        return run


def sums(clips: Tensor) -> Tensor:
    """Return two scores of each clip."""
    flat = clips.flatten(1).float()
    return torch.stack([flat.sum(1), flat[:, 0]], dim=1)


@pytest.fixture
def recorder() -> FakeRecorder:
    return FakeRecorder()


@pytest.fixture
def batches(recorder: FakeRecorder) -> Batches:
    made = Batches(SHAPE, 8, torch.device("cpu"), sums, recorder)
    made.prepare()
    return made


def clips(*counts: int) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randint(0, 256, (count, *SHAPE), dtype=torch.uint8) for count in counts]


@pytest.mark.parametrize(
    ("most", "wanted"),
    [
        (1, [1]),
        (2, [1, 2]),
        (5, [1, 2, 3, 4, 5]),
        (8, [1, 2, 3, 4, 6, 8]),
        (16, [1, 2, 3, 4, 6, 8, 12, 16]),
        (32, [1, 2, 3, 4, 6, 8, 12, 16, 24, 32]),
    ],
)
def test_sizes_that_are_prepared(most: int, wanted: list[int]) -> None:
    assert sizes(most) == wanted


@pytest.mark.parametrize("most", range(1, 129))
def test_batches_are_padded_by_at_most_half(most: int) -> None:
    prepared = sizes(most)
    for count in range(1, most + 1):
        assert next(size for size in prepared if size >= count) <= 1.5 * count


def test_start_records_few_sizes_the_largest_first(recorder: FakeRecorder, batches: Batches) -> None:
    assert recorder.recorded == [8, 1, 4]


def test_size_that_batches_often_miss_is_recorded(recorder: FakeRecorder, batches: Batches) -> None:
    for number in range(RECORD_AFTER + 2):
        torch.testing.assert_close(batches(clips(3)), sums(clips(3)[0]))
        assert recorder.replayed[-1] == (4 if number < RECORD_AFTER else 3)
    assert recorder.recorded == [8, 1, 4, 3]


def test_size_that_cannot_be_recorded_stays_padded(
    recorder: FakeRecorder, batches: Batches, capfd: pytest.CaptureFixture[str]
) -> None:
    recorder.failing = 2
    for _ in range(2 * RECORD_AFTER):
        torch.testing.assert_close(batches(clips(2)), sums(clips(2)[0]))
    assert set(recorder.replayed) == {4}
    assert capfd.readouterr().err.count("batches of 2 stay padded: CUDA out of memory") == 1


@pytest.mark.parametrize("counts", [(1,), (3,), (1, 1, 1, 2), (8,), (5, 4), (20,), (7, 1, 9, 3)])
def test_every_clip_gets_its_own_scores(recorder: FakeRecorder, batches: Batches, counts: tuple[int, ...]) -> None:
    parts = clips(*counts)
    torch.testing.assert_close(batches(parts), sums(torch.cat(parts)))


def test_old_buffer_contents_do_not_matter(batches: Batches) -> None:
    torch.testing.assert_close(batches(clips(8)), sums(clips(8)[0]))
    (five,) = clips(5)
    torch.testing.assert_close(batches([five]), sums(five))  # runs as eight


def test_batch_is_no_larger_than_it_must_be(recorder: FakeRecorder, batches: Batches) -> None:
    for count in (1, 3, 5, 7, 8, 10):
        batches(clips(count))
    assert recorder.replayed == [1, 4, 8, 8, 8, 8, 4]


def test_earlier_scores_are_not_overwritten(batches: Batches) -> None:
    first, second = clips(1, 1)
    answer = batches([first])
    kept = answer.clone()
    batches([second])
    torch.testing.assert_close(answer, kept)


@pytest.mark.parametrize(("counts", "most"), [((1, 2, 3), 4), ((9,), 4), ((4, 4), 4), ((3, 3, 3), 3), ((2,), 8)])
def test_splitting_keeps_the_order_and_fills_batches(counts: tuple[int, ...], most: int) -> None:
    parts = clips(*counts)
    batches = list(cut(parts, most))
    torch.testing.assert_close(torch.cat(list(itertools.chain(*batches))), torch.cat(parts))
    lengths = [sum(map(len, batch)) for batch in batches]
    assert all(length == most for length in lengths[:-1]) and 0 < lengths[-1] <= most


def test_first_choice_stays_unless_another_is_clearly_faster() -> None:
    assert fastest({"first": 1.0, "second": 0.97}) == "first"
    assert fastest({"first": 1.0, "second": 0.9, "third": 0.8}) == "third"
    assert fastest({"only": 1.0}) == "only"


def test_lone_clip_and_full_batch_count_alike(batches: Batches) -> None:
    times = iter([0.002, 0.008])
    assert batches.timed(lambda run: next(times)) == pytest.approx(0.002 * 0.008 / 8)
