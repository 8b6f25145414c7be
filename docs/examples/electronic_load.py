"""An electronic load, which draws a current from a battery or supply."""

from dataclasses import dataclass
from typing import Annotated

from labnode.drivers import InstrumentOutput, NumberOutput, register
from labnode.schema import Doc


@register("electronic_load")
@dataclass(kw_only=True)
class ElectronicLoad(NumberOutput, InstrumentOutput):
    """The current of an electronic load that is controlled with SCPI (Rigol DL3000); 0 is off.

    Example::

        current: {driver: electronic_load, instrument: bench, max: 2, max_on_time: 60s}
    """

    simulates = True  # in a simulation, nothing is transmitted
    highest = 40.0  # A

    max: Annotated[float, Doc("The highest current that commands may set, in A.")]
    unit: str = "A"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.safe != 0:
            raise ValueError("an electronic load is safe when it is off: leave out safe, or give 0")

    def check(self, where: str, value: float) -> float:
        return round(value, 3)  # it counts in mA

    def transmit(self, value: float) -> float:
        if value == 0:
            self.dialogue.write("SOUR:INP OFF")  # first: nothing flows from now on
            self.dialogue.write("SOUR:CURR 0")
        else:
            self.dialogue.write(f"SOUR:CURR {value:.3f}")
            self.dialogue.write("SOUR:INP ON")
        self.dialogue.confirm()  # DeviceError with what the instrument complains about
        return self.look()

    def look(self) -> float:
        if self.dialogue.query("SOUR:INP?") not in ("1", "ON"):
            return 0.0
        return round(float(self.dialogue.query("SOUR:CURR?")), 3)
