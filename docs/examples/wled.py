"""A lamp with the firmware WLED, which is dimmed over HTTP."""

import json
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Annotated, Any

from labnode.drivers import Claim, NumberOutput, SlowOutput, register
from labnode.errors import DeviceError, DeviceGone
from labnode.schema import Between, Doc, Duration


@register("wled")
@dataclass(kw_only=True)
class Wled(NumberOutput, SlowOutput):
    """A lamp with the firmware WLED, dimmed in percent.

    It uses WLED's JSON API (kno.wled.ge/interfaces/json-api), in which brightness is 1 to 255.

    Example::

        lamp: {driver: wled, host: 192.168.1.40, max: 60, max_on_time: 10m}
    """

    simulates = True  # in a simulation, SlowOutput holds the value and transmits nothing
    highest = 100.0  # lowest is 0

    host: Annotated[str, Doc("The lamp's address, with its port if that is not 80.")]
    time_limit: Annotated[
        Duration, Between(0.1, 5), Doc("How long to wait for an answer, in seconds.")
    ] = 2.0
    step: float | None = 1.0
    unit: str = "%"

    @property
    def answers_within(self) -> float:
        return 2 * self.time_limit  # a command and the question for the state

    def claims(self) -> list[Claim]:
        return [*super().claims(), Claim("lamp", self.host)]

    def transmit(self, value: float) -> float:
        brightness = round(value * 2.55)
        self._ask("POST", {"on": True, "bri": brightness} if brightness else {"on": False})
        said = self._brightness()
        return value if said == brightness else round(said / 2.55)

    def look(self) -> float:
        return round(self._brightness() / 2.55)

    def _brightness(self) -> int:
        state = self._ask("GET")
        try:
            return int(state["bri"]) if state["on"] else 0
        except (KeyError, TypeError, ValueError):
            raise DeviceError(f"{self.host} does not answer as a WLED lamp does") from None

    def _ask(self, method: str, state: Any = None) -> Any:
        connection = HTTPConnection(self.host, timeout=self.time_limit)
        try:
            body = None if state is None else json.dumps(state)
            headers = {"Content-Type": "application/json"}
            connection.request(method, "/json/state", body, headers)
            answer = connection.getresponse()
            text = answer.read(65536)
        except (OSError, HTTPException) as error:
            raise DeviceGone(f"{self.host} does not answer: {error}") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise DeviceError(f"{self.host} answers {answer.status} {answer.reason}")
        try:
            return json.loads(text)
        except ValueError:
            raise DeviceError(f"{self.host} does not answer with JSON") from None
