"""Data types that describe an upload: its location, its properties, and the requested frames."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from app.errors import LimitExceeded
from app.media.formats import Kind
from app.media.sampling import EvenClips, Times

Conversion = Literal["ordinary", "matrix", "full"]


@dataclass(frozen=True, slots=True)
class Source:
    """Byte range of a file; a part of a multipart body is decoded in place, without a copy."""

    path: str
    offset: int
    length: int

    def read(self, max_bytes: int) -> bytes:
        """Return the first bytes of the range, at most `max_bytes`."""
        with Path(self.path).open("rb") as file:
            if self.offset:
                file.seek(self.offset)
            return file.read(min(max_bytes, self.length))


@dataclass(frozen=True, slots=True)
class Media:
    """Properties of one video or picture; `width` and `height` are in pixels as displayed, after rotation.

    `rotation` is the rotation that the file requests, in degrees clockwise (0, 90, 180, 270). If `mirrored`, the result
    is then mirrored left to right. `duration_s`, `fps` and `frames` come from a video's header; they may be wrong or
    None, and serve only as a cost estimate until the video has been read. A picture has one frame and no duration.
    `crop` counts the pixels (left, top, right, bottom) of the stored frame that the container hides. The two fields of
    an `interlaced` frame are from different moments. `conversion` names what gives the right colours: "ordinary" any
    scaler, "matrix" one that uses app.media.colour.matrix, "full" only app.media.colour.SrgbScaler. `notes` are
    sentences for the response's warnings about what was ignored in the file.
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

    def to_json(self, name: str, frames: int, truncated: bool, length: int) -> dict[str, Any]:
        """Return the `media` object of a response for a file of `length` bytes, in which `frames` were counted."""
        names = ("kind", "container", "codec", "width", "height", "rotation", "mirrored", "duration_s", "fps")
        properties = {name: getattr(self, name) for name in names}
        return {"name": name, **properties, "frames": frames, "truncated": truncated, "bytes": length}

    @property
    def shown_as_stored(self) -> bool:
        """Whether frames need only scaling and rotation."""
        return not (self.mirrored or any(self.crop) or self.interlaced) and self.conversion == "ordinary"


@dataclass(frozen=True, slots=True)
class Limits:
    """Largest media that is decoded; `max_aspect` is the long side divided by the short one."""

    max_pixels: int
    max_frames: int
    max_duration_s: float
    max_aspect: float = 32.0

    def check_size(self, width: int, height: int) -> None:
        """Raise `LimitExceeded` if a picture or frame of `width` x `height` pixels exceeds the limits."""
        if width * height > self.max_pixels:
            raise LimitExceeded(
                f"{width}x{height} are {width * height} pixels, more than the {self.max_pixels} allowed: scale it"
            )
        self.check_aspect(width, height)

    def check_aspect(self, width: int, height: int) -> None:
        """Raise `LimitExceeded` if a picture or frame is too narrow."""
        # Scaling keeps the aspect, so a 1x65535 strip would grow to gigabytes when scaled to the model's size
        if max(width, height) > self.max_aspect * min(width, height):
            raise LimitExceeded(f"{width}x{height} is narrower than the 1:{self.max_aspect:g} allowed: crop it")

    def check_length(self, frames: int | None, duration_s: float | None) -> None:
        """Raise `LimitExceeded` if a video has more frames or seconds than the limits; None passes."""
        if frames is not None and frames > self.max_frames:
            raise LimitExceeded(
                f"the video has {frames} frames, more than the {self.max_frames} allowed: send a part of it"
            )
        if duration_s is not None and duration_s > self.max_duration_s:
            raise LimitExceeded(
                f"the video has {duration_s:.1f} s, more than the {self.max_duration_s:g} s allowed: send a part of it"
            )


@dataclass(frozen=True, slots=True)
class ClipRequest:
    """Requested frames and their destination.

    `clips` is a layout over a video whose length only the decoder measures, or explicit times: one row per clip, in
    seconds after the first frame, all rows of the same length T. Every frame is scaled to a short side of `resize`
    pixels and cropped to its `crop` x `crop` centre. The clip is written as uint8 (T, crop, crop, 3), RGB, into the
    file `region` at its byte of `offsets`; with `on_gpu` into the region's mirror on the GPU instead, if the GPU can
    decode this video. With `threads` over 1, PyAV decodes large frames with as many, and another scales them.
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
        """Number of clips, and of frames in each; raises ValueError if the rows differ in length."""
        if isinstance(self.clips, EvenClips):
            return self.clips.count, self.clips.frames
        lengths = {len(row) for row in self.clips}
        if len(lengths) != 1:
            raise ValueError("clips need one length")
        return len(self.clips), lengths.pop()


@dataclass(frozen=True, slots=True)
class DecodeResult:
    """Result of decoding: for each clip the frame numbers, their times in seconds, and whether it was padded.

    `truncated` means that the file was cut off, although the frames above could be read. `total` is the number of
    frames, `duration_s` their duration and `fps` their mean rate, as measured; a picture has neither of the last two.
    `on_gpu` means that the clips are on the GPU and not in `region`. `not_on_gpu` is the reason if a requested GPU was
    not used.
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


@dataclass(frozen=True, slots=True)
class DecodedFile:
    """Result of one decoding task: the file's properties, its clips, and the seconds that reading the properties took.

    `clips` is None if the task was to decode short files only, and the file is a long one.
    """

    media: Media
    clips: DecodeResult | None
    probe_s: float
