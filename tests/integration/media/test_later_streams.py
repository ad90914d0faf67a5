"""Streams that start in the middle of a file."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from app.video.packets import demux

PROBED_BYTES = 5_000_000  # FFmpeg looks for streams in so many bytes when it opens a file


def write_ts(path: Path, frames: int, *, sound: bool) -> None:
    """Write frames of noise as MPEG-2 in MPEG-TS, with or without a sound track."""
    rng = np.random.default_rng(0)
    with av.open(path, "w", format="mpegts") as output:
        video = output.add_stream("mpeg2video", rate=25, options={"qmin": "1", "qmax": "2"})
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt, video.bit_rate = 320, 240, "yuv420p", 40_000_000
        audio = output.add_stream("mp2", rate=48000) if sound else None
        for _ in range(frames):
            picture = rng.integers(0, 255, (240, 320, 3), np.uint8)
            output.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            if isinstance(audio, AudioStream):
                silence = av.AudioFrame.from_ndarray(np.zeros((1, 2 * 1152), np.int16), format="s16", layout="stereo")
                silence.sample_rate = 48000
                output.mux(audio.encode(silence))
        output.mux(video.encode())


def test_video_continues_when_sound_starts_later(tmp_path: Path) -> None:
    write_ts(tmp_path / "silent.ts", 80, sound=False)
    write_ts(tmp_path / "sound.ts", 10, sound=True)
    joined = tmp_path / "joined.ts"
    silent, sound = (tmp_path / "silent.ts").read_bytes(), (tmp_path / "sound.ts").read_bytes()
    joined.write_bytes(silent + sound + silent)  # FFmpeg also looks at the end of a file
    assert len(silent) > PROBED_BYTES
    with av.open(joined) as container:
        assert len(container.streams) == 1
        assert sum(packet.size > 0 for packet in demux(container, container.streams.video[0])) == 170
