"""X3D compared with the package whose checkpoints it loads."""

from __future__ import annotations

import warnings
from types import ModuleType

import pytest
import torch
from torch import nn

import triton_repo.zoo.architectures.torchvision_cpu  # noqa: F401  (the package imports torchvision)
from tests.support.networks import spread_out
from triton_repo.zoo.architectures.x3d import VARIANTS, X3D, x3d

FRAMES, SIZE, CLASSES = 3, 40, 17


@pytest.fixture(scope="module")
def published() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package is older than the libraries it imports
        return pytest.importorskip("pytorchvideo.models.x3d")


def reference(published: ModuleType, variant: str) -> nn.Module:
    """Return the package's network for small clips; its head averages over the whole clip."""
    network: nn.Module = published.create_x3d(
        input_clip_length=FRAMES,
        input_crop_size=SIZE,
        model_num_class=CLASSES,
        depth_factor=VARIANTS[variant].depth_factor,
        head_activation=None,
    )
    return network


def clips() -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, 3, FRAMES, SIZE, SIZE, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_agree_with_the_published_network(published: ModuleType, variant: str) -> None:
    # In float64, where rounding hides nothing: in float32 the order of additions alone makes 5e-4 of x3d_l's depth.
    theirs = spread_out(reference(published, variant).double(), clips())
    ours = x3d(variant, CLASSES).double().eval()
    ours.load_state_dict(theirs.state_dict())
    with torch.no_grad():
        wanted, got = theirs(clips()), ours(clips())
    assert wanted.std() > 1
    torch.testing.assert_close(got, wanted, atol=1e-9, rtol=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_state_dict_fits_the_published_network_both_ways(published: ModuleType, variant: str) -> None:
    theirs, ours = reference(published, variant).state_dict(), x3d(variant, CLASSES).state_dict()
    assert {name: tensor.shape for name, tensor in ours.items()} == {
        name: tensor.shape for name, tensor in theirs.items()
    }
    reference(published, variant).load_state_dict(ours)


def test_checkpoint_of_another_depth_is_refused_by_name() -> None:
    with pytest.raises(RuntimeError, match=r"blocks\.1\.res_blocks\.3"):
        x3d("x3d_l", CLASSES).load_state_dict(x3d("x3d_m", CLASSES).state_dict())


def test_clips_of_any_length_are_accepted() -> None:
    network = X3D(CLASSES).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 1, 32, 48)).shape == (1, CLASSES)
