"""Talking with the device from Python: send, expect, ask, lines; and simulated devices."""

from __future__ import annotations

import threading

import pytest

from labnode.drivers.serial import SerialScript
from labnode.drivers.serial.simulated import Periodic
from labnode.errors import BadInput, DeviceGone, Stopped, TooLate
from labnode.schema import build, parse_yaml

from .conftest import Cable, Make, Serial, Thread, received

LATER = 0.02  # seconds


def later(action: object, *args: object) -> threading.Timer:
    timer = threading.Timer(LATER, action, args)  # type: ignore[arg-type]
    timer.start()
    return timer


def test_a_text_is_sent_with_the_boards_line_ending_or_another(make: Make, cable: Cable) -> None:
    console = make(line_ending="crlf")
    console.send("one")
    console.send("two", "cr")
    console.send("three", "none")
    console.send_bytes("00 ff")
    assert cable.hear(16) == b"one\r\ntwo\rthree\x00\xff"


def test_what_is_no_hexadecimal_is_refused(console: Serial) -> None:
    with pytest.raises(BadInput, match="expected bytes such as '01 ff 7e', not 'zz'"):
        console.send_bytes("zz")


def test_expect_finds_what_was_said_before_and_takes_it(
    console: Serial, cable: Cable, thread: Thread
) -> None:
    cable.say(b"noise\ntemp=21.5\ntemp=22.0\n")
    assert console.expect(r"temp=([\d.]+)") == ["temp=21.5", "21.5"]
    assert console.expect(r"temp=([\d.]+)\n") == ["temp=22.0\n", "22.0"]


def test_expect_waits_for_what_is_said_piece_by_piece(console: Serial, cable: Cable) -> None:
    cable.say(b"rea")
    timer = later(cable.say, b"dy\n")
    assert console.expect("ready") == ["ready"]
    timer.join()


def test_expect_says_what_came_instead(console: Serial, cable: Cable, thread: Thread) -> None:
    with pytest.raises(TooLate, match=r"'console' did not say 'ready' within 0 s; it said nothing"):
        console.expect("ready", 0)
    cable.say(b"error 7\n")
    thread.until(lambda: received(console))
    with pytest.raises(TooLate, match=r"within 0.01 s; all it said was 'error 7\\n'"):
        console.expect("ready", 0.01)


def test_an_expression_that_is_none_is_refused(console: Serial) -> None:
    with pytest.raises(BadInput, match="is no regular expression"):
        console.expect("(")


def test_a_wait_has_a_limit(console: Serial) -> None:
    with pytest.raises(BadInput, match="a wait takes 0 to 600 seconds, not -1"):
        console.expect("x", -1)


def test_a_wait_ends_when_the_device_is_unplugged(
    console: Serial, cable: Cable, thread: Thread
) -> None:
    timer = later(cable.unplug)
    with pytest.raises(DeviceGone, match="'console' is not connected"):
        console.expect("ready", 60)
    timer.join()


def test_a_wait_ends_when_the_task_shall_stop(console: Serial, thread: Thread) -> None:
    def stop() -> None:
        thread.stopping = True
        thread.post(lambda: None)

    timer = later(stop)
    with pytest.raises(Stopped, match="The wait for 'console' was ended"):
        console.expect("ready", 60)
    timer.join()
    thread.stopping = False


def test_lines_come_one_by_one_however_they_end(console: Serial, cable: Cable) -> None:
    cable.say(b"one\r\ntwo\rthree\n\nfive\r")
    assert [console.read_line() for _ in range(5)] == ["one", "two", "three", "", "five"]
    cable.say(b"\nsix\n")  # the other half of the end of five
    assert console.read_line() == "six"


def test_letters_that_come_in_pieces_are_put_together(
    console: Serial, cable: Cable, thread: Thread
) -> None:
    cable.say("2 \u00b0".encode()[:-1])
    with pytest.raises(TooLate):
        console.read_line(0.01)
    cable.say("\u00b0".encode()[-1:] + b"C\n")
    assert console.read_line() == "2 °C"


