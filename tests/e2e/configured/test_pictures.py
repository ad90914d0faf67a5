"""Pictures, and videos for a picture model, through the real stack with a ResNet of random weights."""

import io
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from tests.support.films import texture, write_video
from tests.support.networks import served_picture
from triton_repo.zoo.spec import ServedNetwork

import triton_repo.zoo.architectures.torchvision_cpu  # noqa: F401  # isort: skip  (makes the next import work without CUDA)
from torchvision.transforms import v2  # isort: skip

TOLERANCE = 0.03  # of a probability: PNG is resized like torchvision does, except for rounding


def ask(http: httpx.Client, content: bytes, **params: object) -> dict:
    query = {"model": "resnet18", "top_k": 6} | params
    response = http.post("/v1/classify", params=query, content=content)
    assert response.status_code == 200, response.text
    return response.json()


def scores(answer: dict) -> dict[str, float]:
    return {prediction["label"]: prediction["score"] for prediction in answer["predictions"]}


def reference(picture: Image.Image) -> dict[str, float]:
    """Return torch's scores of the picture after torchvision's own transform."""
    served = served_picture()
    steps = [v2.PILToTensor(), v2.Resize(served.spec.resize, antialias=True), v2.CenterCrop(served.spec.crop)]
    clip = v2.Compose(steps)(picture.convert("RGB")).permute(1, 2, 0)[None, None]
    with torch.no_grad():
        return dict(zip(served.labels, ServedNetwork(served)(clip)[0].tolist(), strict=True))


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


PICTURE = Image.fromarray(texture(200, 150, seed=3))


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_picture_scores_equal_those_of_torch(http: httpx.Client, kind: str, options: dict) -> None:
    answer = ask(http, encoded(PICTURE, kind, **options))
    assert scores(answer) == pytest.approx(reference(PICTURE), abs=TOLERANCE)
    assert (answer["media"]["kind"], answer["media"]["container"]) == ("image", kind.lower())
    assert answer["transport"] == "system_shared_memory"


def test_rotated_jpeg_is_classified_upright(http: httpx.Client) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    lying = encoded(PICTURE.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=97, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(lying)))
    answer = ask(http, lying)
    assert (answer["media"]["width"], answer["media"]["height"]) == PICTURE.size == upright.size
    assert scores(answer) == pytest.approx(reference(upright), abs=TOLERANCE)


def test_picture_model_classifies_video_frames(http: httpx.Client, tmp_path: Path) -> None:
    frames = [np.asarray(PICTURE)] * 20
    path = write_video(tmp_path / "still.mp4", frames, 30, options={"crf": "10"})
    answer = ask(http, path.read_bytes(), clips=3)
    assert [len(clip["frames"]) for clip in answer["clips"]] == [1, 1, 1]
    assert len({clip["frames"][0] for clip in answer["clips"]}) == 3
    best = max(reference(PICTURE), key=reference(PICTURE).__getitem__)
    assert answer["predictions"][0]["label"] == best


def test_added_model_is_listed_and_default_stays(http: httpx.Client) -> None:
    models = {m["name"]: m for m in http.get("/v1/models").json()["models"]}
    assert models["resnet18"]["kind"] == "image"
    assert models["resnet18"]["labels"] == list(served_picture().labels)
    assert [name for name, model in models.items() if model["default"]] == ["camera_motion"]
