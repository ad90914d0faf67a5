"""Clips of real videos, decoded, scaled and cropped as the service does."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from app.errors import ClipstackError, WrongMediaKind
from app.media.formats import HEAD_BYTES, recognise
from app.settings import Settings
from triton_repo.zoo import ModelError
from triton_repo.zoo.repository.store import InstalledModel
from triton_repo.zoo.spec import ClipSpec
from triton_repo.zoo.transfer.decode import Clips, clip_decoder
from triton_repo.zoo.transfer.examples import Example, stamp_of

Refused = Callable[[Path, ClipstackError], None]


def real_clips(videos: Path, model: InstalledModel, count: int, settings: Settings, refused: Refused) -> list[Clips]:
    """Return clips uint8 (1, T, H, W, 3) of a video, or of every file in a folder.

    `count` clips of each file are spread evenly over it. `refused` receives each file that the service would refuse.

    Raises:
        ModelError: `videos` does not exist, or no file gave a clip.
    """
    if not videos.exists():
        raise ModelError(f"{videos} does not exist.")
    files = sorted(path for path in videos.iterdir() if path.is_file()) if videos.is_dir() else [videos]
    clips = clips_of_files(files, model, count, settings, refused)
    if not clips:
        raise ModelError(f"there is nothing in {videos} that {model.name} could look at.")
    return clips


def clips_of_files(
    files: list[Path], model: InstalledModel, count: int, settings: Settings, refused: Refused
) -> list[Clips]:
    """Return clips like `real_clips`, of these files; none if all are refused."""
    return asyncio.run(_of_files(files, model.spec, count, settings, refused))


async def _of_files(files: list[Path], spec: ClipSpec, count: int, settings: Settings, refused: Refused) -> list[Clips]:
    examples: list[Example] = []
    for file in files:
        try:
            examples.append(_example(file, spec))
        except ClipstackError as error:
            refused(file, error)
    clips: list[Clips] = []
    async with clip_decoder(examples, spec, count, settings) as decoder:
        async for example, result in decoder.read_all(examples):
            if isinstance(result, ClipstackError):
                refused(example.file, result)
            else:
                clips += [clip[None] for clip in result]
    return clips


def _example(file: Path, spec: ClipSpec) -> Example:
    with file.open("rb") as content:
        kind = recognise(content.read(HEAD_BYTES)).kind
    if kind == "image" and spec.kind == "video":
        raise WrongMediaKind("a picture has no movement to look at")
    return Example(file, (), kind=kind, stamp=stamp_of(file))