def test_bytes_that_are_no_text_are_replaced(console: Serial, cable: Cable) -> None:
    cable.say(b"\xff\xfe ok \xc3\n")
    assert console.read_line() == "\ufffd\ufffd ok \ufffd"


def test_a_flood_without_a_line_end_is_held_within_limits(
    console: Serial, cable: Cable, thread: Thread
) -> None:
    flood = b"\x80" * 3_000_000
    talker = threading.Thread(target=cable.say, args=(flood,))
    talker.start()
    with pytest.raises(TooLate):
        console.read_line(0.1)
    talker.join()
    thread.until(lambda: console.line.rx_bytes == len(flood))
    assert len(received(console)) == 1 << 20
    assert len(console.unread.text) == 1 << 16


def test_another_encoding_is_spoken_both_ways(make: Make, cable: Cable) -> None:
    console = make(encoding="latin-1")
    console.send("°")
    assert cable.hear(2) == b"\xb0\n"
    cable.say(b"\xb5V\n")
    assert console.read_line() == "µV"


# --- simulated devices ---


def test_a_simulated_device_echoes(simulate: Make) -> None:
    console = simulate()
    console.send("hello")
    assert console.read_line() == "hello"


def test_a_scripted_device_answers_lines(simulate: Make) -> None:
    script = SerialScript(
        greeting="ready\n",
        answers={"led (on|off)": "led is \\1\n", "temp\\?": "21.5\n"},
        otherwise="what?\n",
    )
    console = simulate(script)
    assert console.read_line() == "ready"
    assert console.ask("led on") == "led is on"
    assert console.ask("temp?", r"([\d.]+)") == "21.5"
    assert console.ask("dance") == "what?"


def test_a_scripted_device_greets_again_when_it_is_reset(simulate: Make) -> None:
    console = simulate(SerialScript(greeting="ready\n"))
    assert console.read_line() == "ready"
    console.set_dtr(False)
    console.set_dtr(True)
    assert console.read_line() == "ready"


def test_a_scripted_device_says_things_from_time_to_time(simulate: Make) -> None:
    script = SerialScript(periodic=[Periodic(every=0.001, text=["20\n", "21\n"])])
    console = simulate(script)
    assert [console.read_line() for _ in range(4)] == ["20", "21", "20", "21"]


def test_a_scripted_answer_comes_after_its_delay(simulate: Make, thread: Thread) -> None:
    console = simulate(SerialScript(answers={"a": "b\n"}, delay=0.03))
    asked = thread.clock.now()
    assert console.ask("a") == "b"
    assert thread.clock.now() - asked >= 0.03


def test_a_simulated_port_can_be_lent(simulate: Make, thread: Thread) -> None:
    console = simulate()
    with console.lent() as path:
        assert path == "/dev/ttyUSB0"
    thread.until(lambda: console.state()["connected"])


def test_a_script_is_written_in_yaml() -> None:
    text = """
        answers: {"led (on|off)": "led is \\\\1\\n"}
        periodic: [{every: 500ms, text: ["1\\n", "2\\n"]}]
    """
    script = build(SerialScript, parse_yaml(text, "x.yaml"))
    assert script.answers == {"led (on|off)": "led is \\1\n"}
    assert script.periodic == [Periodic(every=0.5, text=["1\n", "2\n"])]


@pytest.mark.parametrize("answers", [{"(": "x"}, {"a": "\\1"}])
def test_a_script_that_cannot_work_is_refused(answers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="does not work"):
        SerialScript(answers=answers)


def test_students_may_send_and_only_python_may_wait() -> None:
    for_students = {name for name, command in Serial.commands.items() if command.students}
    assert for_students == {
        "set_baudrate", "send_break", "set_dtr", "set_rts", "send", "send_bytes",
    }  # fmt: skip
    looking_only = Serial(port="/dev/ttyUSB0", read_only=True)
    assert not any(command.students for command in looking_only.commands.values())
