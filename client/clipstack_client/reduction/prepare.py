"""Create the smaller file; imported only if a reduction is requested, because it needs PyAV."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO, cast

from av.error import FFmpegError

from ..models import Sent
from .ending import may_be_cut_off
from .frames import FrameSelection, Target, write_frames
from .probe import Facts, read_facts
from .transcode import shrink

# The service's texts (app/web/serializers.py): it cannot detect these cases in a film of single frames
PADDED = "the video is shorter than one clip: its last frame was repeated"
REPEATED = "the video shows few different frames: most frames of a clip repeat the one before"


class NoGain(Exception):
    """The reduced file is no smaller than the original."""


@dataclass(frozen=True)
class ReducedFile:
    """A reduced file, and the data that describe the original in the service's answer."""

    file: BinaryIO
    sent: Sent
    facts: Facts
    selection: FrameSelection | None

    def describe(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Return the service's answer rewritten for the original file, with `sent` for what was really sent."""
        measured = answer["media"] if self.selection is None else asdict(self.selection)
        media = asdict(self.facts) | {name: measured[name] for name in ("duration_s", "fps", "frames")}
        description = {**answer, "media": answer["media"] | media, "sent": asdict(self.sent)}
        if self.selection is not None:
            description["clips"] = [asdict(clip) for clip in self.selection.clips]
            padded = any(clip.padded for clip in self.selection.clips)
            repeated = any(
                2 * len(set(clip.frames)) < len(clip.frames) for clip in self.selection.clips if not clip.padded
            )
            description["warnings"] = [*answer.get("warnings", ()), *[PADDED] * padded, *[REPEATED] * repeated]
        return description


def probe(file: BinaryIO, length: int) -> Facts | None:
    """Return the description of a video that the client can reduce, or None for a file that is sent unchanged."""
    try:
        if may_be_cut_off(file, length):
            return None
        return read_facts(file, length)
    except (FFmpegError, OSError, ValueError):  # PyAV raises its own OSError for an empty file
        return None


def reduce(
    file: BinaryIO, facts: Facts, reduction: str, target: Target, check: Callable[[float], None]
) -> ReducedFile | None:
    """Return the reduced file, or None if it cannot be made or would be no smaller.

    `check` is called repeatedly with the seconds of video done; an exception from it ends the work.
    """
    started = time.perf_counter()
    out = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 -- the caller closes it

    def check_gain(done_s: float) -> None:
        check(done_s)
        if out.tell() >= facts.bytes:
            raise NoGain

    try:
        selection = None
        if reduction == "frames":
            selection = write_frames(file, out, facts, target, lambda: check_gain(0.0))
        else:
            shrink(file, out, facts, target.model.resize, check_gain)
        length = out.seek(0, 2)
        check_gain(facts.duration_s or 0.0)
        out.seek(0)
        seconds = round(time.perf_counter() - started, 4)
        return ReducedFile(out, Sent(reduction, length, facts.bytes, seconds), facts, selection)
    except (FFmpegError, ValueError, NoGain):
        out.close()  # damaged further on, or no gain
        return None
    except BaseException:
        out.close()
        raise
