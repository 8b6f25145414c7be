"""A camera on the page, through a program or an MJPEG server on this machine."""

from __future__ import annotations

import re
import socket as sockets
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from labnode.drivers.camera.capture import Capture
from labnode.drivers.camera.rpicam import Rpicam
from labnode.drivers.camera.source import MjpegServer, Source, TestPicture
from labnode.drivers.camera.ustreamer import PATH, Ustreamer, connect_unix
from labnode.drivers.framework.driver import Claim, Driver, Widget
from labnode.drivers.framework.registry import register
from labnode.locale import Message
from labnode.schema import Between, Doc, Duration, all_of

_CONNECT_WITHIN = 1.0  # seconds, on this machine


def _loopback(text: str) -> str:
    url = urlsplit(text)
    host = url.hostname or ""
    try:
        own = host == "localhost" or ip_address(host).is_loopback
        port = url.port
    except ValueError:
        own, port = False, None
    if url.scheme != "http" or not own or port == 0 or url.username or not text.isascii():
        raise ValueError(_unlike(Message("driver.a-stream"), text))
    return text


def _size(text: str) -> str:
    if not re.fullmatch(r"[1-9]\d{1,3}x[1-9]\d{1,3}", text):
        raise ValueError(_unlike(Message("driver.a-resolution"), text))
    return text


LoopbackUrl = Annotated[str, _loopback]


def _path(text: str) -> str:
    if not re.fullmatch(r"/[!-~]*", text):
        raise ValueError(_unlike(Message("driver.a-url-path"), text))
    return text


def _unlike(expected: Message, text: str) -> Message:
    return Message("yaml.unlike", expected=expected, value=repr(text))


@register("mjpeg")
@dataclass(kw_only=True)
class Mjpeg(Driver):
    """A camera whose pictures only the browsers of the session see.

    With `device: /dev/video0`, a USB camera, labnode runs ustreamer (apt install ustreamer). With
    `source: rpicam`, a camera at the Pi's own connector (CSI), it runs rpicam-vid (apt install
    rpicam-apps-lite) while somebody looks. Any other MJPEG server on this machine is named by its
    `url` or its Unix `socket`. All browsers share the same pictures; without viewers, one is taken
    every `idle_every`, or none at all.

    Example::

        camera: {driver: mjpeg, device: /dev/video0, resolution: 640x480, rate: 10}
    """

    widget: ClassVar[Widget] = "camera"

    device: Annotated[
        Path | None, Doc("The camera's device file; labnode runs ustreamer for it.")
    ] = None
    source: Annotated[
        Literal["rpicam"] | None,
        Doc("rpicam: a camera at the Pi's own connector; labnode runs rpicam-vid for it."),
    ] = None
    camera: Annotated[
        int, Between(0, 3), Doc("Which one for rpicam, as in rpicam-vid --list-cameras.")
    ] = 0
    url: Annotated[LoopbackUrl | None, Doc("The address of an MJPEG server on this machine.")] = (
        None
    )
    socket: Annotated[Path | None, Doc("The Unix socket of an MJPEG server.")] = None
    path: Annotated[str, _path, Doc("The path to request from the server at the socket.")] = (
        "/stream"
    )
    rate: Annotated[float, Between(0.1, 60), Doc("Pictures per second, at most.")] = 10.0
    resolution: Annotated[
        str, _size, Doc("Width and height of the pictures of ustreamer or rpicam.")
    ] = "640x480"
    quality: Annotated[
        int, Between(1, 100), Doc("The quality of the JPEGs of ustreamer or rpicam.")
    ] = 80
    idle_every: Annotated[
        Duration | None, Doc("How often a picture is taken without viewers; null: never.")
    ] = None

    def __post_init__(self) -> None:
        ways = ("device", "source", "url", "socket")
        given = [name for name in ways if getattr(self, name) is not None]
        if len(given) != 1:
            hint = Message("driver.not-given", names=all_of(given)) if given else ""
            raise ValueError(Message("driver.one-picture-source", hint=hint))

    def runs(self) -> dict[str, str]:
        if self.source is not None:
            return {"rpicam-vid": "rpicam-apps-lite"}
        return {} if self.device is None else {"ustreamer": "ustreamer"}

    def claims(self) -> list[Claim]:
        if self.source is None and self.device is None:
            return []
        camera = str(self.device) if self.source is None else f"{self.source} {self.camera}"
        return [Claim("camera", camera, called=Message("driver.claim-camera", camera=camera))]

    def open(self) -> None:
        self.ustreamer = self._new_ustreamer()
        self.hardware = self.capture = Capture(
            self.name,
            self.services,
            self._source(),
            rate=self.rate,
            idle_every=self.idle_every or None,
        )
        self.capture.start()

    def reset(self) -> None:
        """The next student sees no picture of this one's."""
        self.capture.forget()

    def close(self) -> None:
        if self.hardware is None:
            return
        self.hardware = None
        self.capture.stop()
        if self.ustreamer is not None:
            self.ustreamer.stop()

    def make_safe(self) -> None:
        """A camera has no output."""

    def state(self) -> dict[str, Any]:
        error = self.capture.error
        state = {"value": None, "connected": error is None}
        return state if error is None else {**state, "error": error}

    def describe(self) -> dict[str, Any]:
        return {"rate": self.rate}

    def _new_ustreamer(self) -> Ustreamer | None:
        if self.device is None or self.services.simulated:
            return None
        return Ustreamer(self.device, self.resolution, self.rate, self.quality)

    def _source(self) -> Source:
        if self.services.simulated:
            return TestPicture(self.rate)
        if self.source is not None:
            return Rpicam(self.camera, self.resolution, self.rate, self.quality)
        if self.ustreamer is not None:
            return MjpegServer(self.ustreamer.connect, "localhost", PATH)
        if self.url is None:
            assert self.socket is not None
            place = self.socket
            return MjpegServer(lambda _: connect_unix(place), "localhost", self.path)
        url = urlsplit(self.url)
        address = (url.hostname or "", url.port or 80)
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        return MjpegServer(
            lambda _: sockets.create_connection(address, _CONNECT_WITHIN), url.netloc, path
        )
