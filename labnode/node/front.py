"""Chooses the application that answers a request; trusted proxies, base path, security headers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from labnode.lab.pages import accepted
from labnode.locale import BUILT_IN
from labnode.settings import Settings
from labnode.web import html
from labnode.weblab import lde, messages

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_HTTPS_FOR = 365 * 86400  # seconds in which a browser takes nothing but https for this host
_STARTING = "The lab is just starting; ask again in a moment."
_FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST")


def front(site: Callable[[], Wsgi | None], settings: Settings) -> Wsgi:
    """A WSGI application: the `site` of the present board, or a "starting" page while it is None.

    Answers get the security headers that they do not have.
    """
    headers = _security_headers(settings)

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(status: str, given: list[tuple[str, str]], *error: Any) -> Any:
            present = {name.lower() for name, _ in given}
            added = [(name, value) for name, value in headers if name.lower() not in present]
            return start_response(status, given + added, *error)

        return (site() or starting)(environ, start)

    return serve


def starting(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """A WSGI application that answers 503; browsers get a page that reloads itself.

    Health checks get 200 with `success` false.
    """
    headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
    path = environ.get("PATH_INFO", "")
    if path.endswith("/weblab/health"):
        start_response("200 OK", headers)
        return [json.dumps({"found": True, "success": False, "message": _STARTING}).encode()]
    headers += [("Retry-After", "2")]
    if "text/html" in environ.get("HTTP_ACCEPT", ""):
        headers[0] = ("Content-Type", "text/html; charset=UTF-8")
        start_response("503 Service Unavailable", headers)
        language = BUILT_IN.best(accepted(environ.get("HTTP_ACCEPT_LANGUAGE", "")))
        return [html.render_loading(language).encode()]
    start_response("503 Service Unavailable", headers)
    said = lde.refusal(_STARTING, 503) if "/ldl/" in path else messages.failure(_STARTING)
    return [json.dumps({**said, "code": "busy"}).encode()]


def site(student: Wsgi, protocol: Wsgi, settings: Settings, admin: Wsgi | None = None) -> Wsgi:
    """One application for the central server's protocol, the administration and the students.

    Repeated slashes count as one, and a proxy may have removed the base path. The applications get
    the browser's `REMOTE_ADDR`, `HTTP_HOST` and `wsgi.url_scheme` if a trusted proxy sends them,
    and no X-Forwarded headers.
    """
    base = settings.base_path
    protocol_bases = [base, ""] if settings.weblab_base is None else [settings.weblab_base]

    def serve(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        environ, path = _unwrapped(environ, settings, settings.scheme)
        for prefix in protocol_bases:
            if path.startswith((f"{prefix}/weblab/", f"{prefix}/ldl/")):
                return protocol(_below(environ, prefix, path), start)
        if base and path == base:  # relative addresses in the page count from its slash
            start("302 Found", [("Location", f"{base}/"), ("Content-Length", "0")])
            return []
        rest = path.removeprefix(base) if path.startswith(f"{base}/") else path
        environ = {**environ, "SCRIPT_NAME": base, "PATH_INFO": rest}
        if admin is not None and f"{environ['PATH_INFO']}/".startswith("/admin/"):
            return admin(environ, start)
        return student(environ, start)

    return serve


def admin_site(admin: Wsgi, settings: Settings) -> Wsgi:
    """The administration at an address of its own, with or without the base path.

    What a proxy says counts as in `site`; without one it is plain HTTP, as through ssh.
    """
    home = f"{settings.base_path}/admin"

    def serve(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        environ, path = _unwrapped(environ, settings, "http")
        environ["labnode.admin_site"] = True
        for prefix in (settings.base_path, ""):
            if f"{path}/".startswith(f"{prefix}/admin/"):
                return admin(_below(environ, prefix, path), start)
        if path.rstrip("/") in ("", settings.base_path):
            start("302 Found", [("Location", home), ("Content-Length", "0")])
            return []
        start("404 Not Found", [("Content-Type", "text/plain")])
        return [f"There is only {home} here.\n".encode()]

    return serve


def _unwrapped(
    environ: dict[str, Any], settings: Settings, scheme: str
) -> tuple[dict[str, Any], str]:
    """The request as the browser has sent it, and its path."""
    environ = {**environ, "wsgi.url_scheme": scheme, "labnode.base": settings.base_path}
    _unwrap(environ, settings.trusted_proxies)
    return environ, re.sub("/{2,}", "/", environ.get("PATH_INFO") or "/")


def _below(environ: dict[str, Any], prefix: str, path: str) -> dict[str, Any]:
    rest = path.removeprefix(prefix) or "/"
    return {**environ, "SCRIPT_NAME": prefix, "PATH_INFO": rest}


def _unwrap(environ: dict[str, Any], trusted: Collection[str]) -> None:
    """Replace the address, scheme and host of trusted proxies by the browser's."""
    addresses, scheme, host = (environ.pop(name, "") for name in _FORWARDED)
    proxies = {_parse(proxy) for proxy in trusted} - {None}
    if _parse(environ.get("REMOTE_ADDR", "")) not in proxies:
        return
    for address in reversed([part.strip() for part in addresses.split(",")]):
        if (parsed := _parse(address)) is None:
            break  # anybody could have written what is before it
        environ["REMOTE_ADDR"] = address
        if parsed not in proxies:
            break
    if scheme in ("http", "https"):
        environ["wsgi.url_scheme"] = scheme
    if host:
        environ["HTTP_HOST"] = host.rpartition(",")[2].strip()


@lru_cache(1024)
def _parse(address: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(address)
    except ValueError:
        return None


def _security_headers(settings: Settings) -> list[tuple[str, str]]:
    headers = [
        ("Content-Security-Policy", html.content_security_policy(settings)),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
    ]
    if settings.secure:
        headers.append(("Strict-Transport-Security", f"max-age={_HTTPS_FOR}"))
    return headers
