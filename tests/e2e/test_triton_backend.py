"""The backend `clip` inside the real Triton server, called over gRPC."""

from __future__ import annotations

import copy
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tritonclient import grpc

from tests.support import failing_model
from tests.support.networks import served_picture, served_video, write_f32_model
from tests.support.stacks import until
from tests.support.triton_server import forget_region, running_triton
from triton_repo.backends.clip.clip_engines import precision
from triton_repo.backends.clip.clip_engines.accuracy import Agreement
from triton_repo.backends.clip.clip_engines.precision import PrecisionRecord
from triton_repo.zoo.architectures.trained import replace_last_layer
from triton_repo.zoo.export.openvino import example_clips
from triton_repo.zoo.export.precision import has_bf16
from triton_repo.zoo.repository import engine_config
from triton_repo.zoo.spec import NetworkSpec, ServedNetwork

SERVED = {"video": served_video(), "picture": served_picture()}
CLOSE = Agreement(clips=32, ties=0, largest=0.01, mean=0.001, same=1.0, top_1=1.0)
RECORDS = {"close": CLOSE, "far": CLOSE._replace(mean=0.1), "unrecorded": CLOSE}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """The server's folder: its log and its models; `broken` cannot be loaded, `failing` cannot infer some clips."""
    with tempfile.TemporaryDirectory(prefix="triton-") as name:
        folder = Path(name)
        for model, served in SERVED.items():
            write_f32_model(served, model, folder / "models")
        for model, agreement in RECORDS.items():
            copy = shutil.copytree(folder / "models" / "video", folder / "models" / model)
            config = (copy / "config.pbtxt").read_text().replace('name: "video"', f'name: "{model}"')
            (copy / "config.pbtxt").write_text(engine_config.with_engine(config, "openvino", "auto"))
            PrecisionRecord(agreement, is_native=True).write(copy / "1")
        (folder / "models" / "unrecorded" / "1" / precision.FILE).unlink()
        broken = shutil.copytree(folder / "models" / "video", folder / "models" / "broken")
        config = (broken / "config.pbtxt").read_text()
        (broken / "config.pbtxt").write_text(config.replace('name: "video"', 'name: "broken"'))
        (broken / "labels.txt").write_text("one\n")
        failing_model.write_model(folder / "models" / "failing")
        yield folder


@pytest.fixture(scope="module")
def triton(folder: Path) -> Iterator[grpc.InferenceServerClient]:
    with running_triton(folder / "models", folder) as client:
        yield client


