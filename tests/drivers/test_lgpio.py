"""The Pi's pins on a stand-in for lgpio that behaves as its C library does (lgGpio.c)."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import gpiozero
import pytest

from labnode.drivers.buses.i2c import I2cPart
from labnode.drivers.framework.output import Output
from labnode.drivers.framework.registry import load_drivers
from labnode.drivers.framework.slow import SlowOutput
from labnode.drivers.gpio import factories
from labnode.drivers.gpio.digital_input import Button, DigitalInput, DigitalInputBank
from labnode.drivers.gpio.digital_output import Relay
from labnode.drivers.gpio.distance_sensor import DistanceSensor
from labnode.drivers.gpio.factories import pins_in_use, real_factory
from labnode.drivers.gpio.gpiochips import Chip, LineRequest
from labnode.drivers.gpio.hardware_pwm import HardwarePwm
from labnode.drivers.gpio.light_sensor import LightSensor
from labnode.drivers.gpio.motor import Motor
from labnode.drivers.gpio.pin import Pin
from labnode.drivers.gpio.pulse_counter import PulseCounter
from labnode.drivers.gpio.pwm_output import PwmOutput, RgbLed
from labnode.drivers.gpio.rotary_encoder import RotaryEncoder
from labnode.drivers.gpio.servo import Servo
from labnode.drivers.gpio.stepper import Stepper
from labnode.drivers.logic.commanding import Commanding
from labnode.drivers.logic.virtual import Virtual
from labnode.errors import DeviceError


class Error(Exception):
    def __str__(self) -> str:
        return repr(self.args[0])


class Line:
    """One line of the chip: `history` is what a voltmeter and a scope would have seen."""

    def __init__(self) -> None:
        self.mode = ""  # "", "input", "output" or "alert"
        self.level = 0
        self.flags = 0
        self.pwm: tuple[float, float] | None = None
        self.busy = False
        self.history: list[Any] = []

    def claim(self, mode: str) -> bool:
        if self.busy:
            raise Error("GPIO busy")
        if self.mode == mode:
            return False  # nothing to do, says lgpio
        self.mode = mode
        self.pwm = None
        return True


class Lgpio(ModuleType):
    RISING_EDGE, FALLING_EDGE, BOTH_EDGES = 1, 2, 3
    SET_PULL_UP, SET_PULL_DOWN, SET_PULL_NONE = 32, 64, 128
    error = Error

    def __init__(self) -> None:
        super().__init__("lgpio")
        self.open_chips: list[int] = []
        self.lines: dict[int, Line] = defaultdict(Line)
        self.callbacks: list[Any] = []
        self.groups: dict[int, list[int]] = {}  # by their first lines
        self.waves: dict[int, list[Any]] = {}

    def gpiochip_open(self, chip: int) -> int:
        if chip == 9:
            raise Error("can not open gpiochip")
        self.open_chips.append(chip)
        return chip

    def gpiochip_close(self, handle: int) -> None:
        self.open_chips.remove(handle)

    def _line(self, handle: int, gpio: int) -> Line:
        assert handle in self.open_chips, "unknown handle"
        return self.lines[gpio]

    def gpio_claim_input(self, handle: int, gpio: int, flags: int = 0) -> None:
        line = self._line(handle, gpio)
        if line.claim("input"):
            line.flags = flags
            line.history.append("floats" if flags != self.SET_PULL_UP else "pulled up")

    def gpio_claim_output(self, handle: int, gpio: int, level: int = 0, flags: int = 0) -> None:
        line = self._line(handle, gpio)
        if line.claim("output"):
            line.level = level
            line.history.append(level)

    def gpio_claim_alert(self, handle: int, gpio: int, edges: int, flags: int = 0) -> None:
        self._line(handle, gpio).claim("alert")

    def gpio_free(self, handle: int, gpio: int) -> None:
        self._line(handle, gpio).mode = ""

    def gpio_get_mode(self, handle: int, gpio: int) -> int:
        line = self._line(handle, gpio)
        return (2 if line.mode == "output" else 0) | line.flags

    def gpio_read(self, handle: int, gpio: int) -> int:
        return self._line(handle, gpio).level

    def gpio_write(self, handle: int, gpio: int, level: int) -> None:
        line = self._line(handle, gpio)
        assert line.mode == "output"
        assert line.pwm is None, "the pulses go on and write over it"
        if line.level != level:
            line.level = level
            line.history.append(level)

    def gpio_set_debounce_micros(self, handle: int, gpio: int, micros: int) -> None:
        self._line(handle, gpio)

    def tx_pwm(self, handle: int, gpio: int, frequency: float, duty: float) -> None:
        line = self._line(handle, gpio)
        if frequency == 0:
            if line.pwm is None:
                raise Error("bad PWM micros")
            line.pwm = None
        elif not 0.1 <= frequency <= 10_000:
            raise Error("bad PWM frequency")
        else:
            line.pwm = (frequency, duty)
            line.level = -1  # nobody knows in which half of a pulse it will be stopped
            line.history.append((frequency, round(duty, 9)))

    TX_WAVE = 1

    class pulse:
        def __init__(self, group_bits: int, group_mask: int, pulse_delay: int) -> None:
            self.group_bits, self.group_mask, self.pulse_delay = (
                group_bits,
                group_mask,
                pulse_delay,
            )

    def group_claim_output(self, handle: int, gpios: list[int], levels: list[int]) -> None:
        if any(self._line(handle, gpio).mode or self.lines[gpio].busy for gpio in gpios):
            raise Error("GPIO busy")
        for gpio, level in zip(gpios, levels, strict=True):
            self.gpio_claim_output(handle, gpio, level)
        self.groups[gpios[0]] = gpios
        self.waves[gpios[0]] = []

    def group_free(self, handle: int, leader: int) -> None:
        for gpio in self.groups.pop(leader):
            self._line(handle, gpio).mode = ""
        del self.waves[leader]

    def group_write(self, handle: int, leader: int, levels: int) -> None:
        for place, gpio in enumerate(self.groups[leader]):
            self.gpio_write(handle, gpio, levels >> place & 1)

    def tx_wave(self, handle: int, leader: int, wave: list[Any]) -> int:
        assert all(pulse.pulse_delay > 0 for pulse in wave)
        if self.tx_room(handle, leader, self.TX_WAVE) == 0:
            raise Error("GPIO TX queue full")
        self.waves[leader].append(wave)
        return self.tx_room(handle, leader, self.TX_WAVE)

    def tx_room(self, handle: int, leader: int, kind: int) -> int:
        assert kind == self.TX_WAVE
        return 10 - len(self.waves[leader])

    def play(self, leader: int) -> None:
        """What lgpio's thread does with the first wave."""
        for pulse in self.waves[leader].pop(0):
            assert pulse.group_mask == (1 << len(self.groups[leader])) - 1
            self.group_write(self.open_chips[0], leader, pulse.group_bits)

    def callback(self, handle: int, gpio: int, edges: int, function: Callable[..., None]) -> Any:
        callback = Callback(self, gpio, function)
        self.callbacks.append(callback)
        return callback

    def edge(self, gpio: int, level: int) -> None:
        """What the outside world does to a line."""
        self.lines[gpio].level = level
        for callback in list(self.callbacks):
            if callback.gpio == gpio:
                callback.function(0, gpio, level, 1_000_000_000)


