"""Instruments on a scripted one of ours: what is read, set, refused, lost and made safe."""

from __future__ import annotations

from typing import Any

import pytest

from labnode.board.safe import drive_safe
from labnode.clock import Clock
from labnode.drivers.gpio.factories import mock_factory
from labnode.drivers.instruments.driver import UsbtmcMatch
from labnode.errors import BadInput, ConfigError, DeviceError
from tests.kit.scpi import PtyPlug, Supply, TcpPlug, plugged

DEVICES = """
  voltage:
    driver: setpoint
    instrument: supply
    command: "VOLT {{value:.3f}}"
    query: "VOLT?"
    min: 0
    max: 12
    safe: 0
  output:
    driver: instrument_switch
    instrument: supply
    on_command: OUTP ON
    off_command: OUTP OFF
    query: "OUTP?"
  volts: {{driver: reading, instrument: supply, query: "MEAS:VOLT?", unit: V, sample_every: 50ms}}
  supply: {{driver: instrument, {way}, timeout: 500ms}}
"""


def bench(plug: Any, more: str = "", **supply: str) -> str:
    way = ", ".join([f"tcp: '{plug.address}'", *(f"{key}: {text}" for key, text in supply.items())])
    return DEVICES.format(way=way) + more


def test_what_is_set_is_sent_read_back_and_measured(lab: Any, tcp: TcpPlug) -> None:
    board = lab.open(bench(tcp, idn="supply 30"))
    lab.until(board, "supply", connected=True, identity="LABNODE,SUPPLY 30,7,1.0")
    lab.until(board, "voltage", value=0)
    board.command("voltage", "set", [5])
    board.command("output", "on")
    lab.until(board, "voltage", value=5)
    lab.until(board, "volts", value=5)
    assert [line for line in tcp.supply.heard if line in ("VOLT 5.000", "OUTP ON")] == [
        "VOLT 5.000",
        "OUTP ON",
    ]
    assert tcp.connections == 1


def test_limits_are_kept_before_anything_is_sent(lab: Any, tcp: TcpPlug) -> None:
    board = lab.open(bench(tcp))
    lab.until(board, "voltage", value=0)
    with pytest.raises(BadInput, match="must be a number from 0 to 12, not 13"):
        board.command("voltage", "set", [13])
    assert not [line for line in tcp.supply.heard if line.startswith("VOLT 1")]


def test_an_error_in_the_instruments_queue_is_shown_and_the_output_made_safe(
    lab: Any, tcp: TcpPlug
) -> None:
    board = lab.open(bench(tcp).replace("max: 12", "max: 40"))
    lab.until(board, "voltage", value=0)
    board.command("voltage", "set", [31])
    lab.until(board, "voltage", error='-222,"Data out of range"')
    lab.until(board, "voltage", value=0)
    assert tcp.supply.heard.count("VOLT 0.000") == 2
    assert not tcp.supply.errors


def test_what_is_not_what_it_was_set_to_is_an_error(lab: Any, tcp: TcpPlug) -> None:
    board = lab.open(bench(tcp))
    lab.until(board, "voltage", value=0)
    tcp.supply.offset = 0.5
    board.command("voltage", "set", [5])
    lab.until(board, "voltage", error="it was set to 0 but is 0.5")  # it was made safe at once
    tcp.supply.offset = 0
    lab.until(board, "voltage", value=0)


def test_a_reset_sends_the_safe_values_and_waits_for_them(lab: Any, tcp: TcpPlug) -> None:
    board = lab.open(bench(tcp))
    board.command("voltage", "set", [5])
    board.command("output", "on")
    lab.until(board, "output", value=True)
    board.reset()
    assert (tcp.supply.volts, tcp.supply.on) == (0, False)


def test_a_close_and_an_emergency_send_the_safe_values(lab: Any, tcp: TcpPlug) -> None:
    for end in ("make_safe", "close"):
        board = lab.open(bench(tcp))
        board.command("voltage", "set", [5])
        board.command("output", "on")
        lab.until(board, "volts", value=5)
        getattr(board, end)()
        assert (tcp.supply.volts, tcp.supply.on) == (0, False), end
        board.close()