def wanted(served: NetworkSpec, clips: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        scores: np.ndarray = ServedNetwork(served).eval()(torch.from_numpy(clips)).numpy()
    return scores


def inline(clips: np.ndarray) -> list[grpc.InferInput]:
    tensor = grpc.InferInput("CLIP", clips.shape, "UINT8")
    tensor.set_data_from_numpy(clips)
    return [tensor]


@pytest.mark.parametrize("model", SERVED)
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_scores_are_those_of_torch(triton: grpc.InferenceServerClient, model: str, batch: int) -> None:
    clips = example_clips(SERVED[model], batch)
    scores = triton.infer(model, inline(clips)).as_numpy("SCORES")
    assert scores.shape == (batch, len(SERVED[model].labels))
    np.testing.assert_allclose(scores, wanted(SERVED[model], clips), atol=1e-4)


def test_clips_are_read_from_shared_memory_at_their_offset(triton: grpc.InferenceServerClient) -> None:
    clips, offset = example_clips(SERVED["video"], 2), 4096
    name = f"clipstack-{os.getpid()}-backend"
    path = Path("/dev/shm", name)
    path.write_bytes(bytes(offset) + clips.tobytes())
    try:
        triton.register_system_shared_memory(name, f"/{name}", path.stat().st_size)
        try:
            tensor = grpc.InferInput("CLIP", clips.shape, "UINT8")
            tensor.set_shared_memory(name, clips.nbytes, offset)
            scores = triton.infer("video", [tensor]).as_numpy("SCORES")
            # The same request again, after other clips were put in the place of the first.
            with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as region:
                region[offset : offset + clips.nbytes] = clips[::-1].tobytes()
            swapped = triton.infer("video", [tensor]).as_numpy("SCORES")
        finally:
            forget_region(triton, name)
    finally:
        path.unlink()
    np.testing.assert_allclose(scores, wanted(SERVED["video"], clips), atol=1e-4)
    np.testing.assert_allclose(swapped, scores[::-1], atol=1e-6)


def test_requests_at_same_time_each_get_their_own_answer(triton: grpc.InferenceServerClient) -> None:
    clips = example_clips(SERVED["video"], 24)
    before = triton.get_inference_statistics("video").model_stats[0]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda one: triton.infer("video", inline(one[None])), clips))
    scores = np.concatenate([answer.as_numpy("SCORES") for answer in answers])
    np.testing.assert_allclose(scores, wanted(SERVED["video"], clips), atol=1e-4)

    def more() -> tuple[int, int]:
        """Return inferences and executions since `before`; an answer is sent before it is counted."""
        after = triton.get_inference_statistics("video").model_stats[0]
        return after.inference_count - before.inference_count, after.execution_count - before.execution_count

    until(lambda: more()[0] >= 24, 10)
    inferences, executions = more()
    assert inferences == 24
    assert executions < 24, "no two requests shared an execution"


def fingerprint(triton: grpc.InferenceServerClient, model: str, precision: str = "f32") -> bytes:
    clips = example_clips(SERVED["video" if model in ("video", *RECORDS) else "picture"], 1)
    values = triton.infer(model, inline(clips), parameters={"clipstack_fingerprint": True}).as_numpy("SCORES")
    assert values[0, 0] == -1
    content = bytes(values[0, 1:].astype(np.uint8))
    assert content[32:].decode().split()[0] == precision
    return content[:32]


@pytest.mark.parametrize("model", SERVED)
def test_features_follow_scores_on_request(triton: grpc.InferenceServerClient, model: str) -> None:
    served = SERVED[model]
    clips = example_clips(served, 3)
    headless = copy.deepcopy(served.network)
    replace_last_layer(headless, torch.nn.Identity())
    with torch.no_grad():
        features = ServedNetwork(replace(served, network=headless)).eval().logits(torch.from_numpy(clips)).numpy()
    with ThreadPoolExecutor(8) as pool:  # requests of both kinds share batches
        plain = pool.map(lambda _: triton.infer(model, inline(clips)).as_numpy("SCORES"), range(6))
        parameters = {"clipstack_features": True}
        full = pool.map(
            lambda _: triton.infer(model, inline(clips), parameters=parameters).as_numpy("SCORES"), range(6)
        )
        for scores in plain:
            np.testing.assert_allclose(scores, wanted(served, clips), atol=1e-4)
        for rows in full:
            np.testing.assert_allclose(rows[:, : len(served.labels)], wanted(served, clips), atol=1e-4)
            np.testing.assert_allclose(rows[:, len(served.labels) :], features, atol=1e-4 * features.max())


def test_precision_follows_record_where_cpu_has_bf16(triton: grpc.InferenceServerClient) -> None:
    best = "bf16" if has_bf16() else "f32"
    for model, expected in {"close": best, "far": "f32", "unrecorded": "f32"}.items():
        fingerprint(triton, model, expected)


def test_fingerprint_of_answers_is_stable(triton: grpc.InferenceServerClient) -> None:
    clips = example_clips(SERVED["video"], 12)
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(fingerprint, triton, "video") for _ in range(12)]
        answers = list(pool.map(lambda one: triton.infer("video", inline(one[None])), clips))
        fingerprints = {item.result() for item in futures}
    assert len(fingerprints) == 1
    scores = np.concatenate([answer.as_numpy("SCORES") for answer in answers])
    np.testing.assert_allclose(scores, wanted(SERVED["video"], clips), atol=1e-4)
    assert fingerprint(triton, "picture") not in fingerprints


