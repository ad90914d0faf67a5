"""Resources that decoding can use besides the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.video.decode import GpuDecoder
    from app.video.probe import OpenVideo


@dataclass(frozen=True, slots=True)
class Resources:
    """Resources of one decoding.

    Attributes:
        threads: Number of decoding threads of PyAV.
        gpu: Decoder whose frames stay on a GPU, which is tried first.
        video: The source, if it is open already.
    """

    threads: int = 1
    gpu: GpuDecoder | None = None
    video: OpenVideo | None = None


DEFAULTS = Resources()
