"""labnode's web server, and an application that answers a constant.

python -m tests.benchmarks.constant PORT
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

from labnode.http.server import WebServer

ANSWER = b'{"should_finish": 5}'


def constant(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    length = str(len(ANSWER))
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", length)])
    return [ANSWER]


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    server = WebServer(constant, host="127.0.0.1", port=int(sys.argv[1]))
    server.start()
    signal.sigwait([signal.SIGTERM])
    server.stop()