def test_other_configuration_labels_or_weights_have_another_fingerprint(
    triton: grpc.InferenceServerClient, folder: Path
) -> None:
    seen = []
    for name, old, new in (
        ("config.pbtxt", b'"72"', b'"72"'),
        ("config.pbtxt", b'"72"', b'"73"'),
        ("labels.txt", b"ant", b"aunt"),
        ("1/model.xml", b"</net>", b"</net> "),
        ("config.pbtxt", b'"72"', b'"72"'),
    ):
        other = shutil.copytree(folder / "models" / "picture", folder / "models" / "other")
        config = (other / "config.pbtxt").read_text()
        (other / "config.pbtxt").write_text(config.replace('name: "picture"', 'name: "other"'))
        content = (other / name).read_bytes()
        assert old in content
        (other / name).write_bytes(content.replace(old, new))
        try:
            triton.load_model("other")
            seen.append(fingerprint(triton, "other"))
        finally:
            triton.unload_model("other")
            until(lambda: not triton.is_model_ready("other"), 10)
            shutil.rmtree(other)
    assert seen[0] == seen[-1]
    assert len(set(seen)) == 4


def test_classification_names_the_labels_best_first(triton: grpc.InferenceServerClient) -> None:
    served, clips = SERVED["picture"], example_clips(SERVED["picture"], 1)
    best = grpc.InferRequestedOutput("SCORES", class_count=2)
    answer = triton.infer("picture", inline(clips), outputs=[best]).as_numpy("SCORES")[0]
    order = wanted(served, clips)[0].argsort()[::-1][:2]
    assert [text.decode().split(":")[2] for text in answer] == [served.labels[i] for i in order]


def test_parameters_describe_the_clip(triton: grpc.InferenceServerClient) -> None:
    parameters = triton.get_model_config("video").config.parameters
    assert {name: value.string_value for name, value in parameters.items()} == {
        "kind": "video",
        "frames": "4",
        "stride": "2",
        "fps": "30",
        "resize": "60",
        "crop": "48",
        "architecture": "x3d_xs",
        "engine": "openvino",
        "precision": "f32",
    }


def test_clip_of_another_shape_is_refused(triton: grpc.InferenceServerClient) -> None:
    with pytest.raises(grpc.InferenceServerException, match="shape"):
        triton.infer("video", inline(np.zeros((1, 4, 32, 32, 3), np.uint8)))
    assert triton.infer("video", inline(example_clips(SERVED["video"], 1))).as_numpy("SCORES").size == 5


def test_failed_inference_fails_only_its_own_request(triton: grpc.InferenceServerClient) -> None:
    bads = [failing_model.clips(value) for value in failing_model.BADS[:17]]
    good = failing_model.clips(failing_model.GOOD)

    def ask(clip: np.ndarray) -> str:
        try:
            scores = triton.infer("failing", inline(clip)).as_numpy("SCORES")
        except grpc.InferenceServerException as error:
            return "failed" if failing_model.REASON in str(error) else str(error)
        return "right" if np.array_equal(scores, failing_model.expected_scores(1)) else str(scores)

    assert [ask(clip) for clip in (bads[0], good)] == ["failed", "right"]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, [clip for bad in bads[1:] for clip in (bad, good)])) == ["failed", "right"] * 16
        assert set(pool.map(ask, [good] * 16)) == {"right"}


def test_model_that_cannot_be_loaded_leaves_others_served(triton: grpc.InferenceServerClient, folder: Path) -> None:
    assert not triton.is_model_ready("broken")
    assert triton.is_model_ready("video")
    assert "model broken: labels.txt has 1 labels, the model gives 5" in (folder / "triton.log").read_text()