class Callback:
    def __init__(self, lgpio: Lgpio, gpio: int, function: Callable[..., None]) -> None:
        self.lgpio, self.gpio, self.function = lgpio, gpio, function

    def cancel(self) -> None:
        self.lgpio.callbacks.remove(self)


@pytest.fixture
def lgpio(monkeypatch: pytest.MonkeyPatch) -> Lgpio:
    fake = Lgpio()
    for name in ("labnode.drivers.gpio._lgpio", "gpiozero.pins.lgpio"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "lgpio", fake)
    monkeypatch.setattr(factories, "list_chips", lambda: [Chip(3, "pinctrl-rp1")])
    return fake


@pytest.fixture
def pi(lgpio: Lgpio, bench: Any) -> Any:
    bench.pins = real_factory()
    yield bench
    bench.close()
    bench.pins.close()
    for name in ("labnode.drivers.gpio._lgpio", "gpiozero.pins.lgpio"):
        sys.modules.pop(name, None)
    assert lgpio.open_chips == []


def test_the_chip_with_the_label_is_opened(pi: Any, lgpio: Lgpio) -> None:
    assert (lgpio.open_chips, pi.pins.chip) == ([3], 3)


@pytest.mark.parametrize(("safe", "active_high", "level"), [(0, 1, 0), (1, 1, 1), (0, 0, 1)])
def test_an_output_is_driven_safe_by_the_request_that_makes_it_one_and_never_floats(
    pi: Any, lgpio: Lgpio, safe: int, active_high: int, level: int
) -> None:
    relay = pi.open(Relay(pin=Pin(17), safe=bool(safe), active_high=bool(active_high)))
    relay.toggle()
    relay.close()
    pi.pins.close()
    assert lgpio.lines[17].history == [level, 1 - level, level]
    assert lgpio.lines[17].mode == "output"


