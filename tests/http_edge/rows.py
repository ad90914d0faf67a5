"""What was promised of each bad input and of each line of defence: the rows of two tables in docs/reliability.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from tests.nightly.faults.rows import Row
from tests.support.stacks import CHECKOUT

_BAD, _LARGE = "400 bad_request", "413 too_large"
_NO_MEDIA, _BROKEN, _LIMIT = "415 unsupported_media", "422 undecodable", "422 limit_exceeded"
_NAME = "200; the name means nothing"

INPUTS: dict[int, tuple[str, str]] = {
    1: ("no Host", _BAD),
    2: ("two Hosts", _BAD),
    3: ("TLS where HTTP is spoken", _BAD),
    4: ("Content-Length and Transfer-Encoding", _BAD),
    5: ("two Content-Lengths", _BAD),
    6: ("Content-Length: -1", _BAD),
    7: ("Content-Length: +4", _BAD),
    8: ("Content-Length of 23 digits", _BAD),
    9: ("a chunk whose size is no number", _BAD),
    10: ("a zero byte in a header", _BAD),
    11: ("a header folded over two lines", _BAD),
    12: ("a space before a header's colon", _BAD),
    13: ("/../ in the address", _BAD),
    14: ("/%2e%2e/ in the address", _BAD),
    15: ("%00 in the address", _BAD),
    16: ("CONNECT", _BAD),
    17: ("HTTP/0.9", _BAD),
    18: ("Transfer-Encoding: xchunked", "501 not_implemented"),
    19: ("Transfer-Encoding: chunked, identity", "501 not_implemented"),
    20: ("HTTP/9.9", "505 http_version"),
    21: ("a header of 9 KB", "431 headers_too_large"),
    22: ("150 headers", "431 headers_too_large"),
    23: ("an address of 9 KB", "414 uri_too_long"),
    24: ("TRACE", "405 method_not_allowed"),
    25: ("PUT", "405 method_not_allowed"),
    26: ("an unknown address", "404 not_found"),
    27: ("a Content-Length beyond the limit", _LARGE),
    28: ("a chunked body beyond the limit", _LARGE),
    29: ("the same with Expect: 100-continue", _LARGE),
    30: ("a form of 1,000 parts", _LARGE),
    31: ("a field of 200 KB", _LARGE),
    32: ("a part's head of 100 KB", _LARGE),
    33: ("headers that stop coming", "connection closed, no answer"),
    34: ("a body that stops coming", "connection closed, no answer"),
    35: ("a form without a boundary", "400 invalid_multipart"),
    36: ("a form that does not end", "400 invalid_multipart"),
    37: ("a form without a file", "400 missing_file"),
    38: ("an empty file", "400 empty_file"),
    39: ("two files", "400 too_many_files"),
    40: ("top_k of -1, NaN, 1e9", "400 invalid_parameter"),
    41: ("model=../x", "404 model_not_found"),
    42: ("an idempotency key again with another body", "409 idempotency_conflict"),
    43: ("a token that is wrong", "401 unauthorized"),
    44: ("another tenant's job", "404 job_not_found, as for one that never was"),
    45: ("a file named ../../etc/passwd", _NAME),
    46: ("a file with CR LF in its name", _NAME),
    47: ("a file with a name of 10 KB", _NAME),
    48: ("text", _NO_MEDIA),
    49: ("random bytes", _NO_MEDIA),
    50: ("zeros", _NO_MEDIA),
    51: ("SVG", _NO_MEDIA),
    52: ("ZIP", _NO_MEDIA),
    53: ("a playlist that names an http address", _NO_MEDIA),
    54: ("a playlist that names a file", _NO_MEDIA),
    55: ("a playlist of 2,000 segments", _NO_MEDIA + ", within 50 ms"),
    56: ("an ffconcat script", _NO_MEDIA),
    57: ("a session description (SDP)", _NO_MEDIA),
    58: ("a body in gzip", _NO_MEDIA),
    59: ("a codec that the decoder has not", _NO_MEDIA),
    60: ("an MP4 without its index", _BROKEN),
    61: ("an MP4 cut off behind its index", _BROKEN),
    62: ("an MP4 whose pictures are zeros", _BROKEN),
    63: ("the same from the middle on", _BROKEN),
    64: ("an MP4 that claims 2^31 frames (stts)", _BROKEN),
    65: ("an MP4 that claims 5e7 frames (stsz)", _BROKEN),
    66: ("an MP4 whose pictures are noise", _BROKEN),
    67: ("an MP4 of no frames", _BROKEN),
    68: ("an encrypted MP4 (CENC)", _BROKEN),
    69: ("a JPEG cut off", _BROKEN),
    70: ("sound alone", "422 no_video_stream"),
    71: ("a video of 8192x8192", _LIMIT),
    72: ("a video of 2.5 million frames", _LIMIT),
    73: ("a PNG of 20000x20000", _LIMIT),
    74: ("a GIF of 10,000 frames", _LIMIT),
    75: ("a picture of 1x65535", _LIMIT),
    76: ("a video that takes for ever to decode", "422 decode_timeout"),
    77: ("a video of one frame", "200, that frame"),
    78: ("a video turned by 90 degrees", "200, upright"),
    79: ("a video cut by an edit list", "200, the frames that are left"),
    80: ("frames with equal times", "200, in their order"),
    81: ("JPEG in CMYK, PNG of 16 bits, EXIF turned", "200, in its colours, upright"),
    82: ("TS and MKV cut off", "200, and truncated: true"),
    83: ("after all of these", "the same workers; no file, slot, region or descriptor left; no traceback in a log"),
}

_BOUNDED = "another client's median within 0.25 s; a worker grows by 64 MiB at most"
LINES: dict[int, tuple[str, str]] = {
    1: ("internal headers from a client, in every spelling", "the app sees what nginx says, and no unknown header"),
    2: ("CL.TE, TE.CL and TE.TE in 12 disguises", "one answer; nothing reaches the app"),
    3: ("headers with LF, NUL, spaces, a fold; lengths as +5, 0x5, 5,5", "at most one answer; no second request"),
    4: ("chunks with extensions, odd sizes, trailers, and what comes after them", "never a second request"),
    5: ("pipelined requests", "answered one by one, each seen by the app as its own"),
    6: ("ways out of the folders of files and of jobs", "no file but the page's; nothing reaches a disk"),
    7: ("slow clients: 200 uploads that stand still", "others are answered as fast; closed within 30 s + 5 s"),
    8: ("bodies and headers beyond the limits", "413, 414, 431 in JSON, before the body is sent"),
    9: ("every kind of answer: page, files, API, errors of both", "CSP, nosniff, no referrer, no frames; each once"),
    10: ("the same, and gunicorn's own errors", "no version, no product but nginx"),
    11: ("a mistake of the service itself", "500 internal in JSON; the story is in the log alone"),
    12: ("names of 10 KB and control characters", "a line a request in JSON, below 4 KB, nothing unprintable"),
    13: ("gunicorn's socket, as another user", "0660 in a folder closed to others; EACCES"),
    14: ("who the processes are", "no root but Supervisor's and nginx's master"),
    15: ("what listens", "nginx alone, on loopback; Triton has sockets in a folder of its user's; its HTTP is off"),
    16: ("regions of shared memory", "0600, with names that nobody can guess"),
    17: ("Triton's model control", "no other user loads or unloads models: its socket is closed to them"),
    18: ("playlists and session descriptions, with listeners where they point", "no connection, no datagram"),
    19: ("system calls of the web workers and decoders meanwhile (strace)", "no connect but to Triton"),
    20: ("a Host that is not the service's, without keys (DNS rebinding)", "421 unknown_host; nothing reaches the app"),
    21: ("what a page of another site sends", "403 cross_site before the body; own pages and programs are answered"),
    22: (
        "2,100, then 6,000 clients that send half of their headers",
        "others are answered within 1 s; closed within 10 s + 5 s",
    ),
    23: ("300 uploads of one address at a time, without keys", "256 are received, the others 429 before the body"),
    40: ("JSON of 15 MiB: depth, lists, members, keys, escapes; 6 at once", f"refused; {_BOUNDED}"),
    41: ("forms of as many parts, headers and boundaries as fit; 6 at once", f"refused; {_BOUNDED}"),
    42: ("as many parameters, cookies, ranges and list items as fit; 6 at once", f"answered; {_BOUNDED}"),
    43: ("numbers of 260 and 5,000 digits in addresses and parameters", "400 or 404"),
    44: ("HEAD of a job's events, and clients that leave before the first", "every place is free again"),
    45: ("the windows of a long timeline, 6 at once", f"pages of 20,000 at most; {_BOUNDED}"),
    46: ("clients that do not read large answers", "no thread of web waits for them"),
    47: ("videos and pictures with as many table entries, boxes and texts as fit; 6 at once", f"answered; {_BOUNDED}"),
}


class EdgeRow(Row):
    """A row that may say why the service does something else than the matrix asks for: that is no pass."""

    deliberately = ""

    def otherwise(self, why: str) -> None:
        self.deliberately = why


class Input(EdgeRow):
    """A row of bad inputs."""

    promises: ClassVar[Mapping[int, tuple[str, str]]] = INPUTS
    folder: ClassVar[Path] = CHECKOUT / ".runtime" / "inputs"


class Line(EdgeRow):
    """A row of security."""

    promises: ClassVar[Mapping[int, tuple[str, str]]] = LINES
    folder: ClassVar[Path] = CHECKOUT / ".runtime" / "security"
