"""The programmers that need USB hardware: their arguments, what is not for them, what they say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labnode.drivers.framework.driver import Ref
from labnode.drivers.framework.registry import load_drivers
from labnode.drivers.framework.subprocess import Ended
from labnode.drivers.tools.base import Job, Tool
from labnode.drivers.tools.content import Content
from labnode.drivers.tools.known import judged
from labnode.errors import BadFile, ConfigError, DeviceError, ToolFailed
from labnode.locale import BUILT_IN
from labnode.schema import build, parse_yaml
from labnode.supervisor.confine import landlock_version

from .conftest import Stage
from .files import dfu, elf, uf2
from .tap import bitstream

Stm = Callable[..., Any]

RP2040, RP2350 = 0xE48BFF56, 0xE48BFF59


def tool(stage: Stage, text: str) -> Any:
    """The driver of a line of YAML, opened without hardware."""
    stage.simulated = True
    ((name, options),) = parse_yaml(f"it: {{{text}}}", "x.yaml").items()
    kind = options.child("driver").value
    return stage.open(build(load_drivers()[kind], options, name=name, ignore={"driver"}), name)


def argv(driver: Tool, name: str, port: str = "", *, verify: bool = True) -> list[str]:
    *_, last = driver.steps(Job(name, port, verify, Content(1, entry=0x20000001)))
    return last


@pytest.mark.parametrize(
    ("options", "image", "expected"),
    [
        ("driver: avrdude, part: m328p, programmer: usbasp", "image.hex",
         "avrdude -p m328p -c usbasp -U flash:w:image.hex:i"),
        ("driver: avrdude, part: atmega2560, programmer: wiring, baudrate: 115200, accept: [.elf]",
         "image.elf",
         "avrdude -p atmega2560 -c wiring -b 115200 -D -U flash:w:image.elf:e"),
        ("driver: openfpgaloader, board: basys3", "image.bit",
         "openFPGALoader -b basys3 -m image.bit"),
        ("driver: openfpgaloader, cable: ft232, part: xc7a35tcpg236, serial: A1, target: flash",
         "image.bit",
         "openFPGALoader -c ft232 --ftdi-serial A1 --fpga-part xc7a35tcpg236 -f --verify "
         "image.bit"),
        ("driver: dfu_util, device: '0483:df11'", "image.dfu",
         "dfu-util -d 0483:df11 -a 0 -R -D image.dfu"),
        ("driver: dfu_util, device: '0483:df11', accept: [.bin], address: '0x08000000', serial: X",
         "image.bin", "dfu-util -d 0483:df11 -a 0 -S X -s 0x08000000:leave -D image.bin"),
        ("driver: picotool, serial: E6", "image.uf2", "picotool load -v --ser E6 -x -f image.uf2"),
        ("driver: st_flash, flash: 64KiB", "image.hex",
         "st-flash --reset --format ihex write image.hex"),
        ("driver: st_flash, flash: 64KiB, accept: [.bin], serial: S", "image.bin",
         "st-flash --reset --serial S write image.bin 0x08000000"),
        ("driver: uf2, folder: /media/PICO, family: 0xe48bff56", "image.uf2",
         "cp -- image.uf2 /media/PICO"),
    ],
)  # fmt: skip
def test_its_arguments(stage: Stage, options: str, image: str, expected: str) -> None:
    assert argv(tool(stage, options), image) == expected.split()


def test_esptool_is_told_the_chip_and_the_address(stage: Stage) -> None:
    esp = tool(stage, "driver: esptool, chip: esp32, port: /dev/ttyUSB0")
    told = " ".join(argv(esp, "image.bin", "/dev/ttyUSB0")[1:])
    assert told == "--chip esp32 --port /dev/ttyUSB0 --baud 115200 write_flash 0x10000 image.bin"
    ram = tool(stage, "driver: esptool, chip: esp32, port: /dev/ttyUSB0, target: sram")
    assert argv(ram, "image.bin", "/dev/ttyUSB0")[-3:] == ["--no-stub", "load_ram", "image.bin"]


def test_openocd_writes_flash_memory_and_svf(stage: Stage) -> None:
    config = "driver: openocd, config: [interface/cmsis-dap.cfg, target/stm32f1x.cfg]"
    assert argv(tool(stage, config), "image.hex")[-3:] == [
        "program image.hex verify reset", "-c", "shutdown",
    ]  # fmt: skip
    ram = argv(tool(stage, f"{config}, target: sram, accept: [.elf]"), "image.elf")
    assert ram[-11:-2:2] == ["init", "reset halt", "load_image image.elf",
                             "verify_image image.elf", "resume 0x20000001"]  # fmt: skip
    svf = argv(tool(stage, f"{config}, accept: [.svf]"), "image.svf")
    assert "svf image.svf -quiet" in svf


def test_a_board_is_brought_into_its_bootloader_by_1200_baud(stage: Stage) -> None:
    pico = tool(stage, "driver: uf2, folder: /media/P, family: 1, port: /dev/ttyACM0")
    touch, _ = pico.steps(Job("image.uf2", "/dev/ttyACM0", verify=True, content=Content(1)))
    assert touch == ["stty", "-F", "/dev/ttyACM0", "1200", "hupcl"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("driver: avrdude, part: atxmega1, programmer: usbasp", "flash of 'atxmega1' is not known"),
        ("driver: avrdude, part: '-C/tmp/x', programmer: usbasp", "expected a word"),
        ("driver: avrdude, part: m8, programmer: 'a; rm'", "expected a word"),
        ("driver: avrdude, part: m8, programmer: usbasp, bootloader: 8KiB", "leaves no flash"),
        ("driver: avrdude, part: m8, programmer: usbasp, accept: [.exe]", "not .exe"),
        ("driver: avrdude, part: m8, programmer: usbasp, accept: [hex]", "list of endings"),
        ("driver: avrdude, part: m8, programmer: usbasp, port: 'a b'", "a serial device"),
        ("driver: avrdude, part: m8, programmer: usbasp, blank: x.uf2", "blank (x.uf2)"),
        ("driver: openfpgaloader", "board or cable"),
        ("driver: openocd, config: []", "config must name"),
        ("driver: openocd, config: [a.cfg], accept: [.bit]", "target: sram"),
        ("driver: openocd, config: [a.cfg], accept: [.bin]", "address must say"),
        ("driver: openocd, config: [a.cfg], accept: [.hex], target: sram", "use .elf"),
        ("driver: esptool, chip: esp32", "port must say"),
        ("driver: dfu_util, device: stm32", "vendor:product"),
        ("driver: picotool, accept: [.hex]", "takes .uf2 and .elf"),
        ("driver: uf2, folder: media, family: 1", "whole path"),
    ],
)
def test_options_that_cannot_be_are_told(stage: Stage, options: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        tool(stage, options)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("options", "name", "data", "sentence"),
    [
        ("driver: avrdude, part: m328p, programmer: arduino, accept: [.elf]", "x.elf",
         elf(40, 0), "not for AVR"),
        ("driver: avrdude, part: m328p, programmer: arduino, accept: [.elf], bootloader: 512",
         "x.elf", elf(83, 0x7E00), "does not fit"),
        ("driver: picotool", "x.uf2", uf2(RP2350, 0x10000000), "another chip than the RP2040"),
        ("driver: picotool", "x.uf2", uf2(RP2040, 0x30000000), "outside the chip"),
        ("driver: picotool, target: sram", "x.uf2", uf2(RP2040, 0x10000000), "run from memory"),
        ("driver: picotool, accept: [.elf]", "x.elf", elf(83, 0x10000000), "another chip"),
        ("driver: dfu_util, device: '0483:df11'", "x.dfu", dfu(0x1234, 0xDF11), "1234:df11"),
        ("driver: st_flash, flash: 1KiB", "x.hex", b":020000040800F2\n:0104000001FA\n:00000001FF\n",
         "from 0x08000400 to 0x08000400"),
        ("driver: st_flash, flash: 1KiB, accept: [.bin]", "x.bin", bytes(1025), "does not fit"),
        ("driver: uf2, folder: /media/P, family: 0xe48bff56", "x.uf2", uf2(1, 0), "another chip"),
        ("driver: esptool, chip: esp32, port: /dev/x", "x.bin", b"MZ", "not an image for ESP"),
        ("driver: esptool, chip: esp32, port: /dev/x, flash: 66KiB", "x.bin",
         b"\xe9".ljust(3000, b"\0"), "does not fit"),
        ("driver: esptool, chip: esp32, port: /dev/x", "x.bin",
         b"\xe9".ljust(12, b"\0") + b"\x09\0", "another chip than the esp32"),
        ("driver: openfpgaloader, board: b, part: xc7a35t", "x.bit", bitstream("7a100tcsg324"),
         "for the 7a100tcsg324"),
    ],
)  # fmt: skip
def test_a_file_for_something_else_is_refused(
    stage: Stage, options: str, name: str, data: bytes, sentence: str
) -> None:
    path = stage.folder / name
    path.write_bytes(data)
    with pytest.raises(BadFile, match=sentence):
        tool(stage, options).check(path)


@pytest.mark.parametrize(
    ("options", "name", "data"),
    [
        ("driver: avrdude, part: m328p, programmer: arduino, accept: [.elf], bootloader: 512",
         "x.elf", elf(83, 0x800100)),
        ("driver: picotool, target: sram", "x.uf2", uf2(RP2040, 0x20000000)),
        ("driver: picotool, chip: rp2350", "x.uf2", uf2(RP2350, 0x10000000)),
        ("driver: openfpgaloader, board: b, part: xc7a35t", "x.bit", bitstream()),
        ("driver: dfu_util, device: '0483:df11'", "x.dfu", dfu(0xFFFF, 0xFFFF)),
    ],
)  # fmt: skip
def test_a_file_for_it_is_taken(stage: Stage, options: str, name: str, data: bytes) -> None:
    path = stage.folder / name
    path.write_bytes(data)
    tool(stage, options).check(path)


# What programs print, after their manuals, sources and users' reports, and what it means. None of
# it was captured from hardware.
SAID = [
    ("avrdude", "avrdude: verification error; content mismatch", "does not read back"),
    ("avrdude", "avrdude: Device signature = 0x000000\navrdude: Expected signature for ATmega328P "
     "is 1E 95 0F", "not the one"),
    ("avrdude", "avrdude: ser_open(): can't open device \"/dev/ttyACM0\": No such file",
     "cannot be found"),
    ("avrdude", "avrdude: stk500_recv(): programmer is not responding", "stopped answering"),
    ("avrdude", "avrdude OS error: cannot open port /dev/ttyACM0: Permission denied\n"
     "permission denied", "cannot be found|may not use"),
    ("openocd", "Error: unable to find a matching CMSIS-DAP device", "cannot be found"),
    ("openocd", "Error: JTAG scan chain interrogation failed: all ones", "does not answer"),
    ("openocd", "Info : verified\nError: checksum mismatch - attempting binary compare",
     "does not read back"),
    ("openocd", "Error: timed out while waiting for target halted", "does not answer"),
    ("openocd", "** Programming Failed **", "stopped answering"),
    ("esptool", "A fatal error occurred: Failed to connect to ESP32: No serial data received.",
     "does not answer"),
    ("esptool", "A fatal error occurred: Failed to connect to ESP32: Wrong boot mode detected "
     "(0x13)! The chip needs to be in download mode.", "its reset or BOOT line"),
    ("esptool", "A fatal error occurred: This chip is ESP32-S3 not ESP32. Wrong --chip argument?",
     "not the one"),
    ("esptool", "A fatal error occurred: MD5 of file does not match data in flash!",
     "does not read back"),
    ("openfpgaloader", "unable to open ftdi device: -3 (device not found)\nJTAG init failed with: "
     "unable to open ftdi device", "cannot be found"),
    ("openfpgaloader", "Error: fail to configure: DONE is low", "stopped answering"),
    ("dfu_util", "dfu-util: No DFU capable USB device available", "cannot be found"),
    ("dfu_util", "dfu-util: Error: File ID 0483:df11 does not match device (1209:0001)",
     "not for this chip"),
    ("dfu_util", "dfu-util: Error during download get_status", "stopped answering"),
    ("picotool", "No accessible RP-series devices in BOOTSEL mode were found.", "cannot be found"),
    ("picotool", "No accessible RP2040 devices in BOOTSEL mode were found.", "cannot be found"),
    ("st_flash", "Couldn't find any ST-Link devices", "cannot be found"),
    ("st_flash", "ERROR common.c: unknown chip id! 0xe0042000", "not the one"),
    ("st_flash", "Failed to connect to target", "does not answer"),
    ("st_flash", "Verification of flash failed at offset: 0", "does not read back"),
    ("uf2", "cp: error writing '/media/P/image.uf2': Input/output error", "stopped answering"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "output", "sentence"), SAID)
def test_what_it_says_becomes_a_sentence(kind: str, output: str, sentence: str) -> None:
    known = load_drivers()[kind].known  # type: ignore[attr-defined]
    error = judged(kind, Ended(1, tuple(output.splitlines())), 60, known)
    assert error is not None
    assert any(part in str(error) for part in sentence.split("|")), str(error)
    assert BUILT_IN.best(["es"]).say(error.words) != str(error)


WELL = [
    ("openfpgaloader", "Parse file DONE\nload program\nLoad SRAM: [====] 100.00%\nDone"),
    ("dfu_util", "Download done.\nFile downloaded successfully\nTransitioning to dfuMANIFEST"),
    ("picotool", "Loading into Flash: [====]  100%\nVerifying Flash: [===]  100%\n  OK"),
    ("st_flash", "Flash written and verified! jolly good!"),
    ("esptool", "Wrote 1024 bytes\nHash of data verified.\nHard resetting via RTS pin..."),
]


@pytest.mark.parametrize(("kind", "output"), WELL)
def test_what_it_says_when_all_is_well_is_no_failure(kind: str, output: str) -> None:
    known = load_drivers()[kind].known  # type: ignore[attr-defined]
    assert judged(kind, Ended(0, tuple(output.splitlines())), 60, known) is None


# A stand-in on the PATH takes the place of each program.

DFU = "driver: dfu_util, device: '0483:df11', retries: 0, timeout: 120"


@pytest.fixture
def written(stage: Stage) -> Path:
    path = stage.folder / "student.dfu"
    path.write_bytes(dfu(0x0483, 0xDF11))
    return path


@pytest.fixture
def stm(stage: Stage, stand_in: Callable[[str, str], Path]) -> Stm:
    """The driver whose dfu-util is the given Python program."""

    def make(program: str, options: str = DFU) -> Any:
        stand_in("dfu-util", program)
        driver = tool(stage, options)
        stage.simulated = False
        return driver

    return make


def test_a_program_that_is_slow_tells_how_far_it_is(stm: Stm, stage: Stage, written: Path) -> None:
    stm(
        "import sys, time\n"
        "for n in range(0, 101, 20):\n"
        "    print(f'Download\\t[====]  {n}%   {n} bytes', end='\\r', flush=True)\n"
        "    time.sleep(0.03)\n"
        "print('\\nDownload done.')"
    ).program(written)
    assert stage.percents == sorted(stage.percents)
    assert len(stage.percents) > 2
    assert stage.percents[-1] == 100


def test_it_finds_the_student_s_file_under_a_name_that_nobody_chose(
    stm: Stm, stage: Stage, written: Path
) -> None:
    hostile = written.rename(written.with_name("$(touch x) -D ;rm.dfu"))
    stm(
        "import os, sys\nprint(sys.argv[-1], os.listdir('.'), os.path.getsize('image.dfu'))"
    ).program(hostile)
    assert stage.lines == [f"image.dfu ['image.dfu'] {hostile.stat().st_size}"]


def test_it_gets_a_copy_of_the_files_beside_the_board_that_it_is_told_of_and_no_others(
    stage: Stage, stand_in: Callable[[str, str], Path]
) -> None:
    (stage.folder / "cables").mkdir()
    (stage.folder / "cables" / "mine.cfg").write_text("a cable")
    (stage.folder / "secrets.yaml").write_text("a secret")
    image = stage.folder / "x.hex"
    image.write_text(":0104000001FA\n:00000001FF\n")
    stand_in(
        "openocd",
        "import os, sys\n"
        "given = [word for word in sys.argv if word.endswith('.cfg')]\n"
        "print(*given, open(given[0]).read(), sorted(os.listdir('.')), os.listdir('board'))\n"
        f"try: print(open({str(stage.folder / 'secrets.yaml')!r}).read())\n"
        "except PermissionError: print('no secret')",
    )
    driver = tool(stage, "driver: openocd, config: [cables/mine.cfg, target/stm32f1x.cfg]")
    stage.simulated = False
    driver.program(image)
    assert stage.lines[0] == (
        "board/cables/mine.cfg target/stm32f1x.cfg a cable ['board', 'image.hex'] ['cables']"
    )
    assert stage.lines[1] == ("no secret" if landlock_version() else "a secret")


def test_a_program_beside_the_board_is_run(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, written: Path
) -> None:
    program = stage.folder / "flashit"
    program.write_text("#!/bin/sh\necho flashed $1\n")
    program.chmod(0o755)
    driver = tool(stage, DFU)
    monkeypatch.setattr(driver, "steps", lambda job: [[str(program), job.image]])
    stage.simulated = False
    driver.program(written)
    assert stage.lines == ["flashed image.dfu"]


def test_the_steps_of_a_tool_share_a_folder(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, written: Path
) -> None:
    driver = tool(stage, DFU)
    steps = [["cp", "image.dfu", "converted"], ["ls"]]
    monkeypatch.setattr(driver, "steps", lambda _job: steps)
    stage.simulated = False
    driver.program(written)
    assert stage.lines == ["converted", "image.dfu"]


def test_nothing_is_left_of_the_folder_that_it_ran_in(
    stm: Stm, stage: Stage, written: Path
) -> None:
    stm("import os\nopen('core', 'w').close()\nprint(os.getcwd())").program(written)
    (folder,) = stage.lines
    assert not Path(folder).exists()


def test_what_it_starts_is_gone_when_it_fails(stm: Stm, stage: Stage, written: Path) -> None:
    driver = stm(
        "import os, signal\n"
        "ready, tell = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    print(os.getpid(), flush=True)\n"
        "    os.write(tell, b'!')\n"
        "    signal.pause()\n"
        "os.read(ready, 1)\n"
        "print('dfu-util: Lost device')\nraise SystemExit(74)"
    )
    with pytest.raises(ToolFailed, match="stopped answering"):
        driver.program(written)
    child = next(line for line in stage.lines if line.isdigit())
    left = Path(f"/proc/{child}/cmdline")
    assert not left.exists() or not left.read_bytes(), "it may only wait to be reaped"


def test_an_exit_code_that_nobody_knows_is_told_with_its_last_line(stm: Stm, written: Path) -> None:
    with pytest.raises(ToolFailed, match=r"dfu-util failed \(exit code 3\): what a day\."):
        stm("print('what a day'); raise SystemExit(3)").program(written)


def test_a_death_by_signal_is_told(stm: Stm, written: Path) -> None:
    with pytest.raises(ToolFailed, match="dfu-util was ended by SIGSEGV"):
        stm("import os\nos.kill(os.getpid(), 11)").program(written)


def test_one_that_says_a_gigabyte_is_ended(stm: Stm, written: Path) -> None:
    with pytest.raises(ToolFailed, match="said far too much"):
        stm("while True: print('x' * 1000)").program(written)


def test_one_that_hangs_in_silence_is_ended(stm: Stm, written: Path) -> None:
    driver = stm("import signal\nsignal.pause()", DFU.replace("timeout: 120", "timeout: 0.3"))
    with pytest.raises(ToolFailed, match=r"within 0\.3 s"):
        driver.program(written)


def test_one_that_is_gone_since_the_start_is_told(
    stm: Stm, stage: Stage, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = stm("")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ToolFailed, match=r"'dfu-util' is not installed .*apt-get install dfu-util"):
        driver.program(written)


def test_one_that_cannot_be_started_is_told(
    stm: Stm, written: Path, stand_in: Callable[[str, str], Path]
) -> None:
    driver = stm("")
    stand_in("dfu-util", "").write_text("#!/no/such/python\n")
    with pytest.raises(ToolFailed, match="dfu-util"):
        driver.program(written)
    stand_in("dfu-util", "").write_bytes(b"\x7fELF nonsense")
    with pytest.raises(ToolFailed, match="could not be started: Exec format error"):
        driver.program(written)


def test_a_device_whose_program_is_missing_does_not_open(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = tool(stage, DFU)
    stage.simulated = False
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DeviceError, match="apt-get install dfu-util"):
        driver.open()


# It may not write where a test could look: the test makes a file for it.
FAILS_UNTIL = """
import os
if not os.path.exists({good!r}):
    print('dfu-util: Lost device')
    raise SystemExit(74)
