"""Makes the smaller file; the one module of this folder that the rest of the client imports only when it is wanted."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from av.error import FFmpegError

from client.answers import Model, Sent
from client.reduction.ending import may_be_cut_off
from client.reduction.facts import Facts, read_facts
from client.reduction.picking import FrameSelection, pick
from client.reduction.shrinking import shrink

# The service's words (app/web/serializers.py): of a film of single frames it cannot know
PADDED = "the video is shorter than one clip: its last frame was repeated"
REPEATED = "the video shows few different frames: most frames of a clip repeat the one before"


class NoGain(Exception):
    """The smaller file is no smaller."""


@dataclass(frozen=True)
class ReducedFile:
    """A smaller file, and what the answer to it must say of the one it stands for."""

    file: BinaryIO
    sent: Sent
    facts: Facts
    picked: FrameSelection | None

    def described(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The service's answer as if to the whole file, with `sent` for what it really got."""
        measured = answer["media"] if self.picked is None else asdict(self.picked)
        media = asdict(self.facts) | {name: measured[name] for name in ("duration_s", "fps", "frames")}
        described = {**answer, "media": answer["media"] | media, "sent": asdict(self.sent)}
        if self.picked is not None:
            described["clips"] = [asdict(clip) for clip in self.picked.clips]
            padded = any(clip.padded for clip in self.picked.clips)
            repeated = any(
                2 * len(set(clip.frames)) < len(clip.frames) for clip in self.picked.clips if not clip.padded
            )
            described["warnings"] = [*answer.get("warnings", ()), *[PADDED] * padded, *[REPEATED] * repeated]
        return described


def facts_of(file: BinaryIO, length: int) -> Facts | None:
    """None for what is sent as it is: all but a whole video that can be read and that the client converts alike."""
    try:
        if may_be_cut_off(file, length):
            return None
        return read_facts(file, length)
    except (FFmpegError, OSError, ValueError):  # PyAV tells of an empty file by an OSError of its own
        return None


def make(
    file: BinaryIO, facts: Facts, reduction: str, model: Model, clips: int, check: Callable[[float], None]
) -> ReducedFile | None:
    """The file made smaller; None where that cannot be done or would not make it smaller.

    `check` is called now and then with the seconds of video done; what it raises ends the work.
    """
    started = time.perf_counter()
    out = tempfile.TemporaryFile()  # noqa: SIM115 -- whoever gets it closes it

    def still_worth_it(done_s: float) -> None:
        check(done_s)
        if out.tell() >= facts.bytes:
            raise NoGain

    try:
        picked = None
        if reduction == "frames":
            picked = pick(file, out, facts, model, clips, lambda: still_worth_it(0.0))
        else:
            shrink(file, out, facts, model.resize, still_worth_it)
        length = out.seek(0, 2)
        still_worth_it(facts.duration_s or 0.0)
        out.seek(0)
        seconds = round(time.perf_counter() - started, 4)
        return ReducedFile(out, Sent(reduction, length, facts.bytes, seconds), facts, picked)
    except (FFmpegError, ValueError, NoGain):
        out.close()  # damaged further on, or not worth it
        return None
    except BaseException:
        out.close()
        raise
