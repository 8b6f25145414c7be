"""The web server: a WSGI application behind hard limits, on a bounded pool of threads."""

from __future__ import annotations

import errno
import io
import logging
import socket
import sys
import threading
from collections.abc import Collection
from contextlib import suppress
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_network
from wsgiref.types import WSGIApplication, WSGIEnvironment

from labnode.clock import Clock
from labnode.errors import ConfigError
from labnode.http.connection import ClientGone, Connection, Limits, Listener
from labnode.http.reactor import Reactor
from labnode.http.response import Response
from labnode.http.writer import Large, nothing_large
from labnode.threads import Pool

logger = logging.getLogger(__name__)

_BACKLOG = 128
_REPORTED = 200  # characters of an error
_CUT_OFF = 0.5  # seconds that stop() gives, after its timeout, to threads whose client is cut off


class WebServer:
    """Serves `app` from `start` to `stop`; may be started again.

    One thread, `name`, has all sockets and reads requests as a whole; at most `threads` threads,
    "http-1" and so on, call `app` and send what it answers, so `app` never waits for a slow sender;
    they come and go with the requests, all but one. Times
    are in seconds, sizes in bytes. `trusted_proxies` are addresses or networks that `per_address`
    does not limit. `environ["labnode.connection"]` is the client's `Connection`. Bodies for which
    `large` has a sink go there as they come, and may take longer, as long as they keep coming; one
    thread, "http-writer-1", waits for the disk then.

    A `listener` at that address, which outlives the server, is used instead of one of its own:
    then `inherits`, and clients who come before `start` or after `hold` wait in it.
    """

    def __init__(
        self,
        app: WSGIApplication,
        *,
        host: str,
        port: int,
        threads: int = 20,
        read_deadline: float = 10.0,
        keep_alive: float = 75.0,  # between requests; nginx keeps 60 s, and should be first to end
        max_head: int = 16384,
        max_body: int = 1 << 20,
        per_address: int = 32,
        connections: int = 200,
        trusted_proxies: Collection[str] = (),
        name: str = "http",
        large: Large = nothing_large,
        listener: socket.socket | None = None,
    ) -> None:
        self.address = (host, port)  # after start() with the real port
        self._inherited = listener if listener and _is_at(listener, host, port) else None
        self._app = app
        self._wanted = (host, port)
        self._size = threads
        self._name = name
        self._limits = Limits(
            read_deadline=read_deadline,
            keep_alive=keep_alive,
            max_head=max_head,
            max_body=max_body,
            memory=16 * max_body,
            connections=connections,
            per_address=per_address,
            large=large,
            trusted=tuple(_network(proxy) for proxy in trusted_proxies),
        )
        self._lock = threading.Lock()  # of start and stop
        self._listener: Listener | None = None
        self._thread: threading.Thread | None = None  # the reactor's

    @property
    def inherits(self) -> bool:
        """Whether it serves a socket in which clients wait while it does not."""
        return self._inherited is not None

    def start(self) -> None:
        """Listen and serve; ConfigError says why the address cannot be used."""
        with self._lock:
            if self._listener is not None:
                raise RuntimeError("the web server is already started")
            inherited = self._inherited
            sock = _listen(*self._wanted) if inherited is None else inherited.dup()
            # Connections inherit it: answers leave at once.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.address = sock.getsockname()[:2]
            reactor = Reactor(self._name)
            serve = partial(_serve, self._app, self.address)
            waiting = 2 * self._limits.connections  # more than there are to be served
            requests = Pool(self._name, serve, most=self._size, waiting=waiting, least=1)
            self._listener = Listener(sock, self._limits, reactor, requests)
            self._thread = threading.Thread(target=reactor.run, name=self._name, daemon=True)
            self._thread.start()
            requests.start()

    def fault(self) -> str | None:
        """Why requests are not served any more, or None; any thread may ask."""
        listener, thread = self._listener, self._thread
        if listener is None or thread is None or listener.reactor.stopping:
            return None
        dead = listener.requests.dead() if thread.is_alive() else thread.name
        if dead is not None:
            return f"the web server's thread {dead} has died"
        return listener.reactor.busy.fault() or listener.writer.fault()

    def hold(self) -> None:
        """Accept nobody any more who can wait in the socket that is inherited."""
        listener = self._listener
        if self.inherits and listener is not None:
            listener.leave()

    def stop(self, timeout: float = 5.0) -> None:
        """Close what is idle at once; requests in flight get `timeout` seconds, then are cut off.

        All threads have ended then, except those of views that hang: these end with the view.
        """
        with self._lock:
            listener, self._listener = self._listener, None
            thread, self._thread = self._thread, None
            if listener is None or thread is None:
                return
            listener.reactor.stop()
            thread.join(timeout)
            listener.reactor.abandon()  # nothing is left to be cut off, if it has ended in time
            now = Clock().now
            deadline = now() + _CUT_OFF
            thread.join(_CUT_OFF)
            listener.give_back_unserved()
            threads = [thread, *listener.requests.close(), *listener.writer.close()]
            for each in threads:
                each.join(max(0.0, deadline - now()))
            hanging = [each.name for each in threads if each.is_alive()]
            if hanging:
                logger.warning("Requests still run after the stop, in %s", ", ".join(hanging))


