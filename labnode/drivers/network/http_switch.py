"""A switch in the network with web addresses: Tasmota, Shelly, and other plugs."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Annotated, Literal
from urllib.parse import quote, urlsplit

from labnode.drivers.framework.driver import Claim
from labnode.drivers.framework.registry import register
from labnode.drivers.framework.slow import SlowSwitch
from labnode.errors import DeviceError, DeviceGone
from labnode.locale import Message
from labnode.schema import Between, Doc, unlike

_MOST = 65536  # bytes of an answer
_CANNOT = re.compile(r"[\x00-\x20\x7f]")


@dataclass(frozen=True)
class _Family:
    """The addresses of a family of plugs; `{n}` is the relay, counted from `first`."""

    on: str
    off: str
    state: str
    is_on: str
    is_off: str
    first: int


_FAMILIES = {
    # tasmota.github.io/docs/Commands: the state of the relay is the answer to all three
    "tasmota": _Family(
        "/cm?cmnd=Power{n}%20On",
        "/cm?cmnd=Power{n}%20Off",
        "/cm?cmnd=Power{n}",
        r'"POWER\d*"\s*:\s*"ON"',
        r'"POWER\d*"\s*:\s*"OFF"',
        1,
    ),
    # shelly-api-docs.shelly.cloud: gen2 and later, and the first generation
    "shelly": _Family(
        "/rpc/Switch.Set?id={n}&on=true",
        "/rpc/Switch.Set?id={n}&on=false",
        "/rpc/Switch.GetStatus?id={n}",
        r'"output"\s*:\s*true',
        r'"output"\s*:\s*false',
        0,
    ),
    "shelly_gen1": _Family(
        "/relay/{n}?turn=on",
        "/relay/{n}?turn=off",
        "/relay/{n}",
        r'"ison"\s*:\s*true',
        r'"ison"\s*:\s*false',
        0,
    ),
}


class WebAddress(str):
    """An address with http:// or https:// and a host."""

    json_schema = {"type": "string", "pattern": "^https?://"}  # noqa: RUF012

    @classmethod
    def from_yaml(cls, value: object) -> WebAddress:
        if isinstance(value, str) and not _CANNOT.search(value):
            try:
                parts = urlsplit(value)
                if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
                    return cls(value)
            except ValueError:
                pass  # a port that is no number
        raise ValueError(unlike(Message("driver.a-web-address"), value))


@register("http_switch")
@dataclass(kw_only=True)
class HttpSwitch(SlowSwitch):
    """A switch in the network with web addresses, such as a plug with Tasmota or Shelly.

    These need `family` and `address`; other plugs need `on_url` and `off_url`, and, to confirm the
    state, `state_url` with `on_pattern`. labnode follows no redirection. Use a network that
    students cannot reach: plugs obey anybody.

    Example::

        mains: {driver: http_switch, family: tasmota, address: http://192.168.1.20, safe: false}
    """

    family: Annotated[
        Literal["tasmota", "shelly", "shelly_gen1", "other"],
        Doc("The family of the plug; shelly: the second generation and later."),
    ] = "other"
    address: Annotated[
        WebAddress | None, Doc("The address of a Tasmota or Shelly, such as http://192.168.1.20.")
    ] = None
    relay: Annotated[
        int | None, Between(0, 31), Doc("The relay: Tasmota counts from 1, Shelly from 0.")
    ] = None
    on_url: Annotated[WebAddress | None, Doc("The address that switches it on.")] = None
    off_url: Annotated[WebAddress | None, Doc("The address that switches it off.")] = None
    state_url: Annotated[WebAddress | None, Doc("The address that returns its state.")] = None
    on_pattern: Annotated[
        str | None, Doc("A regular expression that matches that answer while it is on.")
    ] = None
    user: Annotated[str, Doc("The plug's user name.")] = ""
    password: Annotated[str, Doc("The plug's password.")] = field(default="", repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.family == "other":
            if self.on_url is None or self.off_url is None:
                raise ValueError(Message("driver.plug-urls"))
            if self.address is not None or self.relay is not None:
                raise ValueError(Message("driver.plug-family"))
            if (self.state_url is None) != (self.on_pattern is None):
                raise ValueError(Message("driver.together", one="state_url", other="on_pattern"))
        elif self.address is None:
            raise ValueError(Message("driver.plug-address", family=self.family))
        elif (self.on_url, self.off_url, self.state_url, self.on_pattern) != (None,) * 4:
            raise ValueError(Message("driver.plug-urls-known", family=self.family))
        try:
            self._is_on = re.compile(self.on_pattern or "", re.I)
        except re.error as error:
            raise ValueError(
                Message("driver.no-pattern", key="on_pattern", error=str(error))
            ) from None

    def claims(self) -> list[Claim]:
        address = f"{self.address} {self._relay}" if self.address else str(self.on_url)
        called = Message("driver.claim-plug", address=address)
        return [*super().claims(), Claim("switch in the network", address, called=called)]

    def switch(self, value: bool) -> bool | None:
        self._get(self._url("on" if value else "off"))
        return self.look()

    def look(self) -> bool | None:
        url = self._url("state")
        if url is None:
            return None
        answer = self._get(url)
        if self.family == "other":
            return bool(self._is_on.search(answer))
        plug = _FAMILIES[self.family]
        for value, pattern in ((True, plug.is_on), (False, plug.is_off)):
            if re.search(pattern, answer):
                return value
        host = urlsplit(url).netloc.rpartition("@")[2]
        raise DeviceError(f"{host} does not say whether it is on: {answer[:80]!r}")

    @property
    def _relay(self) -> int:
        return _FAMILIES[self.family].first if self.relay is None else self.relay

    def _url(self, what: Literal["on", "off", "state"]) -> str | None:
        if self.family == "other":
            return {"on": self.on_url, "off": self.off_url, "state": self.state_url}[what]
        path: str = getattr(_FAMILIES[self.family], what).format(n=self._relay)
        if self.family == "tasmota" and self.password:
            path += f"&user={quote(self.user or 'admin')}&password={quote(self.password, safe='')}"
        return (self.address or "").rstrip("/") + path

    def _get(self, url: str | None) -> str:
        """The body of a good answer within half of `time_limit`: to switch takes two of them."""
        assert url is not None
        parts = urlsplit(url)
        deadline = self.services.clock.now() + self.time_limit / 2
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=self.time_limit / 2)
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", target, headers=self._headers())
            wire = connection.sock
            with connection.getresponse() as response:
                body = b""
                while piece := response.read1(4096):
                    body += piece
                    left = deadline - self.services.clock.now()
                    if left <= 0:
                        raise TimeoutError
                    if len(body) > _MOST:
                        raise DeviceError(f"{parts.hostname} says more than {_MOST} bytes")
                    wire.settimeout(left)
        except TimeoutError:
            raise DeviceGone(f"{parts.hostname} does not answer in time") from None
        except (OSError, HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise DeviceGone(f"{parts.hostname} does not answer: {reason}") from error
        finally:
            connection.close()
        if not 200 <= response.status < 300:
            raise DeviceError(f"{parts.hostname} answers {response.status} {response.reason}")
        return body.decode(errors="replace")

    def _headers(self) -> Mapping[str, str]:
        secret = b64encode(f"{self.user}:{self.password}".encode()).decode()
        basic = self.password and self.family != "tasmota"
        login = {"Authorization": f"Basic {secret}"} if basic else {}
        return {"Connection": "close", "User-Agent": "labnode", **login}
