"""Files that are refused: the message names what came."""

from __future__ import annotations

import io
import struct
import wave
import zipfile
from pathlib import Path

import av
import numpy as np

from tests.e2e.field.case import Case
from tests.e2e.field.picture_files import four_quarters, saved, tiff
from tests.support.films import panning, write_video


def case(file: str, why: str, content: bytes, message: str, status: int = 415) -> Case:
    """Return a case of a file of these bytes, sent to the model that takes pictures."""
    return Case(file, lambda path: path.write_bytes(content), why, "Refused", "objects", status=status, message=message)


def film(file: str, why: str, message: str, codec: str, pixels: str = "yuv420p", status: int = 415) -> Case:
    """Return a case of a video in a codec that is not decoded."""

    def make(path: Path) -> object:
        return write_video(path, panning(5, 64, 64), 25, codec=codec, pixels=pixels)

    return Case(file, make, why, "Refused", status=status, message=message)


def raw_stream(codec: str, container: str) -> bytes:
    """Return a stream of that codec without a container."""
    stream = io.BytesIO()
    with av.open(stream, "w", format=container) as output:
        video = output.add_stream(codec, rate=25)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        for frame in panning(5, 64, 64):
            output.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        output.mux(video.encode())
    return stream.getvalue()


def archive(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as output:
        for name in names:
            output.writestr(name, "content")
    return file.getvalue()


def sound() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as output:
        output.setparams((1, 2, 8000, 0, "NONE", ""))
        output.writeframes(bytes(1000))
    return file.getvalue()


def lossless_jpeg() -> bytes:
    """Return a JPEG whose frame header says lossless (SOF3)."""
    return saved(four_quarters(), "JPEG").replace(b"\xff\xc0", b"\xff\xc3", 1)


def twelve_bits() -> bytes:
    jpeg = bytearray(saved(four_quarters(), "JPEG"))
    jpeg[jpeg.index(b"\xff\xc0") + 4] = 12
    return bytes(jpeg)


def digital_negative() -> bytes:
    """Return a TIFF with the tag of a DNG."""
    content = tiff(four_quarters())
    at = content.index(struct.pack("<HHI", 0x0115, 3, 1))  # samples a pixel
    return content[:at] + struct.pack("<HHI", 0xC612, 1, 4) + b"\x01\x04\0\0" + content[at + 12 :]


def encrypted_film(path: Path) -> object:
    """Write an MP4 with Common Encryption."""
    key = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "7" * 32, "encryption_kid": "a" * 32}
    return write_video(path, panning(10, 64, 64), 25, container=key)


def cases() -> list[Case]:
    """Return the cases of this module."""
    picture = four_quarters()
    return [
        case("lossless.jpg", "lossless JPEG", lossless_jpeg(), "lossless JPEG"),
        case("twelve_bits.jpg", "JPEG, 12 bits a colour", twelve_bits(), "12 bits"),
        case("picture.jp2", "JPEG 2000", saved(picture, "JPEG2000"), "JPEG 2000"),
        case("codestream.j2k", "JPEG 2000, codestream alone", b"\xff\x4f\xff\x51\0\x29" + bytes(90), "JPEG 2000"),
        case("picture.jxl", "JPEG XL", b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(90), "JPEG XL"),
        case("codestream.jxl", "JPEG XL, codestream alone", b"\xff\x0a\x7f" + bytes(90), "JPEG XL"),
        case("picture.psd", "Photoshop", b"8BPS\0\1" + bytes(90), "Photoshop"),
        case("picture.ico", "Windows icon", saved(picture.resize((48, 48)), "ICO"), "icon"),
        case("picture.ppm", "PPM", saved(picture, "PPM"), "PPM"),
        case("picture.svg", "SVG", b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        case("camera.cr3", "Canon raw", b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(90), "camera raw"),
        case("camera.cr2", "Canon raw before 2018", b"II*\0\x10\0\0\0CR\2\0" + bytes(90), "camera raw"),
        case("camera.dng", "Adobe raw", digital_negative(), "camera raw"),
        case("camera.raf", "Fuji raw", b"FUJIFILMCCD-RAW 0201" + bytes(90), "camera raw"),
        case("document.pdf", "PDF", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "PDF"),
        case("document.docx", "Word", archive("[Content_Types].xml", "word/document.xml"), "Office"),
        case("document.doc", "Word before 2007", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(90), "Office"),
        case("films.zip", "ZIP", archive("film.mp4"), "ZIP"),
        case("films.rar", "RAR", b"Rar!\x1a\7\1\0" + bytes(90), "RAR"),
        case("films.7z", "7z", b"7z\xbc\xaf\x27\x1c\0\4" + bytes(90), "7z"),
        case("page.html", "a web page", b"<!DOCTYPE html><html><body>not found</body></html>", "web page"),
        case("list.m3u8", "a playlist", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n", "playlist"),
        case("text.txt", "text", b"this is no film", "text"),
        case("song.mp3", "MP3", b"ID3\x04\0" + bytes(90), "MP3"),
        case("song.wav", "WAV", sound(), "WAV"),
        case("song.flac", "FLAC", b"fLaC\0\0\0\x22" + bytes(90), "FLAC"),
        case("stream.h264", "raw H.264", raw_stream("libx264", "h264"), "raw H.264"),
        case("stream.h265", "raw HEVC", raw_stream("libx265", "hevc"), "raw HEVC"),
        case("stream.m2v", "raw MPEG-2", raw_stream("mpeg2video", "mpeg2video"), "raw MPEG"),
        case("stream.ivf", "IVF", raw_stream("libvpx", "ivf"), "IVF"),
        case("film.y4m", "Y4M", b"YUV4MPEG2 W64 H64 F25:1\nFRAME\n" + bytes(6144), "Y4M"),
        case("film.mxf", "MXF", b"\x06\x0e\x2b\x34\2\5\1\1\x0d\1\2\1\1\2\4\0" + bytes(90), "MXF"),
        case("film.rm", "RealMedia", b".RMF\0\0\0\x12" + bytes(90), "RealMedia"),
        case("film.swf", "Flash", b"CWS\x0a" + bytes(90), "Flash"),
        case("film.gpg", "encrypted", b"-----BEGIN PGP MESSAGE-----\n\nhQEMA", "encrypted"),
        film("cineform.mov", "CineForm in MOV", "CineForm", "cfhd", "yuv422p10le"),
        film("jpeg2000.mov", "JPEG 2000 in MOV", "JPEG 2000", "jpeg2000"),
        film("magicyuv.avi", "MagicYUV in AVI", "MagicYUV", "magicyuv", "gbrp"),
        Case("encrypted.mp4", encrypted_film, "MP4 with Common Encryption", "Refused", status=422, message="encrypted"),
        Case("sound.mp4", _sound_film, "MP4 without a picture", "Refused", status=422, message="sound"),
    ]


def _sound_film(path: Path) -> object:
    with av.open(str(path), "w") as output:
        stream = output.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4000), np.float32), format="fltp", layout="mono")
        frame.rate = 8000
        output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path
