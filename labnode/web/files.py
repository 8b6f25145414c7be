"""Static files of the page and of the lab, compressed for browsers that accept it."""

from __future__ import annotations

import functools
import gzip
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from bottle import Bottle, HTTPError, HTTPResponse, request, static_file

from labnode.files import lies_in
from labnode.web import html, scripts

_PACKED = {".css", ".html", ".js", ".json", ".mjs", ".svg", ".txt", ".csv"}
_LARGEST = 1 << 20  # bytes of a file that is packed in memory
_GZIP = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # deflated, without a time or a system
_LIFELESS = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"


def serve_files(app: Bottle, board: Path, picture: Path | None) -> None:
    """`static/`, and below it `static/lab/`: the folder static/ beside the board; its `picture`."""
    beside = board.absolute().parent / "static"
    app.get("/static/lab/<path:path>", callback=lambda path: send(path, beside), access="observer")
    app.get("/static/<path:path>", callback=lambda path: send(path, html.STATIC), access="public")
    if picture is not None:
        app.get("/api/picture", callback=lambda: _send_picture(board, picture), access="observer")
    icon = functools.partial(send, "icon.svg", html.STATIC)
    app.get("/favicon.ico", callback=icon, access="public")


def send(name: str, folder: Path) -> HTTPResponse:
    """A file of a folder; browsers revalidate it each time, with a 304 if it is unchanged.

    A link may lead to what is beside the folder and below, and no further.
    """
    file = folder / name.strip("/\\")
    if not lies_in(folder.parent, Path(folder.name, file.relative_to(folder))):
        return HTTPError(404, "File does not exist.")
    response = static_file(name, root=str(folder))
    response.set_header("Cache-Control", "no-cache")
    if response.status_code != 200 or request.method != "GET":
        return response
    if file.suffix not in _PACKED or file.stat().st_size > _LARGEST:
        return response
    response.set_header("Vary", "Accept-Encoding")
    if packed := accepts_gzip():
        response.set_header("Content-Encoding", "gzip")
    if packed or _is_module(file):
        response.body.close()
        response.body = _content(file, packed, file.stat().st_mtime_ns)
        response.set_header("Content-Length", str(len(response.body)))
    return response


def _is_module(file: Path) -> bool:
    return file.suffix == ".js" and file.parent == html.STATIC


def _send_picture(board: Path, picture: Path) -> HTTPResponse:
    """The board's picture; wherever it is shown, no script runs in it and it loads nothing."""
    folder = board.absolute().parent
    name = picture.absolute().relative_to(folder)
    response = send(str(name), folder) if lies_in(folder, name) else HTTPError(404)
    response.set_header("Content-Security-Policy", _LIFELESS)
    response.set_header("X-Content-Type-Options", "nosniff")
    return response


def send_page(page: str, headers: Mapping[str, str], lasting: Sequence[str] = ()) -> HTTPResponse:
    """A student's page with these headers, compressed if possible.

    `lasting` are long parts of it, in their order, that many pages have in common: they are
    compressed once.
    """
    headers = {"Cache-Control": "no-store", "Vary": "Accept-Encoding", **headers}
    if not accepts_gzip():
        return HTTPResponse(page, **headers)
    headers["Content-Type"] = "text/html; charset=UTF-8"
    return HTTPResponse(zipped(page, lasting), **{**headers, "Content-Encoding": "gzip"})


def zipped(text: str, lasting: Sequence[str]) -> bytes:
    """`text` as gzip (RFC 1952), of pieces that refer to nothing before them; see `send_page`."""
    pieces, rest = [], text
    for part in lasting:
        before, found, after = rest.partition(part)
        if found:
            pieces += [_deflate(before.encode()), _lasting(part)]
            rest = after
    pieces.append(_deflate(rest.encode(), zlib.Z_FINISH))
    whole = text.encode()
    end = struct.pack("<II", zlib.crc32(whole), len(whole) & 0xFFFFFFFF)
    return b"".join([_GZIP, *pieces, end])


@functools.lru_cache(maxsize=32)
def _lasting(part: str) -> bytes:
    return _deflate(part.encode())


def _deflate(data: bytes, flush: int = zlib.Z_FULL_FLUSH) -> bytes:
    deflater = zlib.compressobj(6, wbits=-zlib.MAX_WBITS)
    return deflater.compress(data) + deflater.flush(flush)


def accepts_gzip() -> bool:
    """Whether the client of this request accepts gzip."""
    for part in request.get_header("Accept-Encoding", "").split(","):
        name, _, weight = part.partition(";")
        if name.strip().lower() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


@functools.lru_cache(maxsize=64)
def _content(file: Path, packed: bool, _changed: int) -> bytes:
    if not _is_module(file):
        return gzip.compress(file.read_bytes(), 9)
    script = scripts.served(file.stem)
    return (
        gzip.compress(scripts.COMMENTS.sub("", script).encode(), 9) if packed else script.encode()
    )