def test_labnode_safe_connects_and_sends_the_safe_values(lab: Any, tcp: TcpPlug) -> None:
    tcp.supply.volts, tcp.supply.on = 7.0, True
    assert drive_safe(lab.load(bench(tcp)), mock_factory(), Clock()) == []
    assert (tcp.supply.volts, tcp.supply.on) == (0, False)
    assert tcp.connections == 1


def test_labnode_safe_says_what_it_could_not_send(lab: Any, tcp: TcpPlug) -> None:
    text = bench(tcp)
    tcp.unplug()
    try:
        failures = drive_safe(lab.load(text), mock_factory(), Clock())
    finally:
        tcp.plug()
    assert [failure.partition(":")[0] for failure in failures] == [
        "'voltage' is not safe",
        "'output' is not safe",
    ]
    assert f"{tcp.address} cannot be reached (Connection refused)" in failures[0]


def test_an_instrument_that_is_off_at_boot_is_connected_when_it_is_there(
    lab: Any, tcp: TcpPlug
) -> None:
    text = bench(tcp)
    tcp.unplug()
    tcp.supply.volts = 7.0
    board = lab.open(text)
    try:
        lab.until(board, "supply", connected=False, value=False)
        lab.until(board, "voltage", value=None, connected=False)
        with pytest.raises(DeviceError, match="has not confirmed that it is 0: 'supply' is not"):
            board.reset(["voltage"])
    finally:
        tcp.plug()
    lab.until(board, "voltage", value=0)
    assert tcp.supply.volts == 0
    board.reset()


def test_after_a_lost_connection_outputs_are_safe_and_readings_go_on(
    lab: Any, tcp: TcpPlug
) -> None:
    board = lab.open(bench(tcp))
    board.command("voltage", "set", [5])
    board.command("output", "on")
    lab.until(board, "volts", value=5)
    tcp.unplug()
    try:
        lab.until(board, "volts", connected=False)
        lab.until(board, "voltage", value=None)
    finally:
        tcp.plug()
    lab.until(board, "volts", value=0)
    lab.until(board, "voltage", value=0)
    assert (tcp.supply.volts, tcp.supply.on) == (0, False)


def test_another_instrument_than_the_board_names_is_not_used(lab: Any, tcp: TcpPlug) -> None:
    board = lab.open(bench(tcp, idn="DP832"))
    lab.until(
        board,
        "supply",
        connected=False,
        error="it says that it is 'LABNODE,SUPPLY 30,7,1.0', not 'DP832'",
    )
    assert set(tcp.supply.heard) == {"*IDN?"}


def test_a_question_without_an_answer_holds_up_nobody_for_long(lab: Any, tcp: TcpPlug) -> None:
    more = '  typo: {driver: reading, instrument: supply, query: "MEAS:VLT?", sample_every: 1s}\n'
    board = lab.open(bench(tcp, more).replace("500ms", "100ms"))
    board.command("voltage", "set", [5])
    board.command("output", "on")
    lab.until(board, "typo", error="it does not answer 'MEAS:VLT?' in time")
    lab.until(board, "volts", value=5)
    assert board.snapshot["supply"]["connected"] is True


def test_what_is_out_of_range_is_no_reading(lab: Any, tcp: TcpPlug) -> None:
    more = '  ohms: {driver: reading, instrument: supply, query: "MEAS:RES?"}\n'
    board = lab.open(bench(tcp, more))
    lab.until(board, "ohms", value=None, error="it has no reading: out of range")


def test_python_asks_and_writes_past_the_devices(lab: Any, tcp: TcpPlug) -> None:
    board = lab.open(bench(tcp))
    lab.until(board, "supply", connected=True)
    assert board.command("supply", "query", ["*IDN?"]) == "LABNODE,SUPPLY 30,7,1.0"
    with pytest.raises(DeviceError, match="Undefined header"):
        board.command("supply", "write", ["VLT 5"])


