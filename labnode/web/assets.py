"""The files that the pages ask for: compressed on their way, and asked for again with 304."""

from __future__ import annotations

import functools
import gzip
from contextlib import closing
from pathlib import Path

from bottle import HTTPResponse, request, static_file

from labnode.web import pages

_TEXTS = (".js", ".css", ".svg")


def asset(path: str) -> HTTPResponse:
    """One of the files under `static/`."""
    response = static_file(path, root=str(pages.STATIC))
    response.set_header("Cache-Control", "no-cache")  # asked again each time, answered with 304
    if not path.endswith(_TEXTS):
        return response
    response.set_header("Vary", "Accept-Encoding")
    if response.status_code == 200 and request.method == "GET" and _takes_gzip():
        with closing(response.body) as file:
            response.body = packed(Path(file.name))
        response.set_header("Content-Encoding", "gzip")
        response.set_header("Content-Length", str(len(response.body)))
    return response


@functools.cache
def packed(file: Path) -> bytes:
    """A file as it is sent; it does not change while labnode runs."""
    return gzip.compress(file.read_bytes(), mtime=0)


def _takes_gzip() -> bool:
    accepted = (
        part.strip().lower() for part in request.get_header("Accept-Encoding", "").split(",")
    )
    return any(part == "gzip" or part.startswith("gzip;q=1") for part in accepted)
