"""Formats that are refused by name, each with a message that says what the file is and what to send instead."""

import re

ACCEPTED = (
    "send a video (MP4, MOV, MKV, WebM, AVI, MPEG-TS, MPEG-PS, FLV, Ogg or WMV) or a picture (JPEG, PNG, WebP, GIF, "
    "HEIC, AVIF, TIFF or BMP)"
)
CAMERA_RAW = (
    "this is a camera raw file (sensor data), which is not supported: send the JPEG or HEIC of the same picture"
)

_SOUND = "this is a sound file ({}), which has no picture to classify: send a video or a picture"
_ARCHIVE = "this is an archive ({}), which is not supported: send the video or picture inside it"
_DOCUMENT = "this is a document ({}), which is not supported: send the pictures in it, or a picture of the page"
_PICTURE = "this picture has the format {}, which is not supported: send it as JPEG, PNG, WebP, HEIC, AVIF or TIFF"
_VIDEO = "this video file has the format {}, which is not supported: send the video as MP4, MOV, MKV or WebM"
_STREAM = (
    "this is a raw {} stream without a container, so its frames have no times: put it into MP4 or MKV, with its frame "
    "rate, and send that"
)


_FTYP = rb"(?s:....)ftyp"
_CODE = rb"\x00?\x00\x00\x01"  # start code of H.264 and HEVC