def test_an_output_that_is_opened_again_gets_its_level_though_it_was_an_output(
    pi: Any, lgpio: Lgpio
) -> None:
    relay = pi.open(Relay(pin=Pin(17)))
    relay.close()
    lgpio.lines[17].level = 1
    relay.open()
    assert lgpio.lines[17].level == 0


def test_pulses_run_only_between_fully_off_and_fully_on(pi: Any, lgpio: Lgpio) -> None:
    fan = pi.open(PwmOutput(pin=Pin(18), frequency=50))
    for value in (0.29, 1, 0.5, 0.57, 0):
        fan.set(value)
        assert fan.value == value
    assert lgpio.lines[18].history == [0, (50, 29), 1, (50, 50), (50, 57), 0]


@pytest.mark.parametrize(
    ("safe", "active_high", "level"), [(0, True, 0), (1, True, 1), (0, False, 1), (1, False, 0)]
)
def test_a_pwm_output_starts_and_ends_at_the_level_of_its_safe_value(
    pi: Any, lgpio: Lgpio, safe: float, active_high: bool, level: int
) -> None:
    fan = pi.open(PwmOutput(pin=Pin(18), safe=safe, active_high=active_high))
    assert lgpio.lines[18].history == [level]
    fan.set(0.5)
    fan.close()
    assert lgpio.lines[18].history == [level, (100, 50), level]
    assert (lgpio.lines[18].mode, lgpio.lines[18].pwm) == ("output", None)


def test_a_safe_value_in_between_ends_as_the_nearer_level(pi: Any, lgpio: Lgpio) -> None:
    fan = pi.open(PwmOutput(pin=Pin(18), safe=0.6))
    fan.close()
    assert lgpio.lines[18].history == [1, (100, 60), 1]


def test_an_input_sees_edges_until_it_closes_and_then_floats(pi: Any, lgpio: Lgpio) -> None:
    lgpio.lines[27].level = 1
    button = pi.open(Button(pin=Pin(27), bounce_time=0.05))
    lgpio.edge(27, 0)
    pi.serve()
    assert (pi.published, lgpio.lines[27].flags) == ([True], lgpio.SET_PULL_UP)
    button.close()
    lgpio.edge(27, 1)
    assert (pi.posted, lgpio.callbacks, lgpio.lines[27].mode) == ([], [], "input")


