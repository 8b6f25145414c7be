"""/metrics of a node, at an address of its own; where the settings have none, nothing."""

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
    """Serves the numbers from `start` to `stop`; `status` is what `labnode status` says.

    The library for them is loaded only where the settings say `metrics`: it takes some memory.
    """

    def __init__(
        self,
        settings: Settings,
        board: Board,
        bus: Bus,
        clock: Clock,
        status: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._ready = False  # until then it says so: no numbers are better than wrong ones
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
        """The node's WSGI application, whose answers are counted."""
        return app if self._metrics is None else self._metrics.counted(app)

    def start(self) -> None:
        """ConfigError when the address cannot be had."""
        if self._metrics is not None and self.web is not None:
            self.web.start()
            self._metrics.begin()

    def begin(self) -> None:
        """The node is ready: its numbers are right from now on."""
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
        if environ["PATH_INFO"] != "/metrics" or environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"There is only GET /metrics here.\n"]
        if not self._ready:
            start_response("503 Service Unavailable", [("Content-Type", "text/plain")])
            return [b"The node is just starting.\n"]
        from labnode.system.metrics import CONTENT_TYPE

        assert self._metrics is not None
        text = self._metrics.text()
        start_response("200 OK", [("Content-Type", CONTENT_TYPE), ("Cache-Control", "no-store")])
        return [text]
