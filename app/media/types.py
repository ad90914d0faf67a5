"""What the parts say to each other about an upload: where it lies, what it is, which frames are wanted."""

from dataclasses import dataclass
from typing import Literal

from app.errors import LimitExceeded
from app.media.formats import HEAD_BYTES, Kind, sniff
from app.media.sampling import EvenClips, Times

Conversion = Literal["ordinary", "matrix", "full"]

__all__ = ["HEAD_BYTES", "ClipRequest", "Conversion", "DecodeResult", "Kind", "Limits", "Media", "Source", "sniff"]


@dataclass(frozen=True, slots=True)
class Source:
    """A byte range of a file: the part of a multipart body is decoded where it lies, never copied out."""

    path: str
    offset: int
    length: int

    def read(self, most: int) -> bytes:
        """The first bytes of the range, `most` at most."""
        with open(self.path, "rb") as file:
            if self.offset:
                file.seek(self.offset)
            return file.read(min(most, self.length))


@dataclass(frozen=True, slots=True)
class Media:
    """Facts of one video or picture; `width` and `height` in pixels as a person sees it, already upright.

    `rotation` is the turn that the file asks for, in degrees clockwise (0, 90, 180, 270); after it a `mirrored` one is
    mirrored left to right. `duration_s`, `fps` and `frames` are what a video's header promises, which may be wrong, or
    None: good for a guess of the cost and for nothing else until the video has been read. A picture has one frame and
    no time. `crop` counts the pixels (left, top, right, bottom) of the stored frame that the container hides. The
    fields of `interlaced` frames are of two moments. `conversion` says what gives the right colours: "ordinary" any
    scaler, "matrix" one that uses app.media.colour.matrix, "full" only app.media.colour.SrgbScaler. `notes` are sentences for the
    answer's warnings: what was ignored in the file.
    """

    kind: Kind
    container: str
    codec: str
    width: int
    height: int
    rotation: int
    duration_s: float | None
    fps: float | None
    frames: int | None
    mirrored: bool = False
    crop: tuple[int, int, int, int] = (0, 0, 0, 0)
    interlaced: bool = False
    conversion: Conversion = "ordinary"
    notes: tuple[str, ...] = ()

    @property
    def shown_as_stored(self) -> bool:
        """Whether frames need nothing but to be scaled and turned."""
        return not (self.mirrored or any(self.crop) or self.interlaced) and self.conversion == "ordinary"


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest media that is decoded; `max_aspect` is the long side divided by the short one."""

    max_pixels: int
    max_frames: int
    max_duration_s: float
    max_aspect: float = 32.0

    def check_size(self, width: int, height: int) -> None:
        """Raise `LimitExceeded` for a picture or frame of `width` x `height` pixels beyond the limits."""
        if width * height > self.max_pixels:
            raise LimitExceeded(f"{width}x{height} pixels are more than the {self.max_pixels} allowed")
        self.check_aspect(width, height)

    def check_aspect(self, width: int, height: int) -> None:
        """Raise `LimitExceeded` for a picture or frame that is too narrow."""
        # Scaling keeps the aspect, so a 1x65535 strip would grow to gigabytes on its way to the model's size.
        if max(width, height) > self.max_aspect * min(width, height):
            raise LimitExceeded(f"{width}x{height} is narrower than the 1:{self.max_aspect:g} allowed")

    def check_length(self, frames: int | None, duration_s: float | None) -> None:
        """Raise `LimitExceeded` for a video of more frames or seconds than the limits; None passes."""
        if frames is not None and frames > self.max_frames:
            raise LimitExceeded(f"the video has more than the {self.max_frames} frames allowed")
        if duration_s is not None and duration_s > self.max_duration_s:
            raise LimitExceeded(f"the video is longer than the {self.max_duration_s:g} seconds allowed")


@dataclass(frozen=True, slots=True)
class ClipRequest:
    """Which frames are wanted and where they go.

    `clips` says how clips are spread over a video whose length only the decoder measures, or names their times: one row
    a clip, in seconds after the first frame, all rows of one length T.
    Every frame is scaled to a short side of `resize` pixels and cut to its `crop` x `crop` centre. The clip
    is written as uint8 (T, crop, crop, 3), RGB, into the file `region` at its byte of `offsets`; with `on_gpu` into
    that region's twin on the GPU instead, if the GPU can decode this video. `threads` decode where PyAV reads.
    """

    clips: EvenClips | Times
    resize: int
    crop: int
    offsets: tuple[int, ...]
    region: str
    on_gpu: bool = False
    threads: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        """How many clips, and of how many frames each; raises ValueError for rows of different lengths."""
        if isinstance(self.clips, EvenClips):
            return self.clips.count, self.clips.frames
        lengths = {len(row) for row in self.clips}
        if len(lengths) != 1:
            raise ValueError("clips need one length")
        return len(self.clips), lengths.pop()


@dataclass(frozen=True, slots=True)
class DecodeResult:
    """What was written: for each clip the frame numbers, their times in seconds, and whether it was padded.

    `truncated` says that the file was cut off, although the frames above could be read. `total` is the number
    of frames, `duration_s` their length and `fps` their mean rate, as they were measured; a picture has neither of the
    last two. `on_gpu` says that the clips lie on the GPU and not in `region`; `not_on_gpu` why they
    do not, although that was asked for.
    """

    frames: tuple[tuple[int, ...], ...]
    times_s: tuple[tuple[float, ...], ...]
    padded: tuple[bool, ...]
    truncated: bool
    total: int = 1
    duration_s: float | None = None
    fps: float | None = None
    on_gpu: bool = False
    not_on_gpu: str = ""
