"""The port itself: opened for one alone, lost and found again, every byte in order."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import threading
from pathlib import Path

import pytest
import serial

from labnode.drivers.serial.options import UsbId, UsbMatch
from labnode.drivers.serial.port import Frame, TtyPort
from labnode.errors import DeviceError, DeviceGone

from .conftest import Cable, Make, Serial, Thread, received

MANY = random.Random(1).randbytes(10_000_000)


def test_what_the_device_says_is_kept(console: Serial, cable: Cable, thread: Thread) -> None:
    cable.say(b"hello\r\n")
    thread.until(lambda: received(console) == b"hello\r\n")


def test_what_is_sent_reaches_the_device(console: Serial, cable: Cable) -> None:
    console.send("hello")
    assert cable.hear(6) == b"hello\n"


def test_ten_megabytes_arrive_in_both_directions_byte_by_byte(
    make: Make, cable: Cable, thread: Thread
) -> None:
    console = make(history=len(MANY))
    heard = cable.hear_everything(len(MANY))
    talker = Talker(cable)
    console.write(MANY)
    talker.join()
    thread.until(lambda: console.line.received.end == len(MANY))
    assert received(console) == MANY
    assert heard.all() == MANY
    assert console.counters() == {
        "rx_bytes": len(MANY),
        "tx_bytes": len(MANY),
        "dropped_bytes": 0,
    }


class Talker:
    def __init__(self, cable: Cable) -> None:
        self._thread = threading.Thread(target=lambda: cable.say(MANY))
        self._thread.start()
        self.join = self._thread.join


def test_the_snapshot_does_not_change_with_what_is_said(
    console: Serial, cable: Cable, thread: Thread
) -> None:
    thread.wait(0)
    before, published = console.state(), thread.published
    cable.say(b"x" * 5000)
    thread.until(lambda: console.line.rx_bytes == 5000)
    console.write(b"y" * 1000)
    cable.hear(1000)
    assert (
        console.state()
        == before
        == {
            "value": None,
            "connected": True,
            "lent": False,
            "baudrate": 115200,
        }
    )
    assert thread.published == published


def test_another_program_cannot_have_the_port(console: Serial, cable: Cable) -> None:
    busy = os.strerror(errno.EBUSY)
    if os.geteuid() == 0:  # TIOCEXCL does not keep out root, who then finds the lock
        with pytest.raises(serial.SerialException, match="lock"):
            serial.Serial(str(cable.path), exclusive=True)
    else:
        with pytest.raises(serial.SerialException, match=busy):
            serial.Serial(str(cable.path), exclusive=True)
        with pytest.raises(OSError, match=busy):
            os.open(cable.path, os.O_RDWR | os.O_NOCTTY)


def test_a_port_that_another_program_has_is_said_to_be_so_and_taken_later(
    make: Make, cable: Cable, thread: Thread
) -> None:
    other = os.open(cable.path, os.O_RDWR | os.O_NOCTTY)
    fcntl.flock(other, fcntl.LOCK_EX)
    console = make(port=str(cable.path))
    thread.until(lambda: "error" in console.state())
    assert console.state()["error"].endswith("cannot be opened: another program is using it")
    os.close(other)
    thread.until(lambda: console.state()["connected"])


# --- unplugged ---


def test_a_board_opens_without_the_device_and_finds_it_when_it_is_plugged_in(
    make: Make, cable: Cable, thread: Thread
) -> None:
    cable.unplug()
    console = make(port=str(cable.path))
    thread.until(lambda: "error" in console.state())
    assert console.state()["error"] == f"there is no {cable.path}"
    assert not console.state()["connected"]
    with pytest.raises(DeviceGone, match="'console' is not connected: there is no"):
        console.send("hello")
    cable.plug()
    thread.until(lambda: console.state()["connected"])
    assert "error" not in console.state()


def test_it_comes_back_within_three_seconds(console: Serial, cable: Cable, thread: Thread) -> None:
    cable.unplug()
    thread.until(lambda: not console.state()["connected"])
    thread.wait(1.5)  # long enough for the looks to have become rare
    cable.plug()
    plugged = thread.clock.now()
    thread.until(lambda: console.state()["connected"])
    assert thread.clock.now() - plugged < 3


def test_it_can_be_unplugged_and_plugged_in_a_hundred_times(
    console: Serial, cable: Cable, thread: Thread
) -> None:
    open_files = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(100):
        before = console.line.status
        cable.plug()  # under the same name
        thread.until(lambda before=before: console.line.status is not before)
        thread.until(lambda: console.line.status.connected, f"plugged in {number} times")
        text = f"round {number}\n".encode()
        cable.say(text)
        thread.until(lambda text=text: received(console).endswith(text))
        console.send(f"echo {number}")
        assert cable.hear(len(f"echo {number}\n")) == f"echo {number}\n".encode()
    assert received(console) == b"".join(b"round %d\n" % number for number in range(100))
    assert len(list(Path("/proc/self/fd").iterdir())) == open_files


def test_a_port_that_goes_as_soon_as_it_is_open_is_not_opened_without_end(
    make: Make, cable: Cable, thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    class Broken(TtyPort):
        def __init__(self, path: str, baudrate: int, frame: Frame) -> None:
            opened.append(path)
            super().__init__(path, baudrate, frame)
            os.close(cable._far)
            cable.plug_silently()

    monkeypatch.setattr("labnode.drivers.serial.options.TtyPort", Broken)
    make(port=str(cable.path))
    thread.wait(0.7)  # at once, and after 0, 0.4 s
    assert 2 <= len(opened) <= 4


def test_what_was_sent_to_a_port_that_was_just_going_is_not_sent_when_it_is_back(
    console: Serial, cable: Cable, thread: Thread
) -> None:
    cable.unplug()
    thread.until(lambda: not console.state()["connected"])
    console.line._unsent.put(b"too late", lambda _: None)  # as one does who saw it connected
    cable.plug()
    thread.until(lambda: console.state()["connected"])
    console.send("now")
    assert cable.hear(4) == b"now\n"


def test_a_command_to_an_unplugged_device_says_so(
    console: Serial, cable: Cable, thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labnode.drivers.serial.driver._BACK_WITHIN", 0.01)
    cable.unplug()
    thread.until(lambda: not console.state()["connected"])
    with pytest.raises(DeviceGone, match="'console' is not connected"):
        console.set_dtr(True)
    with pytest.raises(DeviceGone):
        console.send_break(0.01)
    with pytest.raises(DeviceGone), console.lent():
        pass


def test_a_device_that_takes_nothing_gets_what_waits_thrown_away(
    make: Make, cable: Cable, thread: Thread
) -> None:
    console = make(write_timeout=0.05)
    with pytest.raises(DeviceError, match=r"'console' did not take [0-9]+ of 1000000 bytes"):
        console.write(bytes(1_000_000))
    heard = cable.hear_everything(1)
    heard.all()
    console.send("again")  # it works on


# --- settings ---


def test_the_port_is_set_up_as_the_board_says(make: Make, cable: Cable) -> None:
    console = make(baudrate=9600, bytesize=7, parity="E", stopbits=2)
    port = console.line.port._port  # type: ignore[attr-defined]
    assert (port.baudrate, port.bytesize, port.parity, port.stopbits) == (9600, 7, "E", 2)


def test_a_student_chooses_one_of_the_baud_rates_and_the_next_finds_the_usual_one(
    make: Make, thread: Thread
) -> None:
    console = make(baudrates=[9600, 1_000_000])
    assert console.describe()["baudrates"] == [115200, 9600, 1_000_000]
    console.set_baudrate(9600)
    assert console.state()["baudrate"] == 9600
    assert console.line.port._port.baudrate == 9600  # type: ignore[attr-defined]
    console.reset()
    assert console.state()["baudrate"] == 115200


def test_a_baud_rate_outlives_an_unplug(make: Make, cable: Cable, thread: Thread) -> None:
    console = make(baudrates=[9600])
    console.set_baudrate(9600)
    before = console.line.status
    cable.plug()
    thread.until(lambda: console.line.status is not before and console.line.status.connected)
    assert console.line.port._port.baudrate == 9600  # type: ignore[attr-defined]


def test_the_next_student_sees_nothing_of_the_last(
    console: Serial, cable: Cable, thread: Thread
) -> None:
    cable.say(b"secret")
    thread.until(lambda: received(console) == b"secret")
    console.reset()
    assert received(console) == b""
    assert console.line.reader().offset == len(b"secret")


def test_what_the_last_student_sent_too_late_does_not_reach_the_device(console: Serial) -> None:
    generation = console.line.generation
    console.reset()
    with pytest.raises(DeviceError, match="is for the next student now"):
        console.line.write(b"late", lambda _: None, generation)


# --- lent ---


def test_a_lent_port_is_free_for_a_programmer_and_taken_back(
    console: Serial, cable: Cable, thread: Thread
) -> None:
    with console.lent() as path:
        assert path == str(cable.path)
        assert console.state()["lent"]
        assert not console.state()["connected"]
        with serial.Serial(path, exclusive=True) as programmer:
            programmer.write(b"program")
        assert cable.hear(7) == b"program"
        with pytest.raises(DeviceError, match="'console' is lent to a programmer"):
            console.send("hello")
        assert console.state()["lent"]
    thread.until(lambda: console.state()["connected"])
    console.send("back")
    assert cable.hear(5) == b"back\n"


def test_a_device_that_has_just_got_its_power_is_waited_for(
    console: Serial, cable: Cable, thread: Thread
) -> None:
    cable.unplug()
    thread.until(lambda: not console.state()["connected"])
    timer = threading.Timer(0.1, cable.plug)
    timer.start()
    with console.lent() as path:
        assert path == str(cable.path)
    timer.join()


def test_a_device_that_needs_a_moment_after_programming_is_waited_for(
    console: Serial, cable: Cable, thread: Thread
) -> None:
    with console.lent():
        cable.unplug()
        timer = threading.Timer(0.1, cable.plug)
        timer.start()
    timer.join()
    console.send("back")  # it is there
    assert cable.hear(5) == b"back\n"


def test_a_fault_of_labnode_is_no_end_of_the_port(
    console: Serial,
    cable: Cable,
    thread: Thread,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    receive = console.line._receive
    monkeypatch.setattr(console.line, "_receive", lambda port: 1 / 0)
    cable.say(b"x")
    thread.until(lambda: "there is a fault in labnode, which its log tells" in caplog.text)
    monkeypatch.setattr(console.line, "_receive", receive)
    thread.until(lambda: console.line.status.connected)
    cable.say(b"y")
    thread.until(lambda: received(console).endswith(b"y"))


def test_a_port_is_taken_back_when_the_programmer_fails(console: Serial, thread: Thread) -> None:
    with pytest.raises(RuntimeError), console.lent():
        raise RuntimeError
    thread.until(lambda: console.state()["connected"])


# --- identity ---


class Listed:
    """As pyserial lists a port."""

    vid, pid, serial_number = 0x2341, 0x0043, "7543"
    product, manufacturer, interface, location = "Uno", "Arduino", None, "1-1.2:1.0"


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        (UsbMatch(vid=UsbId(0x2341)), True),
        (UsbMatch(vid=UsbId(0x2341), pid=UsbId(0x0043), serial="7543"), True),
        (UsbMatch(vid=UsbId(0x2341), serial="7544"), False),
        (UsbMatch(product="Uno", manufacturer="Arduino"), True),
        (UsbMatch(interface="debug"), False),
        (UsbMatch(location="1-1.2"), True),
        (UsbMatch(location="1-1.2:1.0"), True),
        (UsbMatch(location="1-1.2:1.2"), False),
    ],
)
def test_a_usb_device_is_found_by_what_it_says_of_itself(match: UsbMatch, fits: bool) -> None:
    assert match.fits(Listed()) is fits


@pytest.mark.parametrize("written", [0x2341, "2341", "0x2341"])
def test_a_usb_number_can_be_written_as_people_write_it(written: object) -> None:
    assert UsbId.from_yaml(written) == UsbId(0x2341)


def test_two_devices_that_fit_are_none(
    make: Make, cable: Cable, thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Port(Listed):
        def __init__(self, device: str) -> None:
            self.device = device

    found = [Port("/dev/ttyACM0"), Port("/dev/ttyACM1")]
    monkeypatch.setattr("labnode.drivers.serial.options.comports", lambda: found)
    console = make(port=None, match=UsbMatch(vid=UsbId(0x2341)))
    thread.until(lambda: "error" in console.state())
    assert console.state()["error"] == (
        "2 USB serial ports have vid 2341 (/dev/ttyACM0, /dev/ttyACM1); say more in 'match'"
    )
    found[:] = [Port(str(cable.path))]
    thread.until(lambda: console.state()["connected"])


# --- options ---


def test_the_pis_own_port_takes_its_pins() -> None:
    own = Serial(port="/dev/serial0")
    assert [str(claim) for claim in own.claims()] == [
        "port /dev/serial0",
        "pin GPIO14",
        "pin GPIO15",
    ]
    assert own.boot_config() == ["enable_uart=1"]
    assert [str(claim) for claim in Serial(port="/dev/ttyUSB0").claims()] == ["port /dev/ttyUSB0"]