def _serve(app: WSGIApplication, address: tuple[str, int], connection: Connection) -> None:
    """Serve a request as far as its client takes the answer: on a thread of the pool."""
    reactor = connection.reactor
    try:
        if connection.closed or reactor.abandoned:
            connection.drop_answer()
        else:
            _take_turn(app, address, connection, last=reactor.stopping)
    except ClientGone:
        logger.debug("%s went away before its answer", connection.address)
    except Exception:
        logger.exception("A request failed because of a fault in the server")
    finally:
        connection.give_back()


def _take_turn(
    app: WSGIApplication, address: tuple[str, int], connection: Connection, *, last: bool
) -> None:
    answer, connection.answer = connection.answer, None
    if answer is None and connection.request is not None:
        environ = _environ(connection, connection.request, address)
        answer = Response(connection, app, environ, last=last)
    if answer is not None and not answer.turn():
        connection.answer = answer


def _environ(
    connection: Connection, request: WSGIEnvironment, address: tuple[str, int]
) -> WSGIEnvironment:
    return request | {
        "SERVER_NAME": address[0],
        "SERVER_PORT": str(address[1]),
        "REMOTE_ADDR": connection.address,
        "REMOTE_PORT": str(connection.port),
        "labnode.connection": connection,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input_terminated": True,
        "wsgi.errors": _ErrorLog(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


class _ErrorLog(io.TextIOBase):
    """WSGI's stream for errors: one line of the log for each text.

    Bottle writes a whole traceback there, also of what its own error handler logs.
    """

    def write(self, text: str) -> int:
        error = sys.exc_info()[1]
        last = repr(error) if error is not None else text.strip().rpartition("\n")[2]
        logger.error("An application reports an error: %s", last[:_REPORTED])
        return len(text)


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise ConfigError(
            f"trusted_proxies: {text!r} is not an IP address or network; expected, for example, "
            "127.0.0.1 or 10.0.0.0/8"
        ) from None


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise ConfigError(f"port {port} does not exist; choose one from 1024 to 65535")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    except (OSError, UnicodeError):
        raise ConfigError(f"host {host!r} is not an address that can be listened on") from None
    try:
        # "::" serves IPv4 clients too.
        dual = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
        listener = socket.create_server(
            address, family=family, backlog=_BACKLOG, dualstack_ipv6=dual
        )
    except OSError as error:
        raise ConfigError(_sentence(error, host, port)) from None
    return listener


def _is_at(listener: socket.socket, host: str, port: int) -> bool:
    """Whether it is where the settings say; if not, a warning says what to do."""
    bound = listener.getsockname()[:2]
    with suppress(OSError, UnicodeError):
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        if bound in [address[:2] for *_, address in found]:
            return True
    logger.warning(
        "systemd listens on port %d of %s, but the settings say port %d of %s, and they count: "
        "`install.sh upgrade` tells systemd.",
        *(bound[1], bound[0], port, host),
    )
    return False


def _sentence(error: OSError, host: str, port: int) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {port} of {host} is already in use; stop that program or take another one"
        case errno.EACCES | errno.EPERM:
            return f"this user may not listen on port {port}; choose one from 1024 to 65535"
        case errno.EADDRNOTAVAIL:
            return f"host {host!r} is not an address of this machine; 0.0.0.0 stands for all it has"
        case _:
            return f"cannot listen on port {port} of {host}: {error.strerror}"
