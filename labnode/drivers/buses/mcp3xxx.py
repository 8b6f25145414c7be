"""A channel of an analog converter of the family MCP3xxx on an SPI bus."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import gpiozero

from labnode.drivers.buses.bus_pins import spi_boot_config, spi_claims
from labnode.drivers.framework.driver import Claim
from labnode.drivers.framework.input import Sensor
from labnode.drivers.framework.registry import register
from labnode.errors import DeviceError
from labnode.locale import Message
from labnode.schema import Between, Doc

_CHIPS = {  # bits, channels; gpiozero has a class with the name of each
    "MCP3001": (10, 1),
    "MCP3002": (10, 2),
    "MCP3004": (10, 4),
    "MCP3008": (10, 8),
    "MCP3201": (12, 1),
    "MCP3202": (12, 2),
    "MCP3204": (12, 4),
    "MCP3208": (12, 8),
    "MCP3301": (12, 1),
    "MCP3302": (12, 4),
    "MCP3304": (12, 8),
}


class _Mcp3xxxSource:
    """The converter once more, for a burst: the kernel keeps its transfers apart."""

    def __init__(self, converter: Any, volts: Callable[[Any], float]) -> None:
        self._converter = converter
        self._volts = volts

    def read(self) -> float:
        return self._volts(self._converter)

    def burst(self, _count: int, _rate: float, _ended: threading.Event, /) -> None:
        """The kernel's SPI keeps no time."""

    def close(self) -> None:
        self._converter.close()


@register("mcp3xxx")
@dataclass(kw_only=True)
class Mcp3xxx(Sensor):
    """A channel of an analog converter MCP3xxx on an SPI bus, in volts.

    With `differential: true` it measures channel 0 against 1, 1 against 0, 2 against 3 and so on.
    Each chip is a driver by its own name, too, such as mcp3208.

    Example::

        pressure: {driver: mcp3xxx, chip: MCP3208, channel: 2, max_voltage: 5, scale: 20, unit: bar}
    """

    chip: Annotated[
        Literal[
            "MCP3001",
            "MCP3002",
            "MCP3004",
            "MCP3008",
            "MCP3201",
            "MCP3202",
            "MCP3204",
            "MCP3208",
            "MCP3301",
            "MCP3302",
            "MCP3304",
        ],
        Doc("The type of the converter."),
    ]
    channel: Annotated[int, Between(0, 7), Doc("The channel, from 0.")]
    max_voltage: Annotated[float, Between(0.1, 6), Doc("Full scale: the voltage at VREF.")] = 3.3
    differential: Annotated[bool, Doc("Whether to measure against the neighbour.")] = False
    port: Annotated[int, Between(0, 1), Doc("The number of the SPI bus.")] = 0
    device: Annotated[int, Between(0, 2), Doc("The chip select of the bus.")] = 0
    unit: str = "V"

    def __post_init__(self) -> None:
        super().__post_init__()
        _, channels = _CHIPS[self.chip]
        if self.channel >= channels:
            if channels == 1:
                raise ValueError(Message("driver.one-channel", chip=self.chip))
            raise ValueError(Message("driver.channels", chip=self.chip, last=channels - 1))
        if self.port == 0 and self.device == 2:
            raise ValueError(Message("driver.chip-selects"))

    def claims(self) -> list[Claim]:
        *pins, select = spi_claims(self.port, self.device)
        shared = replace(select, bus=f"{self.chip} at {select}")
        name = f"channel {self.channel} of the chip at chip select"
        called = Message(
            "driver.claim-channel", channel=self.channel, select=self.device, bus=self.port
        )
        channel = Claim(name, select.name, called=called)
        return [*super().claims(), *pins, shared, channel]

    def boot_config(self) -> list[str]:
        return spi_boot_config(self.port, self.device)

    def open(self) -> None:
        if not self.services.simulated:
            self.hardware = self._converter()
        super().open()

    def read(self) -> float:
        return self._volts(self.hardware)

    def burst_source(self, ended: threading.Event) -> _Mcp3xxxSource:  # noqa: ARG002
        return _Mcp3xxxSource(self._converter(), self._volts)

    def _volts(self, converter: Any) -> float:
        return float(converter.raw_value) * self.resolution

    @property
    def resolution(self) -> float:
        bits, _ = _CHIPS[self.chip]
        return self.max_voltage / (1 << bits)

    def _converter(self) -> Any:
        _, channels = _CHIPS[self.chip]
        which: dict[str, Any] = {"channel": self.channel, "differential": self.differential}
        with warnings.catch_warnings():
            # Without the kernel's SPI gpiozero would fall back to toggling the pins itself.
            warnings.simplefilter("error", gpiozero.SPISoftwareFallback)
            try:
                return getattr(gpiozero, self.chip)(
                    **(which if channels > 1 else {}),
                    port=self.port,
                    device=self.device,
                    pin_factory=self.services.pins,
                )
            except gpiozero.SPISoftwareFallback as error:
                raise DeviceError(
                    f"SPI bus {self.port} cannot be had: it has to be switched on in the Pi's "
                    f"config.txt, see labnode bootconfig, and this user be in the group 'spi' "
                    f"({error})"
                ) from None


@register("mcp3008")
@dataclass(kw_only=True)
class Mcp3008(Mcp3xxx):
    """A channel, 0 to 7, of the analog converter MCP3008 on an SPI bus, in volts; see mcp3xxx.

    Example::

        supply: {driver: mcp3008, channel: 0, max_voltage: 3.3, scale: 2}
    """

    chip: Literal["MCP3008"] = "MCP3008"


def _register(chip: str) -> None:
    """The driver of one more chip, by its name."""
    bits, channels = _CHIPS[chip]
    kind, only = chip.lower(), {"channel": 0} if channels == 1 else {}
    begin = f"A channel, 0 to {channels - 1}, of" if channels > 1 else "IN+ against IN- at"
    where = "channel: 0, " if channels > 1 else ""
    text = f"""{begin} the {bits}-bit converter {chip} on an SPI bus, in volts; see mcp3xxx.

    Example::

        level: {{driver: {kind}, {where}max_voltage: 5, scale: 20, unit: mm}}
    """
    annotations = {"chip": Literal[chip], **({"channel": int} if only else {})}
    namespace = {"__doc__": text, "__module__": __name__, "__annotations__": annotations}
    cls = type(chip.title(), (Mcp3xxx,), {**namespace, "chip": chip, **only})
    register(kind)(dataclass(kw_only=True)(cls))


for _chip in _CHIPS.keys() - {"MCP3008"}:
    _register(_chip)