"""


def test_a_failure_is_tried_again_as_often_as_it_may(
    stm: Stm, stage: Stage, written: Path, tmp_path: Path
) -> None:
    good = tmp_path / "bin" / "good"
    stage.happens(lambda: "-- 3 / 3 --" in stage.lines, good.touch)
    program = FAILS_UNTIL.format(good=str(good))
    driver = stm(program, DFU.replace("retries: 0", "retries: 2"))
    assert driver.program(written)["writes"] == 3
    assert driver.value == "programmed"


def test_what_will_not_get_better_is_not_tried_again(stm: Stm, stage: Stage, written: Path) -> None:
    said = "print('dfu-util: Error: File ID 1:2 does not match device'); raise SystemExit(1)"
    driver = stm(said, DFU.replace("retries: 0", "retries: 5"))
    with pytest.raises(ToolFailed, match="not for this chip"):
        driver.program(written)
    assert driver.state()["writes"] == 1


def test_where_all_fails_another_programmer_brings_the_board_back(
    stm: Stm, stage: Stage, written: Path, tmp_path: Path
) -> None:
    good = tmp_path / "bin" / "good"
    stage.happens(lambda: "-- isp --" in stage.lines, good.touch)
    program = FAILS_UNTIL.format(good=str(good))
    driver = stm(program)
    driver.fallback = Ref("isp")
    driver.program(written)
    assert stage.commanded == [("isp", "blank", None)]


def test_the_board_has_power_while_it_is_written(stm: Stm, stage: Stage, written: Path) -> None:
    class Relay:
        value = False

    stage.others["power"] = Relay()
    driver = stm("raise SystemExit(9)")
    driver.power, driver.power_wait = Ref("power"), 0.0
    with pytest.raises(ToolFailed):
        driver.program(written)
    assert stage.commanded == [("power", "set", [True]), ("power", "set", [False])]


def test_a_disk_that_does_not_appear_is_told_and_one_that_does_gets_the_file(
    stage: Stage, tmp_path: Path
) -> None:
    disk = tmp_path / "RPI-RP2"
    disk.mkdir()
    path = stage.folder / "x.uf2"
    path.write_bytes(uf2(RP2040, 0x10000000))
    options = f"driver: uf2, folder: {disk}, family: 0xe48bff56, disk_wait: 0.3, retries: 0"
    pico = tool(stage, options)
    stage.simulated = False
    with pytest.raises(ToolFailed, match="does not show its disk"):
        pico.program(path)
    (disk / "INFO_UF2.TXT").write_text("UF2 Bootloader v3.0")
    pico.program(path)
    assert (disk / "image.uf2").read_bytes() == path.read_bytes()
