"""Videos are scaled and cropped like torchvision's transform, with which networks are trained."""

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from app.media.types import Limits
from app.video import decode
from tests.support.films import texture, write_video
from tests.support.regions import Region, whole

LIMITS = Limits(max_pixels=4_000_000, max_frames=1000, max_duration_s=60)

# Mean difference in grey levels of 255 to torchvision's antialiased bilinear filter on the decoded frame: FFmpeg
# scales with a bicubic one, and in YUV, before the conversion to RGB. Real footage: 0.9 to 3.2.
TOLERANCE = 3.5
CRF = {"crf": "12"}


@pytest.fixture
def region(tmp_path) -> Region:
    return Region(tmp_path / "region")


@pytest.mark.parametrize("size", [(640, 360), (340, 256), (360, 640), (120, 100)], ids=str)
@pytest.mark.parametrize("codec", ["mjpeg", "libx264"], ids=["by decord", "by PyAV"])
def test_resize_and_crop_agree_with_torchvision(tmp_path, region, size, codec):
    options = {"pixels": "yuvj420p", "options": {"qmin": "1", "qmax": "2"}} if codec == "mjpeg" else {"options": CRF}
    path = write_video(tmp_path / "film.mov", [texture(*size, seed=1)] * 3, codec=codec, **options)
    agrees_with_torchvision(path, region, resize=96, crop=80)


@pytest.mark.parametrize("name", ["arm_wrestling.mp4", "flipping_a_pancake.mkv", "sintel.mp4"])
@pytest.mark.parametrize(("resize", "crop"), [(80, 80), (182, 160), (256, 224)], ids=str)
def test_real_clips_agree_with_torchvision(real_videos, region, name, resize, crop):
    agrees_with_torchvision(real_videos / name, region, resize, crop)


def agrees_with_torchvision(path: Path, region: Region, resize: int, crop: int) -> None:
    request = region.request([0.0], resize=resize, crop=crop)
    decode.decode(whole(path), decode.probe(whole(path), LIMITS), request)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        aspect = container.streams.video[0].sample_aspect_ratio or 1
        full = frame.to_ndarray(width=round(frame.width * aspect), format="rgb24", interpolation="BICUBIC")
    ours = region.clips(request)[0][0].astype(np.float64)
    assert np.abs(ours - reference(full, resize, crop)).mean() < TOLERANCE


def reference(frame, resize: int, crop: int):
    """Apply torchvision's transform: short side to `resize`, antialiased bilinear, then the centre."""
    height, width, _ = frame.shape
    size = (resize, resize * width // height) if height <= width else (resize * height // width, resize)
    pixels = torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].float()
    scaled = interpolate(pixels, size, mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()
    top, left = round((size[0] - crop) / 2), round((size[1] - crop) / 2)
    return scaled[top : top + crop, left : left + crop]