# A regular expression for the start of a file, and the message that refuses it; the first match wins
_REFUSED = (
    (rb"%PDF|.{0,1000}?%PDF-1", _DOCUMENT.format("PDF")),
    (rb"PK\x03\x04.{26,200}(\[Content_Types\]|_rels/|word/|xl/|ppt/|docProps/)", _DOCUMENT.format("Office")),
    (rb"PK\x03\x04.{26}mimetypeapplication/(vnd\.oasis|epub)", _DOCUMENT.format("OpenDocument or EPUB")),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _DOCUMENT.format("Microsoft Office before 2007")),
    (rb"\{\\rtf", _DOCUMENT.format("RTF")),
    (rb"%!PS", _DOCUMENT.format("PostScript")),
    (rb"PK(\x03\x04|\x05\x06|\x07\x08)", _ARCHIVE.format("ZIP")),
    (rb"Rar!\x1a\x07", _ARCHIVE.format("RAR")),
    (rb"7z\xbc\xaf\x27\x1c", _ARCHIVE.format("7z")),
    (rb".{257}ustar", _ARCHIVE.format("tar")),
    (rb"\x1f\x8b", _ARCHIVE.format("gzip")),
    (rb"BZh[1-9]", _ARCHIVE.format("bzip2")),
    (rb"\xfd7zXZ\x00", _ARCHIVE.format("xz")),
    (rb"\x28\xb5\x2f\xfd", _ARCHIVE.format("Zstandard")),
    (rb"8BPS", _PICTURE.format("Photoshop (PSD)")),
    (rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", _PICTURE.format("JPEG 2000")),
    (rb"\x00\x00\x00\x0cJXL |\xff\x0a", _PICTURE.format("JPEG XL")),
    (rb"II\xbc", _PICTURE.format("JPEG XR")),
    (rb"\x00\x00[\x01\x02]\x00[\x01-\xff]\x00", _PICTURE.format("Windows icon (ICO)")),
    (rb"icns", _PICTURE.format("Apple icon (ICNS)")),
    (rb"gimp xcf", _PICTURE.format("GIMP (XCF)")),
    (rb"\x76\x2f\x31\x01", _PICTURE.format("OpenEXR")),
    (rb"#\?(RADIANCE|RGBE)", _PICTURE.format("Radiance HDR")),
    (rb"DDS ", _PICTURE.format("DirectDraw (DDS)")),
    (rb"P[1-7]\s", _PICTURE.format("PNM (PBM, PGM, PPM)")),
    (rb"qoif", _PICTURE.format("QOI")),
    (rb"BPG\xfb", _PICTURE.format("BPG")),
    (rb".{128}DICM", _PICTURE.format("DICOM")),
    (rb"SIMPLE  =", _PICTURE.format("FITS")),
    (rb"\x8a[MJ]NG\r\n", _PICTURE.format("MNG")),
    (rb"\xd7\xcd\xc6\x9a|\x01\x00\x00\x00.{36} EMF", _PICTURE.format("Windows metafile")),
    (_FTYP + rb"crx ", CAMERA_RAW),
    (rb"II\*\x00.{4}CR|IIRO|IIRS|IIU\x00|FUJIFILMCCD-RAW|FOVb|\x00MRM|II\x1a\x00.{2}HEAPCCDR", CAMERA_RAW),
    (rb"#EXTM3U", "this is a playlist, not a video: send the video itself"),
    (rb"ffconcat", "this is a list of files, not a video: send the video itself"),
    (rb"v=0", "this is a session description, not a video: send the video itself"),
    (rb"(?i:\[playlist\])|\[InternetShortcut\]", "this is a link, not a video: send the video itself"),
    (rb"(?i:.{0,2000}?<svg)", "this is a vector graphic (SVG), which is not supported: send it as PNG"),
    (rb"(?i:<!doctype html|.{0,500}?<html)", "this is a web page (HTML), not a video: send the video itself"),
    (rb"<", "this is text (XML), not a video or picture: " + ACCEPTED),
    (rb"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02", _VIDEO.format("MXF")),
    (rb"\.RMF", _VIDEO.format("RealMedia")),
    (rb"DKIF", _VIDEO.format("IVF")),
    (rb"YUV4MPEG2", _VIDEO.format("Y4M (uncompressed video)")),
    (rb"[FCZ]WS[\x01-\x32]", _VIDEO.format("Flash (SWF)")),
    (rb"\xb7\xd8\x00\x20\x37\x49\xda\x11", _VIDEO.format("Windows recorded TV (WTV)")),
    (rb"BIK[a-k]|KB2[a-k]", _VIDEO.format("Bink")),
    (rb"SMK[24]", _VIDEO.format("Smacker")),
    (rb"\x1f\x07\x00", _VIDEO.format("raw DV")),
    (rb"nut/multimedia", _VIDEO.format("NUT")),
    (_CODE + rb"(\x40\x01|\x46\x01|\x42\x01)", _STREAM.format("HEVC (H.265)")),
    (_CODE + rb"[\x09\x27\x47\x67\x06]", _STREAM.format("H.264")),
    (rb"\x00\x00\x01\xb3", _STREAM.format("MPEG-1 or MPEG-2")),
    (rb"\x00\x00\x01(\xb0|\x00\x00\x00\x01\x20)", _STREAM.format("MPEG-4")),
    (rb"\x12\x00\x0a", _STREAM.format("AV1")),
    (rb"ID3|\xff[\xfa\xfb\xf2\xf3\xe2\xe3]", _SOUND.format("MP3")),
    (rb"\xff[\xf0\xf1\xf8\xf9]", _SOUND.format("AAC")),
    (rb"fLaC", _SOUND.format("FLAC")),
    (rb"RIFF....WAVE|RF64....WAVE", _SOUND.format("WAV")),
    (rb"FORM....AIF", _SOUND.format("AIFF")),
    (rb"MThd", _SOUND.format("MIDI")),
    (rb"#!AMR", _SOUND.format("AMR")),
    (rb"\.snd", _SOUND.format("AU")),
    (rb"\.ra\xfd", _SOUND.format("RealAudio")),
    (rb"caff", _SOUND.format("CAF")),
    (rb"wvpk", _SOUND.format("WavPack")),
    (rb"MAC ", _SOUND.format("Monkey's Audio")),
    (rb"\x0b\x77", _SOUND.format("AC-3")),
    (
        rb"Salted__|-----BEGIN PGP|age-encryption|\x85[\x01-\x04].\x03",
        "this file is encrypted: decrypt it, then " + ACCEPTED,
    ),
    (rb"MZ|\x7fELF|\xcf\xfa\xed\xfe", "this is a program, not a video or picture: " + ACCEPTED),
)
_PATTERNS = tuple((re.compile(start, re.DOTALL), message) for start, message in _REFUSED)
_NO_CONTROLS = bytes((*range(32, 256), *b"\t\n\r\f\x1b"))


def message_for(head: bytes) -> str:
    """Return the message that refuses a file with these first bytes; empty if its format is unknown."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    return next((message for pattern, message in _PATTERNS if pattern.match(head) or pattern.match(text)), "")


def message_for_unknown(head: bytes) -> str:
    """Return the message that refuses a file of an unknown format."""
    if head and not head.translate(None, _NO_CONTROLS):
        return "this is text, not a video or picture: " + ACCEPTED
    return "the format of this file is unknown: " + ACCEPTED
