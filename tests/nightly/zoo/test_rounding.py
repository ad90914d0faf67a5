"""Answers in bf16 of networks that are fitted to generated scenes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from tests.nightly.zoo import rounding
from tests.nightly.zoo.classifiers import FITTED, HELD_OUT, classifier, filmed_clip, label_of, normalised
from tests.nightly.zoo.rounding import ACCUMULATED, F32, REAL, Held
from tests.support.parity import add
from triton_repo.zoo.architectures.catalog import published
from triton_repo.zoo.architectures.x3d import x3d
from triton_repo.zoo.benchmark.accuracy import row
from triton_repo.zoo.export.reference import Clips, Scores

CLIPS, REALLY, LABELS = 40, 2, 20
SPECS = {
    "resnet18": replace(published("resnet18").spec, crop=64),
    "x3d_xs": replace(published("x3d_xs").spec, frames=2, crop=48),
}


def judge(exact: Scores, rounded: Scores) -> None:
    truth = np.array([label_of(HELD_OUT, number, LABELS) for number in range(CLIPS)])
    assert (exact.argmax(axis=1) == truth).mean() >= 0.5, f"of {LABELS} labels"
    compared = row(rounding.BF16, "filmed", rounded, exact)
    assert compared.good, compared
    assert compared.ties < CLIPS / 4, compared


def test_fitted_picture_network_agrees_in_bf16(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    model = add("resnet18", tmp_path, partial(classifier, labels=LABELS), SPECS["resnet18"])
    scores = rounding.looked_at(model, tmp_path, Held(SPECS["resnet18"], len(model.labels), LABELS), CLIPS, REALLY)
    assert [len(scores[way]) for way in (F32, ACCUMULATED, REAL)] == [CLIPS, CLIPS, REALLY]
    judge(scores[F32], scores[ACCUMULATED])
    np.testing.assert_allclose(scores[ACCUMULATED][:REALLY], scores[REAL], atol=2e-2)


def test_a_fitted_video_network_does_too(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    known, spec = published("x3d_xs"), SPECS["x3d_xs"]
    network = x3d("x3d_xs", len(known.labels)).eval()
    network.load_state_dict(torch.load(classifier(tmp_path, "x3d_xs", spec, LABELS), weights_only=True)["model_state"])
    some = torch.cat([normalised([filmed_clip(HELD_OUT, number, spec, LABELS)], known) for number in range(CLIPS)])
    with torch.inference_mode():
        exact = network(some).softmax(1).numpy()
        with torch.autocast("cpu", torch.bfloat16), rounding.Accumulating():
            rounded = network(some).float().softmax(1).numpy()
    assert np.abs(exact - rounded).max() > 1e-4, "nothing was rounded"
    judge(exact, rounded)


def test_stopped_run_resumes(tmp_path: Path) -> None:
    inferred = []

    def light(clip: Clips) -> Scores:
        inferred.append(clip)
        return np.asarray(clip.mean(axis=(1, 2, 3), dtype=np.float32))

    held = Held(SPECS["x3d_xs"], 3)
    first = rounding.answered({F32: light}, {F32: 2}, "light", tmp_path, held)
    with (tmp_path / f"light.{F32}").open("ab") as file:
        file.write(b"half of it")
    more = rounding.answered({F32: light}, {F32: 4}, "light", tmp_path, held)
    assert len(inferred) == 4
    assert (tmp_path / f"light.{F32}").stat().st_size == 4 * 3 * 4
    np.testing.assert_array_equal(more[F32][:2], first[F32])
    np.testing.assert_array_equal(more[F32], np.concatenate([light(clip) for clip in list(inferred)]))
    assert len(rounding.answered({F32: light}, {F32: 1}, "light", tmp_path, held)[F32]) == 1


def test_accumulating_sums_bf16_in_float32() -> None:
    numbers = torch.ones(1, 1000, dtype=torch.bfloat16)
    weights = torch.full((1, 1000), 1 + 2**-7, dtype=torch.bfloat16)
    whole = torch.ones(1, 1000), torch.full((1, 1000), 1 + 2**-7)
    with rounding.Accumulating():
        rounded = torch.nn.functional.linear(numbers, weights)
        exact = torch.nn.functional.linear(*whole)
    assert rounded.dtype == torch.bfloat16
    assert float(rounded) == float(torch.tensor(1007.8125).bfloat16())
    assert exact.dtype == torch.float32


def test_clips_match_only_their_own_label() -> None:
    spec = SPECS["x3d_xs"]
    one, same = (filmed_clip(HELD_OUT, 7, spec) for _ in range(2))
    np.testing.assert_array_equal(one.frames, same.frames)
    assert one.frames.shape == (1, 2, 48, 48, 3)
    assert one.label == label_of(HELD_OUT, 57)
    for other in (filmed_clip(HELD_OUT, 57, spec), filmed_clip(FITTED, 7, spec)):
        assert np.abs(one.frames.astype(int) - other.frames).max() > 20
