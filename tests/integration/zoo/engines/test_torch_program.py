"""Transformations of an exported program keep its results in every layout."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.fx import GraphModule

from tests.support.networks import served_picture, served_video
from triton_repo.backends.clip.clip_engines.graph_nodes import CONVOLUTIONS
from triton_repo.backends.clip.clip_engines.products import pointwise
from triton_repo.backends.clip.clip_engines.torch_program import LAYOUTS, Layout, normalised, prepared
from triton_repo.zoo.export.engine_files import program
from triton_repo.zoo.export.openvino import example_clips
from triton_repo.zoo.spec import NetworkSpec, ServedNetwork

aten = torch.ops.aten


@pytest.fixture(scope="module", params=[served_video, served_picture], ids=["x3d", "resnet"])
def served(request: pytest.FixtureRequest) -> NetworkSpec:
    made: Callable[[], NetworkSpec] = request.param
    return made()


@pytest.fixture(scope="module")
def exported(served: NetworkSpec, tmp_path_factory: pytest.TempPathFactory) -> GraphModule:
    """The program as read from the file, which takes seconds."""
    path = tmp_path_factory.mktemp("exported") / "model.pt2"
    torch.export.save(program(served), path)
    network = torch.export.load(path).module()
    assert isinstance(network, GraphModule)
    return network


def loaded(exported: GraphModule) -> GraphModule:
    """A copy with its own weights, because preparation changes it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's deepcopy uses functions that torch deprecates
        return copy.deepcopy(exported)


def scores(network: torch.nn.Module, clips: torch.Tensor, dtype: torch.dtype) -> np.ndarray:
    with torch.inference_mode(), torch.autocast("cpu", dtype, dtype != torch.float32, cache_enabled=False):
        answer: np.ndarray = network(clips).float().numpy()
    return answer


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.bfloat16, 0.1)], ids=["f32", "bf16"])
def test_every_layout_answers_as_the_network(
    served: NetworkSpec, exported: GraphModule, layout: Layout, dtype: torch.dtype, close: float
) -> None:
    clips = torch.from_numpy(example_clips(served, 3))
    with torch.no_grad():
        wanted = ServedNetwork(served).eval()(clips).numpy()
    network = prepared(loaded(exported), dtype, layout)
    np.testing.assert_allclose(scores(network, clips, dtype), wanted, atol=close)
    np.testing.assert_allclose(scores(network, clips[:1], dtype), wanted[:1], atol=close)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_redundant_steps_are_removed(served: NetworkSpec, exported: GraphModule, layout: Layout) -> None:
    network = prepared(loaded(exported), torch.bfloat16, layout)
    targets = [node.target for node in network.graph.nodes if node.op == "call_function"]
    assert aten.batch_norm.default not in targets
    assert targets.count(normalised) == 1
    assert targets.count(aten.to.dtype) == 1  # the softmax is calculated in float32
    convolutions = sum(targets.count(target) for target in CONVOLUTIONS)
    # A ResNet-18 has convolutions of one point only where it makes the picture smaller
    by_products = layout in ("products", "depthwise")
    assert (targets.count(pointwise) > 0) == (by_products and served.spec.kind == "video")
    assert convolutions > 0


def test_convolution_weights_and_biases_have_the_precision(exported: GraphModule) -> None:
    network = prepared(loaded(exported), torch.bfloat16, "channels_last")
    used = {node.target for node in network.graph.nodes if node.op == "get_attr"}
    tensors = {name: value for name, value in (*network.named_parameters(), *network.named_buffers()) if name in used}
    assert {name for name, value in tensors.items() if value.dtype == torch.float32} == {"scale", "shift"}


def test_normalisation_in_both_memory_layouts(served: NetworkSpec) -> None:
    clips = torch.from_numpy(example_clips(served, 2))
    scale, shift = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([-1.0, -2.0, -3.0])
    last = normalised(clips, scale, shift, torch.float32, contiguous=False).movedim(-1, 1)
    apart = normalised(clips, scale, shift, torch.float32, contiguous=True).movedim(-1, 1)
    assert last.is_contiguous(memory_format=torch.channels_last_3d) and apart.is_contiguous()
    wanted = (clips.double() * scale.double() + shift.double()).movedim(-1, 1)
    for answer in (last, apart):
        torch.testing.assert_close(answer.double(), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("relu", [True, False])
def test_pointwise_convolution_becomes_a_matrix_product(bias: bool, relu: bool) -> None:
    torch.manual_seed(0)
    clip, weight = torch.randn(2, 6, 3, 4, 5), torch.randn(7, 6, 1, 1, 1)
    shift = torch.randn(7) if bias else None
    wanted = torch.nn.functional.conv3d(clip, weight, shift)
    answer = pointwise(clip.to(memory_format=torch.channels_last_3d), weight, shift, relu)
    torch.testing.assert_close(answer, wanted.relu() if relu else wanted)
    assert answer.is_contiguous(memory_format=torch.channels_last_3d)


def test_norm_after_another_operation_is_not_folded() -> None:
    class Odd(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = torch.nn.Conv2d(3, 4, 1, stride=2), torch.nn.BatchNorm2d(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            return torch.relu(self.norm(y)) + y  # the convolution's output is used twice

    odd, given = Odd().eval(), torch.randn(2, 3, 8, 8)
    network = prepared(torch.export.export(odd, (given,)).module(), torch.float32, "products")
    targets = [node.target for node in network.graph.nodes]
    assert aten.batch_norm.default in targets and aten.conv2d.default in targets
    with torch.no_grad():
        torch.testing.assert_close(network(given), odd(given))
