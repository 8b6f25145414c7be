"""/metrics at an address of its own, if the settings have one."""

# ruff: noqa: PLC0415
from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from labnode import __version__
from labnode.board import Board
from labnode.board.snapshot import with_counts
from labnode.clock import Clock
from labnode.events import Bus
from labnode.http import WebServer
from labnode.settings import Settings

if TYPE_CHECKING:
    from labnode.system.metrics import Metrics

_THREADS = 2


class Telemetry:
    """Serves the metrics from `start` to `stop`; `status` is what `labnode status` says.

    Their library is loaded only with the setting `metrics`: it takes some memory.
    """

    def __init__(
        self,
        settings: Settings,
        board: Board,
        bus: Bus,
        clock: Clock,
        status: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._ready = False  # no numbers are better than wrong ones
        self._metrics: Metrics | None = None
        self.web: WebServer | None = None
        if settings.metrics is None:
            return
        from labnode.system.gauges import MachineGauges, NodeGauges
        from labnode.system.metrics import Metrics
        from labnode.system.pi import Machine

        machine = Machine()
        lab = board.file.lab
        build = {
            "version": __version__,
            "python": platform.python_version(),
            "machine": machine.model() or platform.machine(),
            "experiment": f"{lab.name}@{lab.category}",
        }
        self._metrics = Metrics(bus, clock, build)
        self._metrics.registry.register(
            NodeGauges(status, lambda: with_counts(board.snapshot, board.file.devices))
        )
        self._metrics.registry.register(MachineGauges(machine, settings.state_dir, clock))
        host, _, port = settings.metrics.rpartition(":")
        self.web = WebServer(
            self._serve, host=host.strip("[]"), port=int(port), threads=_THREADS, name="metrics"
        )

    def counted(self, app: Callable[..., Any]) -> Callable[..., Any]:
        """`app`, a WSGI application, with its answers counted."""
        return app if self._metrics is None else self._metrics.counted(app)

    def start(self) -> None:
        """ConfigError if the address is not available."""
        if self._metrics is not None and self.web is not None:
            self.web.start()
            self._metrics.begin()

    def begin(self) -> None:
        """The node is ready: serve its numbers."""
        self._ready = True

    def stop(self, timeout: float) -> None:
        if self._metrics is not None and self.web is not None:
            self.web.stop(timeout)
            self._metrics.end()

    def fault(self) -> str | None:
        """Why nothing is served any more, or None; any thread may ask."""
        return None if self.web is None else self.web.fault()

    def _serve(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        kind = "text/plain"
        if environ["PATH_INFO"] != "/metrics" or environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            status, text = "404 Not Found", b"There is only GET /metrics here.\n"
        elif self._metrics is None or not self._ready:
            status, text = "503 Service Unavailable", b"The node is just starting.\n"
        else:
            from labnode.system.metrics import CONTENT_TYPE

            status, kind, text = "200 OK", CONTENT_TYPE, self._metrics.text()
        start_response(status, [("Content-Type", kind), ("Cache-Control", "no-store")])
        return [text]
