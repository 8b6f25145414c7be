"""Checks of the texts in the settings: each returns the text in its normal form.

They raise ValueError with a sentence, which never repeats a secret.
"""

from __future__ import annotations

import ipaddress
import re
from base64 import b32decode
from collections.abc import Callable
from urllib.parse import SplitResult, urlsplit

from labnode.locale import Message
from labnode.schema import unlike
from labnode.settings.passwords import HashedPassword, is_hashed

_PATH = "(/[A-Za-z0-9._~-]+)"
_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_A_PATH = Message("setting.path")


def _matching(pattern: str, expected: Message) -> Callable[[str], str]:
    """A check that the whole text matches."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(unlike(expected, text))
        return text

    return check


client_name = _matching(r"[A-Za-z0-9._-]{1,64}", Message("setting.client-name"))
cookie_name = _matching(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", Message("setting.cookie-name"))
cookie_path = _matching(f"/|{_PATH}+/?", _A_PATH)
listening_host = _matching(  # an address or a name of this machine, without port
    r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?", Message("setting.listening")
)


def base_url(text: str) -> str:
    """ "", "/lab1" or "https://labs.example.org/lab1": no slash at the end."""
    expected = Message("setting.base-url")
    if "://" not in text:
        return _prefix(text, expected)
    url = _split(text)
    if url is None or url.query or url.fragment or text.endswith(("?", "#")):
        raise ValueError(unlike(expected, text))
    return _origin(url) + _prefix(url.path, expected)


def prefix(text: str) -> str:
    """ "" or "/lab1/protocol"."""
    return _prefix(text, _A_PATH)


def origin(text: str) -> str:
    """ "https://labs.example.org", as browsers write it: lower case, no default port."""
    url = _split(text)
    if url is None or url.path not in ("", "/") or url.query or url.fragment:
        raise ValueError(unlike(Message("setting.origin"), text))
    return _origin(url)


def link(text: str) -> str:
    """An address to send a browser to: "https://…" or a path on this host."""
    local = text.startswith("/") and not text.startswith(("//", "/\\"))
    if not text.isprintable() or " " in text or not (local or _split(text)):
        raise ValueError(unlike(Message("setting.link"), text))
    return text


def endpoint(text: str) -> str:
    """ "127.0.0.1:9464", "[::1]:9464": an IP address and a port."""
    host, colon, port = text.rpartition(":")
    try:
        number = int(port) if port.isascii() and port.isdecimal() else -1
        address = ipaddress.ip_address(host[1:-1] if host.startswith("[") else host)
        if not (colon and 0 <= number <= 65535 and (address.version == 6) == host.startswith("[")):
            raise ValueError
    except ValueError:
        raise ValueError(unlike(Message("setting.endpoint"), text)) from None
    return f"{host}:{number}"


def public_host(text: str) -> str:
    """A host as in a Host header: "labs.example.org" or "10.0.0.5:8080"."""
    if not _HOST.fullmatch(text):
        raise ValueError(unlike(Message("setting.host"), text))
    return text.lower()


def host_without_port(host: str) -> str | None:
    """The name or address in a Host header; None when it is not one."""
    parts = _HOST.fullmatch(host)
    return None if parts is None else parts[1].lower()


def address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(unlike(Message("setting.proxy"), text)) from None


def username(text: str) -> str:
    if not text or not text.isprintable() or ":" in text:
        raise ValueError(unlike(Message("setting.username"), text))
    return text


def password(value: str | list[str]) -> str | list[str]:
    words = [value] if isinstance(value, str) else value
    if not words or not all(word and word.isprintable() for word in words):
        raise ValueError(Message("setting.password"))
    for word in filter(is_hashed, words):
        HashedPassword.parse(word)
    return value


def totp(text: str) -> str:
    """The key of one-time codes in base 32, upper case and without spaces and padding."""
    key = text.replace(" ", "").rstrip("=").upper()
    try:
        size = len(b32decode(key + "=" * (-len(key) % 8)))
    except ValueError:
        size = 0
    if not 16 <= size <= 64:
        raise ValueError(Message("setting.totp"))
    return key


def secret_key(text: str) -> str:
    if len(text) < 16:
        raise ValueError(Message("setting.secret-key"))
    return text


def log_level(text: str) -> str:
    if text.upper() not in _LEVELS:
        expected = Message("error.one-of", names=", ".join(_LEVELS))
        raise ValueError(unlike(expected, text))
    return text.upper()


def _prefix(text: str, expected: Message) -> str:
    path = text.rstrip("/")
    if not re.fullmatch(f"{_PATH}*", path) or {".", ".."} & set(path.split("/")):
        raise ValueError(unlike(expected, text))
    return path


def _split(text: str) -> SplitResult | None:
    """The parts of a plain http(s) address; None when it is not one."""
    try:
        url = urlsplit(text)
        usable = url.port != 0 and url.scheme in ("http", "https") and _HOST.fullmatch(url.netloc)
    except ValueError:  # the port, or brackets that do not fit
        return None
    return url if usable and text.isascii() and text.isprintable() else None


def _origin(url: SplitResult) -> str:
    host = url.netloc.lower().removesuffix(_DEFAULT_PORTS[url.scheme])
    return f"{url.scheme}://{host}"
