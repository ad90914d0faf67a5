"""HTTP views of resumable uploads: tus 1.0 with creation, checksums, expiration and termination.

A body is written to its file as it arrives (nginx/snippets/resumable.conf passes it on unbuffered), so each one holds
a thread; TransferLimiter limits their number.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.utils import formatdate

from flask import Blueprint, Response, g, jsonify, request

from app.auth import guard
from app.errors import BadRequest, ClipstackError, Overloaded, TooLarge, UnsupportedMedia
from app.media.types import Source
from app.parts import part
from app.settings import Settings
from app.uploads import tus
from app.uploads.errors import TusVersionUnknown
from app.uploads.parser import Upload
from app.uploads.resumable import ResumableStore, ResumableUpload
from app.uploads.transfer import Body, TransferLimiter, append
from app.web import nodes

blueprint = Blueprint("uploads", __name__)


@contextmanager
def use(identity: str) -> Iterator[Upload]:
    """Yield a complete upload of the request's owner; it is removed unless the block raises an exception."""
    nodes.require_here(identity)
    g.upload = identity
    with part(ResumableStore).use(guard.owner(), identity) as upload:
        metadata = tus.parse_metadata(upload.metadata)
        name = metadata.get("filename") or metadata.get("name", "")
        yield Upload(Source(str(upload.data), 0, upload.length), name)


def _max_bytes() -> int:
    return part(Settings).max_upload_mb << 20


@blueprint.route("/v1/uploads", methods=["OPTIONS"], provide_automatic_options=False)
def capabilities() -> Response:
    """Tell what this service supports of tus."""
    headers = {"Tus-Version": tus.VERSION, "Tus-Extension": ",".join(tus.EXTENSIONS)}
    headers |= {"Tus-Max-Size": str(_max_bytes()), "Tus-Checksum-Algorithm": ",".join(tus.ALGORITHMS)}
    return Response(status=204, headers=headers)


@blueprint.post("/v1/uploads", provide_automatic_options=False)
def create() -> tuple[Response, int]:
    """Create an upload; a body with the type of chunks is its beginning."""
    _check_version()
    if "Upload-Length" not in request.headers:
        raise BadRequest("Upload-Length is missing: an upload needs its whole length in bytes from the start")
    length = tus.parse_size("Upload-Length", request.headers["Upload-Length"])
    if length > _max_bytes():
        raise TooLarge(f"the file is larger than the {_max_bytes() >> 20} MiB allowed")
    metadata = request.headers.get("Upload-Metadata", "")
    tus.parse_metadata(metadata)
    upload = part(ResumableStore).create(guard.owner(), length, metadata)
    offset = 0
    if request.mimetype == tus.CHUNK_TYPE:
        with suppress(ClipstackError):  # the upload exists: the client needs its address, and asks for its offset
            offset = _receive(upload.id, 0)
    response = jsonify(id=upload.id, length=length, offset=offset)
    response.headers.update(_progress(upload, offset) | {"Location": f"/v1/uploads/{upload.id}"})
    return response, 201


@blueprint.route("/v1/uploads/<identity>", methods=["HEAD"], provide_automatic_options=False)
def show(identity: str) -> Response:
    """Tell how much of an upload has arrived."""
    _check_version()
    with suppress(ClipstackError), part(ResumableStore).locked(guard.owner(), identity):
        pass  # wait for an interrupted request to write its last bytes, so that the offset is final
    upload = part(ResumableStore).find(guard.owner(), identity)
    headers = _progress(upload, upload.offset) | {"Upload-Length": str(upload.length)}
    return Response(status=200, headers=headers | ({"Upload-Metadata": upload.metadata} if upload.metadata else {}))


@blueprint.patch("/v1/uploads/<identity>")
def send_chunk(identity: str) -> Response:
    """Append the body to an upload."""
    _check_version()
    if request.mimetype != tus.CHUNK_TYPE:
        raise UnsupportedMedia(f"a chunk needs the Content-Type {tus.CHUNK_TYPE}")
    offset = _receive(identity, tus.parse_size("Upload-Offset", request.headers.get("Upload-Offset", "")))
    return Response(status=204, headers=_progress(part(ResumableStore).find(guard.owner(), identity), offset))


@blueprint.delete("/v1/uploads/<identity>")
def remove(identity: str) -> Response:
    """Remove an upload."""
    _check_version()
    with part(ResumableStore).locked(guard.owner(), identity) as upload:
        upload.remove()
    return Response(status=204)


def _receive(identity: str, offset: int) -> int:
    """Append the request's body to an upload at `offset` and return the new offset."""
    body, owner = _body(), guard.owner()
    try:
        checksum = tus.parse_checksum(request.headers.get("Upload-Checksum", ""))
        with part(TransferLimiter).hold(owner), part(ResumableStore).locked(owner, identity) as upload:
            return append(upload, body, offset, checksum)
    except Overloaded:
        raise
    except ClipstackError:
        body.discard()
        raise


def _body() -> Body:
    """Return the request's body, straight from gunicorn: werkzeug's stream would drop what came before a break."""
    connection: socket.socket | None = request.environ.get("gunicorn.socket")

    def stop() -> None:
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)

    is_chunked = "chunked" in request.headers.get("Transfer-Encoding", "").lower()
    return Body(request.environ["wsgi.input"].read, None if is_chunked else request.content_length or 0, stop)


def _check_version() -> None:
    if request.headers.get("Tus-Resumable") != tus.VERSION:
        raise TusVersionUnknown(f"send the header 'Tus-Resumable: {tus.VERSION}' (https://tus.io)")


def _progress(upload: ResumableUpload, offset: int) -> dict[str, str]:
    ends = upload.last_written + part(ResumableStore).limits.lifetime_s
    return {"Upload-Offset": str(offset), "Upload-Expires": formatdate(ends, usegmt=True)}


@blueprint.after_app_request
def _add_headers(response: Response) -> Response:
    """Add the headers of every answer about uploads, errors included."""
    if request.path == "/v1/uploads" or request.path.startswith("/v1/uploads/"):
        response.headers["Tus-Resumable"] = tus.VERSION
        response.headers["Cache-Control"] = "no-store"
        if g.get("error_code") == TusVersionUnknown.code:
            response.headers["Tus-Version"] = tus.VERSION
    return response