def test_an_instrument_on_a_serial_device_of_the_board(lab: Any, supply: Supply) -> None:
    with plugged(PtyPlug(supply)) as plug:
        assert isinstance(plug, PtyPlug)
        text = DEVICES.format(way="serial: port")
        text += f"  port: {{driver: serial, port: {plug.path}, access: system}}\n"
        board = lab.open(text)
        board.command("voltage", "set", [5])
        board.command("output", "on")
        lab.until(board, "volts", value=5)
        board.close()
        assert (supply.volts, supply.on) == (0, False)
        supply.volts = 7
        assert drive_safe(lab.load(text), mock_factory(), Clock()) == []
        assert supply.volts == 0


def test_an_instrument_behind_the_kernels_usbtmc_file(lab: Any, supply: Supply) -> None:
    with plugged(PtyPlug(supply)) as plug:
        assert isinstance(plug, PtyPlug)
        board = lab.open(DEVICES.format(way=f"usbtmc: {plug.path}"))
        board.command("output", "on")
        lab.until(board, "output", value=True)
        board.close()
        assert supply.on is False


def test_an_instrument_with_a_visa_name(lab: Any, tcp: TcpPlug) -> None:
    pytest.importorskip("pyvisa_py", reason="the extra visa is not installed")
    host, port = tcp.address.split(":")
    board = lab.open(DEVICES.format(way=f'visa: "TCPIP0::{host}::{port}::SOCKET"'))
    board.command("voltage", "set", [5])
    board.command("output", "on")
    lab.until(board, "volts", value=5)


def test_a_usb_instrument_is_found_by_its_identity(tmp_path: Any, monkeypatch: Any) -> None:
    for number, serial in enumerate(("DS1", "DS2")):
        usb = tmp_path / f"usb{number}"
        (usb / "interface").mkdir(parents=True)
        (usb / "idVendor").write_text("1ab1\n")
        (usb / "serial").write_text(f"{serial}\n")
        (tmp_path / "class" / f"usbtmc{number}").mkdir(parents=True)
        (tmp_path / "class" / f"usbtmc{number}" / "device").symlink_to(usb / "interface")
    monkeypatch.setattr(UsbtmcMatch, "root", tmp_path / "class")
    assert UsbtmcMatch(serial="DS2").find() == "/dev/usbtmc1"
    with pytest.raises(DeviceError, match="there is no USB instrument with serial DS3"):
        UsbtmcMatch(serial="DS3").find()


WRONG = {
    "command: 'VOLT {volts}'": "expected {value} where the number goes, not {volts}",
    "command: VOLT": "expected {value} where the number goes, not the text 'VOLT'",
    "command: 'VOLT {value!r}'": "':' is no format of a number",
    "command: 'VOLT {value:999999.3f}'": "':999999.3f' is no format of a number",
    "command: 'VOLT {value'": "cannot be read",
    "command: 'VOLT {value.real}'": "not {value.real}",
    'command: "VOLT {value}\\nOUTP ON"': "characters that cannot be sent",
    "command: 'VOLT {value:.0f}', max: 1.5": "max (1.5) is sent as 'VOLT 2': give it more digits",
    "instrument: led": "'led' is a led, no instrument",
    "instrument: suply": "there is no device 'suply'; did you mean 'supply'?",
}


@pytest.mark.parametrize(("option", "sentence"), WRONG.items())
def test_what_cannot_be_in_a_setpoint_is_told_at_load(lab: Any, option: str, sentence: str) -> None:
    defaults = {"instrument": "supply", "command": "'V {value}'", "min": "0", "max": "9"}
    given = [f"{key}: {text}" for key, text in defaults.items() if f"{key}:" not in option]
    text = f"""
  supply: {{driver: instrument, tcp: "127.0.0.1:1"}}
  led: {{driver: led, pin: GPIO17}}
  voltage: {{driver: setpoint, safe: 0, {", ".join([*given, option])}}}
"""
    with pytest.raises(ConfigError) as caught:
        lab.load(text)
    assert sentence in str(caught.value)
    assert "board.yaml:" in str(caught.value)


def test_an_instrument_is_connected_in_one_way(lab: Any) -> None:
    with pytest.raises(ConfigError, match="one of tcp, serial, usbtmc and visa, not tcp and visa"):
        lab.load('  a: {driver: instrument, tcp: "a:1", visa: "x"}\n')
    with pytest.raises(ConfigError, match="expected a host and its port such as 192"):
        lab.load('  a: {driver: instrument, tcp: "supply"}\n')
