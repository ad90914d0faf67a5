"""Features of examples, cached on disk by content, so that a killed run goes on where it was."""

import asyncio
import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.errors import ClipstackError
from app.settings import Settings
from triton_repo.zoo.transfer.backbones import Backbone, FeatureExtractor, Features
from triton_repo.zoo.transfer.decode import PROCESSES, clip_decoder
from triton_repo.zoo.transfer.examples import Example

CACHE = Path(__file__).parents[3] / ".runtime" / "features"


@dataclass(frozen=True)
class FeatureCache:
    """Folder of features: one file for each content, backbone and way of sampling.

    <folder>/<backbone>/<first two digits>/<content>-<sampling>.npy
    """

    folder: Path
    backbone: Backbone
    clips: int

    def get(self, example: Example) -> Features | None:
        """Return features float32 (clips, width), or None if there are none or the file is damaged."""
        with suppress(OSError, ValueError, EOFError):
            features: Features = np.load(self._path(example), allow_pickle=False)
            if features.ndim == 2 and features.shape[1] == self.backbone.width and features.dtype == np.float32:
                return features
        return None

    def put(self, example: Example, features: Features) -> None:
        """Store the features of an example, atomically."""
        path = self._path(example)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.stem}.{os.getpid()}.npy")
        np.save(temporary, features)
        temporary.replace(path)

    def _path(self, example: Example) -> Path:
        sampling = hashlib.sha256(repr((example.kind, example.span, self.clips)).encode()).hexdigest()[:8]
        sha256 = example.sha256
        return self.folder / self.backbone.digest[:16] / sha256[:2] / f"{sha256}-{sampling}.npy"


def compute_features(
    examples: Sequence[Example],
    cache: FeatureCache,
    settings: Settings,
    advance: Callable[[], None],
) -> list[Features | ClipstackError]:
    """Return the features of each example, float32 (clips, width), or why it cannot be decoded.

    New features are stored in the cache at once. `advance` is called after each example.
    """
    results: dict[int, Features | ClipstackError] = {}
    missing = []
    for number, example in enumerate(examples):
        features = cache.get(example)
        if features is None:
            missing.append(number)
        else:
            results[number] = features
            advance()
    if missing:
        asyncio.run(_compute(examples, missing, results, cache, settings, advance))
    return [results[number] for number in range(len(examples))]


async def _compute(
    examples: Sequence[Example],
    missing: list[int],
    results: dict[int, Features | ClipstackError],
    cache: FeatureCache,
    settings: Settings,
    advance: Callable[[], None],
) -> None:
    """Decode the next examples while the backbone looks at these."""
    groups = [missing[start : start + PROCESSES] for start in range(0, len(missing), PROCESSES)]
    todo = [examples[number] for number in missing]
    extract = FeatureExtractor(cache.backbone)
    async with clip_decoder(todo, cache.backbone.served.spec, cache.clips, settings) as decoder:
        coming = asyncio.create_task(decoder.read([examples[number] for number in groups[0]]))
        for group, following in zip(groups, [*groups[1:], []], strict=True):
            decoded = await coming
            coming = asyncio.create_task(decoder.read([examples[number] for number in following]))
            for number, clips in zip(group, decoded, strict=True):
                if isinstance(clips, ClipstackError):
                    results[number] = clips
                else:
                    results[number] = features = await asyncio.to_thread(extract, clips)
                    cache.put(examples[number], features)
                advance()
        await coming
