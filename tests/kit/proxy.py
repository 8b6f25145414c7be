"""A TCP proxy on loopback for tests: a slow network, on which requests are lost."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal

Fault = Literal["stall", "break", "lose"]
"""A command never arrives, or the connection breaks before it, or before its answer."""


class Proxy:
    """Everything takes `latency` seconds each way; `faults` are of the next commands of a page."""

    def __init__(self, port: int, latency: float) -> None:
        """`port` is where the server listens."""
        self.latency = latency
        self.faults: deque[Fault] = deque()
        self.port = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open = asyncio.Event()
        self._open.set()
        self._server_port = port
        self._tasks: set[asyncio.Task[None]] = set()
        self._ends: set[asyncio.StreamWriter] = set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._ends.add(writer)
        with suppress(OSError):
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
            self._ends.add(to_server)
            connection = _Connection(self, writer)
            await asyncio.gather(
                self._pass(reader, to_server, connection.asked),
                self._pass(from_server, writer, connection.answered),
            )

    async def _pass(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        judge: Callable[[bytes], bool],
    ) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while data := await source.read(65536):
                await self._open.wait()
                if judge(data):
                    loop.call_later(self.latency, sink.write, data)
        loop.call_later(self.latency, sink.close)

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Inside the block nothing arrives, and no connection ends; afterwards everything does."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._open.clear)
        yield
        self._loop.call_soon_threadsafe(self._open.set)

    async def run(self, started: threading.Event, stopping: asyncio.Event) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await stopping.wait()
        server.close()
        for end in self._ends:
            end.transport.abort()
        await asyncio.gather(*self._tasks)


class _Connection:
    """What may happen to a connection: each chunk of data may pass, or not."""

    def __init__(self, proxy: Proxy, page: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._page = page
        self._fault: Fault | None = None

    def asked(self, data: bytes) -> bool:
        head = data.partition(b"\r\n")[0]
        if head.startswith(b"POST ") and b"/api/devices/" in head and self._proxy.faults:
            self._fault = self._proxy.faults.popleft()
        if self._fault == "break":
            self._page.transport.abort()
        return self._fault in (None, "lose")

    def answered(self, _: bytes) -> bool:
        if self._fault == "lose":
            self._page.transport.abort()
        return self._fault is None


@contextmanager
def proxied(port: int, latency: float) -> Iterator[Proxy]:
    """A proxy in front of a server on loopback while the block lasts."""
    proxy = Proxy(port, latency)
    started = threading.Event()
    loop = asyncio.new_event_loop()
    stopping = asyncio.Event()
    run = proxy.run(started, stopping)
    thread = threading.Thread(target=loop.run_until_complete, args=(run,), name="proxy")
    thread.start()
    try:
        assert started.wait(30)
        yield proxy
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(30)
        loop.close()
