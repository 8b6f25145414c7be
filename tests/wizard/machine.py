"""A machine in a directory: /dev and /sys with what is plugged in, as Linux shows it."""

from __future__ import annotations

import re
from pathlib import Path


class Machine:
    """Things are plugged in by its methods; links, interfaces and hubs are as on a Pi 4."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._sockets = 0
        self._hub = root / "sys/devices/platform/scb/fd500000.pcie/0000:01:00.0/usb1"
        self._write(self._hub, idVendor="1d6b", idProduct="0002", product="xHCI Host Controller")
        self._link("sys/bus/usb/devices/usb1", self._hub)
        (root / "dev").mkdir()

    def usb(
        self, ids: str, maker: str = "", name: str = "", serial: str = "", interface: str = ""
    ) -> Path:
        """A USB device in the next socket; the directory of its first interface."""
        self._sockets += 1
        device = self._hub / f"1-1.{self._sockets}"
        vendor, _, product = ids.partition(":")
        texts = {"manufacturer": maker, "product": name, "serial": serial}
        present = {key: text for key, text in texts.items() if text}
        self._write(device, idVendor=vendor, idProduct=product, **present)
        self._link(f"sys/bus/usb/devices/{device.name}", device)
        inner = device / f"{device.name}:1.0"
        self._write(inner, bInterfaceNumber="00")
        self._link(f"sys/bus/usb/devices/{inner.name}", inner)
        return inner

    def serial(self, tty: str, ids: str, maker: str = "", name: str = "", serial: str = "") -> None:
        """A serial port; two devices without a serial number share their link by id."""
        inner = self.usb(ids, maker, name, serial)
        port = inner
        if tty.startswith("ttyUSB"):
            port = inner / tty  # the converter has a device of its own between
            self._write(port, port_number="0")
        entry = port / "tty" / tty
        self._write(entry, dev="188:0")
        self._link(f"{entry.relative_to(self.root)}/device", port)
        self._link(f"sys/class/tty/{tty}", entry)
        (self.root / "dev" / tty).touch()
        # As udev names links: everything else becomes "_".
        words = re.sub(r"[^\w#+.:=@-]", "_", "_".join(filter(None, (maker, name, serial))))
        socket = inner.parent.name.removeprefix("1-")
        self._dev_link(f"serial/by-id/usb-{words}-if00", tty)
        self._dev_link(f"serial/by-path/platform-fd500000.pcie-usb-0:{socket}:1.0", tty)

    def camera(self, name: str, number: int = 0) -> None:
        """A camera, which has a second node for what it tells about its pictures."""
        for index in (0, 1):
            node = f"video{number + index}"
            (self.root / "dev" / node).touch()
            self._write(self.root / "sys/class/video4linux" / node, name=name)
            link = f"v4l/by-id/usb-{name.replace(' ', '_')}-video-index{index}"
            self._dev_link(link, node)

    def one_wire(self, sensor: str, millidegrees: str | None) -> None:
        self._write(self.root / "sys/bus/w1/devices/w1_bus_master1", w1_master_name="1")
        files = {} if millidegrees is None else {"temperature": millidegrees}
        self._write(self.root / "sys/bus/w1/devices" / sensor, id="x", **files)

    def node(self, name: str) -> None:
        """A device file such as i2c-1."""
        (self.root / "dev" / name).touch()

    def _write(self, directory: Path, **files: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (directory / name).write_text(f"{text}\n")

    def _link(self, link: str, target: Path) -> None:
        path = self.root / link
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)

    def _dev_link(self, link: str, node: str) -> None:
        path = self.root / "dev" / link
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(Path("../..") / node)
