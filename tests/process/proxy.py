"""Debian's nginx as an ordinary process, with deploy/nginx/labnode.conf, in its own directory."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "nginx" / "labnode.conf"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin")

_PATIENCE = 10.0  # seconds
_FRAME = """
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {{}}
http {{
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
{site}
}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Nginx:
    """Listens when it has been made; `changes` are made to the configuration, none in vain."""

    def __init__(self, directory: Path, port: int, changes: Mapping[str, str]) -> None:
        directory.mkdir()
        self.access_log = directory / "access.log"
        site = CONFIGURATION.read_text()
        listen = {"listen 80;": f"listen 127.0.0.1:{port};"}
        log = {"/var/log/nginx/labnode.log": str(self.access_log)}
        for old, new in {**listen, **log, **changes}.items():
            assert old in site, f"labnode.conf has no {old!r}"
            site = site.replace(old, new)
        file = directory / "nginx.conf"
        file.write_text(_FRAME.format(site=site))
        self._errors = directory / "stderr"
        with self._errors.open("wb") as errors:
            self._popen = subprocess.Popen(
                [str(NGINX), "-p", directory, "-c", file],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
            )
        try:
            self._wait_for(port)
        except BaseException:
            self.end()
            raise

    @property
    def errors(self) -> str:
        """What it has complained about."""
        return self._errors.read_text()

    def end(self) -> None:
        """Leave nothing of it behind."""
        self._popen.terminate()
        try:
            self._popen.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait(_PATIENCE)

    def _wait_for(self, port: int) -> None:
        pause = threading.Event()
        for _ in range(int(_PATIENCE / 0.01)):
            assert self._popen.poll() is None, f"nginx did not start: {self.errors}"
            try:
                socket.create_connection(("127.0.0.1", port), _PATIENCE).close()
            except ConnectionRefusedError:
                pause.wait(0.01)
            else:
                return
        raise AssertionError(f"nginx does not listen: {self.errors}")