def test_an_edge_that_fails_ends_neither_the_thread_of_lgpio_nor_what_follows_from_it(
    pi: Any, lgpio: Lgpio, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lgpio.lines[27].level = 1
    stop = pi.open(Button(pin=Pin(27), role="estop"), "stop")

    def fail() -> bool:
        raise OSError("the chip does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(stop, "read", fail)
        lgpio.edge(27, 0)
    assert "the chip does not answer" in caplog.text
    assert len(pi.posted) == 1  # the hardware thread looks at it
    assert pi.emergencies == []
    lgpio.edge(27, 1)
    lgpio.edge(27, 0)
    assert pi.emergencies == ["'stop' is pressed"]


def test_a_line_that_somebody_else_has_says_so(pi: Any, lgpio: Lgpio) -> None:
    lgpio.lines[17].busy = True
    for driver in (Relay(pin=Pin(17)), Button(pin=Pin(17)), PwmOutput(pin=Pin(17))):
        with pytest.raises(DeviceError, match=r"GPIO17 cannot be had \(GPIO busy\): another prog"):
            pi.open(driver)
        driver.close()
    assert pins_in_use(pi.pins) == []


@pytest.mark.parametrize("make", [Relay, Button, PwmOutput])
def test_a_line_that_is_free_again_is_had_while_the_error_is_still_known(
    pi: Any, lgpio: Lgpio, make: Any
) -> None:
    """The traceback of the error holds the half-made device, with its reservation."""
    lgpio.lines[17].busy = True
    with pytest.raises(DeviceError) as error:
        pi.open(make(pin=Pin(17)))
    assert pins_in_use(pi.pins) == []
    lgpio.lines[17].busy = False
    pi.open(make(pin=Pin(17)))
    assert pins_in_use(pi.pins) == ["GPIO17"]
    assert "GPIO busy" in str(error.value)


def test_a_composite_that_half_opens_leaves_no_pin_reserved(pi: Any, lgpio: Lgpio) -> None:
    lgpio.lines[27].busy = True
    with pytest.raises(DeviceError):
        pi.open(RotaryEncoder(a=Pin(17), b=Pin(27)))
    assert pins_in_use(pi.pins) == []


def test_a_chip_that_cannot_be_opened_says_so(
    lgpio: Lgpio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(factories, "list_chips", lambda: [Chip(9, "pinctrl-rp1")])
    with pytest.raises(DeviceError, match="gpiochip9 cannot be had"):
        real_factory()


def test_a_second_factory_has_none_of_the_pins_of_the_first(pi: Any, lgpio: Lgpio) -> None:
    led = gpiozero.LED("GPIO17", pin_factory=pi.pins)
    other = real_factory()
    assert pins_in_use(other) == []
    assert other.pin("GPIO17") is not pi.pins.pin("GPIO17")
    led.close()
    other.close()


def test_off_a_pi_the_header_is_the_generic_one(pi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> int:
        raise gpiozero.PinUnknownPi("no revision here")

    monkeypatch.setattr("gpiozero.pins.local.get_pi_revision", unknown)
    assert pi.pins.board_info.model == "4B"


def test_the_pipe_of_lgpio_goes_to_the_working_directory_unless_the_environment_says_where(
    lgpio: Lgpio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LG_WD", "x")  # so that it is put back at the end
    monkeypatch.delenv("LG_WD")
    real_factory(tmp_path).close()
    assert factories.os.environ["LG_WD"] == str(tmp_path)
    real_factory(tmp_path / "other").close()
    assert factories.os.environ["LG_WD"] == str(tmp_path)


def test_the_empty_lgpio_that_pip_may_install_is_recognised(
    lgpio: Lgpio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lgpio", ModuleType("lgpio"))
    with pytest.raises(DeviceError, match="lgpio that is installed is an empty one"):
        real_factory()


def test_a_command_stays_in_its_folder_although_lgpio_goes_to_that_of_its_pipe(
    lgpio: Lgpio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, pipes = tmp_path / "here", tmp_path / "pipes"
    here.mkdir()
    pipes.mkdir()
    (tmp_path / "lgpio.py").write_text(
        "import os, sys\n"
        'os.chdir(os.environ["LG_WD"])\n'
        f'sys.modules["lgpio"] = sys.modules["{__name__}"].Lgpio()\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "lgpio")
    monkeypatch.delenv("LG_WD", raising=False)
    monkeypatch.chdir(here)
    real_factory(pipes).close()
    assert Path.cwd() == here


def test_a_motor_drives_nothing_but_low_until_it_turns_and_is_left_so(
    pi: Any, lgpio: Lgpio
) -> None:
    belt = pi.open(Motor(forward_pin=Pin(17), backward_pin=Pin(27), enable=Pin(22)))
    assert [lgpio.lines[pin].history for pin in (17, 27, 22)] == [[0], [0], [0]]
    belt.set(0.5)
    belt.set(-1)
    belt.close()
    assert lgpio.lines[17].history == [0, (100, 50), 0]
    assert lgpio.lines[27].history == [0, 1, 0]
    assert lgpio.lines[22].history == [0, 1, 0]


def test_the_lights_of_a_common_anode_are_dark_from_the_request_on(pi: Any, lgpio: Lgpio) -> None:
    mood = pi.open(RgbLed(red=Pin(17), green=Pin(27), blue=Pin(22), active_high=False))
    mood.set("#ff0080")
    mood.close()
    assert lgpio.lines[17].history == [1, 0, 1]
    assert lgpio.lines[27].history == [1]
    assert lgpio.lines[22].history == [1, (100, round(100 * (1 - 128 / 255), 9)), 1]


def test_a_servo_sees_its_safe_position_first_and_no_more_when_it_is_closed(
    pi: Any, lgpio: Lgpio
) -> None:
    gate = pi.open(Servo(pin=Pin(17), safe=-1.0))
    gate.set(1)
    gate.close()
    assert lgpio.lines[17].history == [0, (50, 5), (50, 10), 0]


def test_a_bank_of_inputs_sees_the_edges_of_all_its_pins(pi: Any, lgpio: Lgpio) -> None:
    lights = pi.open(DigitalInputBank(pins=[Pin(5), Pin(6)]))
    lgpio.edge(6, 1)
    pi.serve()
    lgpio.edge(5, 1)
    pi.serve()
    assert (lights.value, pi.published) == (3, [2, 3])
    lights.close()
    assert lgpio.callbacks == []


def test_a_flood_of_edges_is_sampled_until_the_pin_is_calm(pi: Any, lgpio: Lgpio) -> None:
    lamp = pi.open(DigitalInput(pin=Pin(5)))
    (hears,) = lgpio.callbacks
    for number in range(1, 1002):
        lgpio.edge(5, number % 2)
    pi.serve()
    assert (lgpio.callbacks, lgpio.lines[5].mode) == ([], "input")
    lgpio.lines[5].level = 1
    for _ in range(100):
        pi.clock.advance(lamp.due() - pi.clock.now())
        lamp.poll()
    assert lamp.value is True
    assert (len(lgpio.callbacks), lgpio.lines[5].mode) == (1, "alert")
    assert lgpio.callbacks != [hears]
    lgpio.edge(5, 0)
    pi.serve()
    assert pi.published[-1] is False


class Sounding(Line):
    """The trigger of an HC-SR04: as it falls, the echo is high for 10 ms (ticks are ns)."""

    def __init__(self, lgpio: Lgpio) -> None:
        super().__init__()
        self.lgpio = lgpio

    def __setattr__(self, name: str, value: Any) -> None:
        fell = name == "level" and value == 0 and getattr(self, "level", 0) == 1
        super().__setattr__(name, value)
        if fell:
            for tick, level in ((1_000_000_000, 1), (1_010_000_000, 0)):
                for callback in list(self.lgpio.callbacks):
                    if callback.gpio == 24:
                        callback.function(0, 24, level, tick)


def test_the_echo_of_a_distance_sensor_is_timed_by_the_ticks_of_its_edges(
    pi: Any, lgpio: Lgpio
) -> None:
    lgpio.lines[23] = Sounding(lgpio)
    pi.simulated = False
    level = pi.open(DistanceSensor(trigger=Pin(23), echo=Pin(24)))
    assert pi.until(lambda: level.value is not None or "error" in level.state())
    assert level.state() == {**level.state(), "value": round(0.01 * 343.26 / 2, 3)}


def test_a_light_sensor_sees_the_edge_although_becoming_an_output_ends_its_callback(
    pi: Any, lgpio: Lgpio, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_000_000_000]
    monkeypatch.setattr(lgpio, "timestamp", lambda: now[0], raising=False)
    claim = lgpio.gpio_claim_alert

    def charged(handle: int, gpio: int, edges: int, flags: int = 0) -> None:
        claim(handle, gpio, edges, flags)
        lgpio.lines[gpio].level = 0

    watch = lgpio.callback

    def soon(handle: int, gpio: int, edges: int, function: Callable[..., None]) -> Any:
        callback = watch(handle, gpio, edges, function)
        lgpio.lines[gpio].level = 1
        function(0, gpio, 1, now[0] + 2_500_000)
        return callback

    monkeypatch.setattr(lgpio, "gpio_claim_alert", charged)
    monkeypatch.setattr(lgpio, "callback", soon)
    monkeypatch.setattr(pi.pins, "ticks", lambda: now[0] / 1e9, raising=False)
    pi.simulated = False
    daylight = pi.open(LightSensor(pin=Pin(18)))
    assert pi.until(lambda: daylight.value is not None)
    assert daylight.value == 0.75
    daylight.close()
    assert (lgpio.lines[18].mode, lgpio.callbacks) == ("input", [])


def test_pulses_are_counted_on_the_chip_with_the_label(
    pi: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def refuse(request: LineRequest, chip: int) -> int:
        asked.append(chip)
        raise DeviceError("GPIO17 cannot be had")

    monkeypatch.setattr(LineRequest, "open", refuse)
    pi.simulated = False
    with pytest.raises(DeviceError, match="cannot be had"):
        pi.open(PulseCounter(pin=Pin(17)))
    assert asked == [3]


def motor_on(pi: Any) -> Stepper:
    motor = Stepper(step_pin=Pin(17), direction_pin=Pin(27), enable=Pin(22), max_speed=2000)
    assert isinstance(pi.open(motor), Stepper)
    return motor


def test_a_stepper_sends_waves_to_a_group_and_counts_those_that_were_sent(
    pi: Any, lgpio: Lgpio
) -> None:
    motor = motor_on(pi)
    assert lgpio.groups == {17: [17, 27]}
    motor.set(-100)
    motor.poll()
    assert len(lgpio.waves[17]) == 4
    while lgpio.waves[17]:
        lgpio.play(17)
        motor.poll()
    assert (motor.value, motor.moving) == (-100, False)
    assert lgpio.lines[17].history == [0, *[1, 0] * 100]  # STEP, from its claim on
    assert lgpio.lines[27].history == [0]  # DIR
    motor.set(0)
    motor.poll()
    lgpio.play(17)
    assert lgpio.lines[27].history == [0, 1]


def test_waves_that_are_on_their_way_end_with_their_group_and_the_lines_stay_driven(
    pi: Any, lgpio: Lgpio
) -> None:
    motor = motor_on(pi)
    motor.set(100)
    motor.poll()
    lgpio.play(17)
    motor.make_safe()
    assert lgpio.waves == {17: []}
    assert {lgpio.lines[number].mode for number in (17, 27, 22)} == {"output"}
    assert [lgpio.lines[number].level for number in (17, 27, 22)] == [0, 0, 1]
    motor.set(100)
    motor.poll()
    motor.close()
    assert lgpio.waves == {17: []}
    motor.open()  # on the group that was left driven
    assert lgpio.groups == {17: [17, 27]}


def test_lines_that_somebody_else_has_are_told_and_nothing_stays_reserved(
    pi: Any, lgpio: Lgpio
) -> None:
    lgpio.lines[27].busy = True
    with pytest.raises(DeviceError, match="GPIO17 and GPIO27 cannot be had"):
        motor_on(pi)
    assert pins_in_use(pi.pins) == []


ON_PINS = {
    "angular_servo": {"pin": Pin(17)},
    "buzzer": {"pin": Pin(17)},
    "digital_output": {"pin": Pin(17), "active_high": False},
    "digital_output_bank": {"pins": [Pin(17), Pin(27)], "safe": 2},
    "led": {"pin": Pin(17), "safe": True},
    "motor": {"forward_pin": Pin(17), "backward_pin": Pin(27), "enable": Pin(22)},
    "phase_enable_motor": {"phase": Pin(17), "enable": Pin(27)},
    "pwm_led": {"pin": Pin(17)},
    "pwm_output": {"pin": Pin(17), "safe": 0.7},
    "relay": {"pin": Pin(17)},
    "rgb_led": {"red": Pin(17), "green": Pin(27), "blue": Pin(22), "safe": "#ff4000"},
    "servo": {"pin": Pin(17)},
    "stepper": {"step_pin": Pin(17), "direction_pin": Pin(27), "enable": Pin(22), "max": 9.0},
    "tonal_buzzer": {"pin": Pin(17)},
}


@pytest.mark.parametrize("kind", ON_PINS)
def test_every_output_has_its_rest_level_from_the_request_on_and_when_it_is_closed(
    pi: Any, lgpio: Lgpio, kind: str
) -> None:
    driver = load_drivers()[kind](**ON_PINS[kind])
    rest = driver.rest_level()
    pi.open(driver)
    assert {number: lgpio.lines[number].history[0] for number in rest} == rest
    value = {"rgb_led": "#ffffff", "digital_output_bank": 1, "led": False}.get(kind)
    driver.put(getattr(driver, "most", True) if value is None else value)
    driver.close()
    assert {number: lgpio.lines[number].level for number in rest} == rest
    assert {(lgpio.lines[n].mode, lgpio.lines[n].pwm) for n in rest} == {("output", None)}


def test_the_table_has_every_output_on_pins() -> None:
    elsewhere = (I2cPart, SlowOutput, HardwarePwm, Virtual, Commanding)
    outputs = {k: d for k, d in load_drivers().items() if issubclass(d, Output)}
    assert set(ON_PINS) == {k for k, d in outputs.items() if not issubclass(d, elsewhere)}
