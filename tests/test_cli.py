"""The commands in this process: what they say, and how they refuse what is wrong."""

from __future__ import annotations

import importlib
import io
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import click
import pytest

import labnode
from labnode.cli import main
from labnode.cli import node as node_commands
from labnode.drivers.framework.driver import EXTRAS
from labnode.settings.passwords import HashedPassword
from labnode.weblab.fake import CentralServer, SessionEnd
from tests.kit.commands import Run, labnode_with

Refused = Callable[..., list[str]]

run_commands = importlib.import_module("labnode.cli.run")  # the package has `run` the command

BOARD = """\
schema: 1
devices:
  heater: {driver: relay, pim: GPIO17}
  fan: {driver: pwm_outptu, pin: GPIO18}
pages: []
"""
GOOD = "schema: 1\ndevices: {led: {driver: led, pin: GPIO17}}\n"


@pytest.fixture(autouse=True)
def _alone(own_modules: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment, the working directory and the modules of this test alone."""
    for name in ("XDG_STATE_HOME", "STATE_DIRECTORY", "DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LABNODE_WEBLAB_USERNAME", "weblab")
    monkeypatch.setenv("LABNODE_WEBLAB_PASSWORD", "a password")
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    monkeypatch.setattr("labnode.audit.log_to", lambda _: None)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return labnode_with(capsys)


@pytest.fixture
def refused(run: Run) -> Refused:
    """Run a command that has to be refused; returns its sentences."""

    def refused(*arguments: str, code: int = 2) -> list[str]:
        said = run(*arguments)
        lines = said.err.splitlines()
        assert (said.code, said.out) == (code, "")
        assert all(line.startswith("labnode: ") for line in lines), said.err
        return [line.removeprefix("labnode: ") for line in lines]

    return refused


def write(text: str, name: str = "board.yaml") -> str:
    path = Path(name)
    path.write_text(text)
    path.chmod(0o600)
    return name


# --- labnode, labnode check ---


def test_the_version_is_told(run: Run) -> None:
    assert run("--version").out == f"labnode, version {labnode.__version__}\n"


def test_the_help_shows_every_command_in_whole_lines(run: Run) -> None:
    text = run("--help").out
    commands = text.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in commands] == list(main.commands)
    assert not any(line.endswith("...") for line in commands)
    assert run("-h").out == text


@pytest.mark.parametrize(
    "command", [*main.commands, "fake new", "fake status", "fake dispose"], ids=str
)
def test_each_command_and_option_says_what_it_is_for(run: Run, command: str) -> None:
    said = run(*command.split(), "--help")
    assert said.code == 0
    assert said.out.startswith(f"Usage: labnode {command} ")
    group = main.commands["fake"] if " " in command else main
    assert isinstance(group, click.Group)
    parameters = group.commands[command.rpartition(" ")[2]].params
    assert all(p.help for p in parameters if isinstance(p, click.Option))


def test_check_counts_the_devices(run: Run) -> None:
    assert run("check", write(GOOD)).out == "board.yaml: OK, 1 device\n"
    board = write(f"{GOOD.strip().removesuffix('}')}, b: {{driver: led, pin: 18}}}}\n")
    assert run("check", board, board).out == "board.yaml: OK, 2 devices\n" * 2


def test_check_tells_which_programs_are_missing_here(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    said = run("check", write("schema: 1\ndevices: {p: {driver: picotool}}\n"))
    assert (said.code, said.out) == (0, "board.yaml: OK, 1 device\n")
    assert said.err == "board.yaml: 'p' needs picotool here: sudo apt-get install picotool\n"


def test_check_looks_for_the_programs_that_the_board_names_itself(run: Run) -> None:
    board = write(
        "schema: 1\ndevices:\n  load: {driver: command, run: [no-load-here, x]}\n"
        "  power: {driver: command_switch, run_on: [sh, a], run_off: [no-power-here]}\n"
    )
    how = "install it, or correct its name or path in the board file"
    assert run("check", board).err == (
        f"board.yaml: 'load' needs no-load-here here: {how}\n"
        f"board.yaml: 'power' needs no-power-here here: {how}\n"
    )


def test_check_tells_which_libraries_are_missing_here_and_how_they_are_added(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(EXTRAS, "visa", ("no_such_library",))
    board = write(
        "schema: 1\ndevices:\n  meter: {driver: instrument, visa: 'GPIB0::5::INSTR'}\n"
        "  supply: {driver: instrument, tcp: 'localhost:5025'}\n"
    )
    begin = "board.yaml: 'meter' needs the extra visa here: "
    assert run("check", board).err == f"{begin}{sys.executable} -m pip install 'labnode[visa]'\n"
    script = tmp_path / "share/labnode/install.sh"  # of a release, which has no pip
    script.parent.mkdir(parents=True)
    script.touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert run("check", board).err == f"{begin}sudo {script} upgrade\n"
    assert json.loads(run("check", "--needs", board).out)["extras"] == ["visa"]


def test_check_tells_where_the_module_misspells_a_device(run: Run) -> None:
    write(
        "from labnode import Lab\nlab = Lab()\n@lab.on_start\ndef start(client, server):\n"
        "    lab.devices.led.on()\n    lab.devices.leed.on()\n    lab.devices['lid'].value\n",
        "lamp.py",
    )
    board = write("schema: 1\ndevices: {led: {driver: led, pin: 17}}\nmodule: lamp.py\n")
    said = run("check", board)
    assert (said.code, said.err) == (
        0,
        "lamp.py:6: there is no device 'leed'; did you mean 'led'?\n"
        "lamp.py:7: there is no device 'lid'; did you mean 'led'?\n",
    )


def test_check_tells_what_may_not_be_meant_so(run: Run) -> None:
    board = write(
        "schema: 1\ndevices:\n  lid: {driver: button, pin: 17, bounce_time: 50}\n"
        "  code: {driver: digital_input_bank, pins: [5, 6], bounce_time: 50ms}\n"
        "sequences: {on_start: {timeout: 5s, steps: [{wait: 5s}, {wait: 4s}]}}\n"
    )
    assert run("check", board).err == (
        "board.yaml: 'lid': bounce_time is in seconds, and shorter changes are not seen: 50 s is "
        "long. For milliseconds write 50ms.\n"
        "board.yaml: on_start takes at least 9 s, but its timeout is 5 s: it can never be "
        "completed.\n"
    )


def test_check_explains_what_sequences_do(run: Run) -> None:
    board = write(
        "schema: 1\ndevices: {lid: {driver: button, pin: 17}}\n"
        "sequences: {on_boot: {timeout: 5s, steps: [{repeat: {steps: [{wait: 1s}], times: 3}}]}}\n"
    )
    assert run("check", board, "--explain").out == (
        "board.yaml: OK, 1 device\n"
        "on_boot, when the node has started, within 5 s (a failure quarantines the board):\n"
        "  Repeat 3 times:\n"
        "    Wait 1 s.\n"
    )


def test_check_prints_what_a_board_needs_of_the_machine(run: Run) -> None:
    write(
        "from dataclasses import dataclass\n"
        "from labnode.drivers import Driver, register\n"
        "from labnode.drivers.framework.driver import Requires\n"
        "@register('joystick')\n@dataclass(kw_only=True)\nclass Joystick(Driver):\n"
        "    programs = {'jstest': 'joystick'}\n"
        "    requires = Requires(('input',), ('firmware-joystick',), extras=('visa',))\n",
        "joystick.py",
    )
    write("devices: {p: {driver: picotool}, url: {driver: mjpeg, url: 'http://127.0.0.1:8081/'}}\n",
          "more.yaml")  # fmt: skip
    board = write(
        "schema: 1\ninclude: more.yaml\ndrivers: [joystick.py]\n"
        "devices: {j: {driver: joystick}, k: {driver: joystick}}\n"
    )
    said = run("check", "--needs", board)
    assert (said.code, said.err) == (0, "")
    assert json.loads(said.out) == {
        "programs": {"jstest": "joystick", "picotool": "picotool"},
        "packages": ["firmware-joystick"],
        "groups": ["input"],
        "extras": ["visa"],
    }
    assert run("check", "--needs", write("devices: {p: {driver: lid}}\n")).code == 2


def test_check_prints_the_files_of_a_board_and_runs_nothing_of_it(run: Run) -> None:
    Path("views").mkdir()
    Path("views/page.html").write_text("<p>")
    write("raise SystemExit(1)\n", "lab.py")
    write("blank: firmware.hex\nother: ../outside\nlist: [nowhere.txt, lab.yaml]\n", "more.yaml")
    for name in ("firmware.hex", "secrets.yaml", "unnamed.yaml"):
        write("x: 1\n", name)
    write("outside\n", "../outside")
    board = write("include: more.yaml\nmodule: lab.py\nkeys: {views: [views]}\n", "lab.yaml")
    said = run("check", "--files", board)
    assert json.loads(said.out) == [
        *("firmware.hex", "lab.py", "lab.yaml", "more.yaml", "secrets.yaml", "views/page.html"),
    ]


def test_check_tells_which_safe_values_last_only_while_labnode_runs(run: Run) -> None:
    said = run(
        "check",
        write(
            "schema: 1\ndevices:\n"
            "  fan: {driver: pwm_output, pin: 18, safe: 0.6}\n"
            "  full: {driver: pwm_output, pin: 17, safe: 1}\n"
            "  mood: {driver: rgb_led, red: 5, green: 6, blue: 13, safe: '#ff8000'}\n"
            "  laser: {driver: hardware_pwm, pin: 12, safe: 0.1}\n"
        ),
    )
    assert (said.code, said.out) == (0, "board.yaml: OK, 4 devices\n")
    while_it_runs = "lasts only while labnode runs: before and after it"
    assert said.err.splitlines() == [
        f"board.yaml: 'fan': safe: 0.6 {while_it_runs} the pin is on",
        f"board.yaml: 'mood': safe: #ff8000 {while_it_runs} the pins are on and on and off",
        "board.yaml: 'laser': safe: 0.1 lasts from labnode's start on: until then the pin is off",
    ]


def test_check_refuses_credentials_that_no_central_server_can_send(
    run: Run, tmp_path: Path
) -> None:
    settings = tmp_path / "node.yaml"
    settings.touch(mode=0o600)
    for username, password, code in (("u", "signal", 0), ("u", "señal", 2), ("école", "x", 2)):
        client = f"{{name: lde, username: {username}, password: {password}}}"
        settings.write_text(f"clients: [{client}]\n", "utf-8")
        said = run("check", write(GOOD), "--settings", settings)
        assert said.code == code
        assert said.out == "board.yaml: OK, 1 device\n"
        assert ("end WebLab-Deusto's laboratory process" in said.err) == (code == 2)
        assert "señal" not in said.err
    settings.write_text("port: many\n")
    assert "node.yaml:1: " in run("check", write(GOOD), "--settings", settings).err


def test_check_tells_the_mistakes_of_all_boards_and_which_are_good(run: Run) -> None:
    said = run("check", write(GOOD), write(BOARD, "bad.yaml"), "gone.yaml")
    assert said.code == 2
    assert said.out == "board.yaml: OK, 1 device\n"
    assert sorted(said.err.splitlines()) == [
        "labnode: bad.yaml:3: unknown key 'pim' in device 'heater'; did you mean 'pin'?",
        "labnode: bad.yaml:4: there is no driver 'pwm_outptu' for device 'fan'; did you mean "
        "'pwm_output'?",
        "labnode: bad.yaml:5: unknown key 'pages'; did you mean 'page'?",
        "labnode: gone.yaml: there is no such file",
    ]


NO_NUMPI = (
    f"the Python library 'numpi' is not installed where labnode is: {sys.executable} -m pip "
    "install numpi"
)


@pytest.mark.parametrize(
    ("python", "sentence"),
    [
        ("from labnode import Lab\nlab = Lab(\n", ":2: SyntaxError: '(' was never closed"),
        ("x = 1\n", ": expected one Lab in this module (lab = Lab()), found none"),
        ("import numpi\n", f":1: {NO_NUMPI}"),
    ],
)
def test_a_module_that_cannot_be_used_is_told(refused: Refused, python: str, sentence: str) -> None:
    write(python, "board.py")
    board = write(f"{GOOD}module: board.py\n")
    for command in (["check"], ["run", "--simulate"], ["demo"]):
        assert refused(*command, board) == [f"board.py{sentence}"]


# --- labnode run ---


@pytest.mark.parametrize("command", [["run", "--simulate"], ["demo"], ["check"]])
def test_a_board_that_is_not_there_is_told(refused: Refused, command: list[str]) -> None:
    assert refused(*command, "no/such.yaml") == ["no/such.yaml: there is no such file"]


def test_a_run_without_a_board_is_told(refused: Refused) -> None:
    (sentence,) = refused("run")
    assert sentence.startswith("There is no board: name a board file (labnode run BOARD.yaml)")


@pytest.mark.parametrize(
    "command", [["run", "board.yaml"], ["fake", "new"], ["fake", "status", "x"]]
)
def test_missing_credentials_are_told_with_both_ways_to_give_them(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.delenv("LABNODE_WEBLAB_USERNAME")
    monkeypatch.delenv("LABNODE_WEBLAB_PASSWORD")
    (sentence,) = refused(*command)
    assert "credentials of the central server are missing" in sentence
    assert "weblab: {username: ..., password: ...}" in sentence
    assert "LABNODE_WEBLAB_USERNAME and LABNODE_WEBLAB_PASSWORD" in sentence


def test_half_of_the_credentials_is_told(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABNODE_WEBLAB_PASSWORD")
    (sentence,) = refused("run", write(GOOD))
    assert "weblab.password is missing" in sentence


def test_wrong_settings_are_told_at_once(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = write("prot: 80\n", "settings.yaml")
    monkeypatch.setenv("LABNODE_HSOT", "x")
    sentences = refused("run", write(GOOD), "--settings", settings, "--port", "70000")
    assert len(sentences) == 3
    assert "settings.yaml:1: unknown key 'prot'; did you mean 'port'?" in sentences
    assert any(s.startswith("LABNODE_HSOT: ") for s in sentences)
    assert any(s.startswith("option --port: ") for s in sentences)


@pytest.mark.parametrize("command", ["run", "status", "clear", "fake new", "fake dispose x"])
def test_a_settings_file_that_is_not_there_is_told(refused: Refused, command: str) -> None:
    sentences = refused(*command.split(), "--settings", "gone.yaml")
    assert sentences == ["gone.yaml: there is no such file"]


@pytest.mark.parametrize(
    "arguments", [["rnu"], ["run", "--prot", "1"], ["run", "--port", "x"], ["check"], ["fake", "x"]]
)
def test_mistakes_on_the_command_line_are_told_with_the_usage(
    run: Run, arguments: list[str]
) -> None:
    said = run(*arguments)
    assert said.code == 2
    assert said.err.startswith("Usage: labnode")
    assert "Error: " in said.err


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "1e9"])
def test_a_slot_of_the_demo_has_a_length_that_makes_sense(run: Run, seconds: str) -> None:
    said = run("demo", "--seconds", seconds)
    assert said.code == 2
    assert "Invalid value for '--seconds'" in said.err


# --- labnode fake ---


class Lab(CentralServer):
    """A central server that remembers what it was asked and never calls anybody."""

    made: ClassVar[list[Lab]] = []

    def __init__(self, url: str, username: str, password: str) -> None:
        self.url = url
        self.credentials = username, password
        self.asked: list[Any] = []
        Lab.made.append(self)

    def new(self, **options: Any) -> tuple[str, str]:
        self.asked.append(options)
        return "the-id", f"{self.url}/callback/token"

    def status(self, session_id: str) -> float:
        self.asked.append(session_id)
        return {"over": -1, "quiet": 0}.get(session_id, 4.25)

    def delete(self, session_id: str, *_: Any, **__: Any) -> SessionEnd:
        self.asked.append(session_id)
        return {
            "unknown": SessionEnd("Not found", 1, True),
            "slow": SessionEnd("Deleted", 3, True),
            "lost": SessionEnd("http://lab cannot be reached.", 2, False),
        }.get(session_id, SessionEnd("Deleted", 1, True))


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> list[Lab]:
    monkeypatch.setattr(Lab, "made", [])
    monkeypatch.setattr("labnode.weblab.fake.CentralServer", Lab)
    return Lab.made


def test_every_option_of_new_reaches_the_node(run: Run, lab: list[Lab]) -> None:
    said = run(
        "fake", "new", "--name", "Ada L.", "--username", "ada", "--username-unique", "ada@x",
        "--assigned-time", "60", "--back", "http://x", "--locale", "es", "--experiment-name", "e",
        "--category-name", "c", "--dont-open-browser", "--client-initial-data", '{"level": 3}',
    )  # fmt: skip
    assert (said.code, said.err) == (0, "")
    assert said.out == "http://127.0.0.1:8080/callback/token\n"
    (server,) = lab
    assert server.credentials == ("weblab", "a password")
    assert server.asked == [
        {
            "name": "Ada L.",
            "username": "ada",
            "username_unique": "ada@x",
            "assigned_time": 60,
            "back": "http://x",
            "locale": "es",
            "experiment_name": "e",
            "category_name": "c",
            "client_initial_data": {"level": 3},
        }
    ]


def test_the_client_data_can_come_from_a_file(run: Run, lab: list[Lab]) -> None:
    run("fake", "new", "--client-initial-data-file", write('{"a": [1]}', "data.json"))
    assert lab[0].asked[0]["client_initial_data"] == {"a": [1]}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--client-initial-data", "{"], "--client-initial-data is not JSON: "),
        (["--client-initial-data", "3"], "--client-initial-data has to be a JSON object such as"),
        (["--client-initial-data-file", "gone"], "gone cannot be read: No such file or directory"),
        (["--client-initial-data-file", "list"], "list has to be a JSON object such as"),
        (["--client-initial-data-file", "raw"], "raw cannot be read: it is not UTF-8 text"),
        (["--client-initial-data-file", "list", "--client-initial-data", "{}"], "Give --client-in"),
        (["--url", "127.0.0.1"], "'127.0.0.1' is not the address of a node; expected http://HOST"),
    ],
)
def test_wrong_options_of_new_are_told(refused: Refused, options: list[str], sentence: str) -> None:
    write("[]", "list")
    Path("raw").write_bytes(b"\xff")
    (told,) = refused("fake", "new", *options)
    assert told.startswith(sentence)


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        ("", "http://127.0.0.1:8080"),
        ("port: 9000", "http://127.0.0.1:9000"),
        ("{host: 0.0.0.0, port: 80, base_url: /lab1}", "http://localhost:80/lab1"),
        ("{host: 10.0.0.5, scheme: https}", "http://10.0.0.5:8080"),
        ("{host: '::1'}", "http://[::1]:8080"),
        ("base_url: https://labs.example.org/lab1", "https://labs.example.org/lab1"),
        ("{base_url: /lab1, weblab_base: /protocol}", "http://127.0.0.1:8080/protocol"),
    ],
)
def test_the_node_is_where_its_settings_say(
    run: Run, lab: list[Lab], settings: str, address: str
) -> None:
    run("fake", "status", "any", "--settings", write(f"{settings}\n", "settings.yaml"))
    assert lab[0].url == address


def test_a_url_wins_over_the_settings(
    run: Run, lab: list[Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABNODE_PORT", "9000")
    run("fake", "status", "any")
    run("fake", "status", "any", "--url", "http://lab.example.org/x/")
    assert [server.url for server in lab] == ["http://127.0.0.1:9000", "http://lab.example.org/x"]


def test_the_credentials_can_come_from_the_settings(
    run: Run, lab: list[Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LABNODE_WEBLAB_USERNAME")
    monkeypatch.delenv("LABNODE_WEBLAB_PASSWORD")
    clients = "clients: [{name: one, username: u, password: [new, old]}]\n"
    run("fake", "status", "any", "--settings", write(clients, "settings.yaml"))
    assert lab[0].credentials == ("u", "new")


def test_the_session_is_remembered_with_its_node_for_this_user_alone(
    run: Run, lab: list[Lab], tmp_path: Path
) -> None:
    run("fake", "new", "--url", "http://lab.example.org", "--dont-open-browser")
    memory = tmp_path / ".local/state/labnode/fake-session.json"
    assert memory.stat().st_mode & 0o777 == 0o600
    assert json.loads(memory.read_text()) == {
        "url": "http://lab.example.org",
        "session_id": "the-id",
    }
    run("fake", "status")
    run("fake", "dispose")
    assert [server.url for server in lab] == ["http://lab.example.org"] * 3
    assert [server.asked[-1] for server in lab[1:]] == ["the-id"] * 2


def test_another_session_is_not_looked_for_where_the_last_one_was(run: Run, lab: list[Lab]) -> None:
    run("fake", "new", "--url", "http://lab.example.org", "--dont-open-browser")
    run("fake", "dispose", "another")
    assert lab[1].url == "http://127.0.0.1:8080"
    run("fake", "status")
    assert lab[2].asked == ["the-id"]


@pytest.mark.parametrize("memory", ["", "[]", "{", '{"url": 3}'])
def test_a_spoiled_memory_is_no_session(refused: Refused, tmp_path: Path, memory: str) -> None:
    (tmp_path / ".local/state/labnode").mkdir(parents=True)
    (tmp_path / ".local/state/labnode/fake-session.json").write_text(memory)
    for command in ("status", "dispose"):
        (sentence,) = refused("fake", command)
        assert sentence.startswith("No session is remembered: start one with labnode fake new")


def test_a_session_that_cannot_be_remembered_is_told_with_its_id(
    run: Run, lab: list[Lab], tmp_path: Path
) -> None:
    (tmp_path / ".local").write_text("in the way")
    said = run("fake", "new", "--dont-open-browser")
    assert (said.code, said.out) == (0, "http://127.0.0.1:8080/callback/token\n")
    assert said.err.startswith("labnode: the session the-id is not remembered: ")


@pytest.mark.parametrize(
    ("session_id", "words"),
    [
        ("over", "The session is over (should_finish: -1)."),
        ("quiet", "The session goes on, and the node does not want to be asked again (should_fin"),
        ("any", "The session is not over; the node wants to be asked again in 4.25 s (should_fini"),
    ],
)
def test_status_has_the_number_and_words(
    run: Run, lab: list[Lab], session_id: str, words: str
) -> None:
    assert run("fake", "status", session_id).out.startswith(words)


@pytest.mark.parametrize(
    ("session_id", "words"),
    [
        ("any", "The session is finished."),
        ("slow", "The session is finished. The node was asked 3 times."),
        ("unknown", "The node does not know this session (any more)."),
    ],
)
def test_dispose_says_how_it_ended(run: Run, lab: list[Lab], session_id: str, words: str) -> None:
    assert run("fake", "dispose", session_id).out == f"{words}\n"


def test_a_session_that_did_not_end_is_a_failure_and_still_remembered(
    run: Run, lab: list[Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lab, "new", lambda *_, **__: ("lost", "url"))
    run("fake", "new", "--dont-open-browser")
    said = run("fake", "dispose")
    assert (said.code, said.out) == (1, "")
    assert said.err == "labnode: The session was not ended: http://lab cannot be reached.\n"
    run("fake", "status")
    assert lab[-1].asked == ["lost"]


# --- the browser ---


def test_without_a_screen_no_browser_is_started(
    run: Run, lab: list[Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webbrowser.open", lambda url: pytest.fail("a browser for terminals"))
    said = run("fake", "new")
    assert said.err == "There is no browser to open it with on this machine.\n"
    assert said.out == "http://127.0.0.1:8080/callback/token\n"


@pytest.mark.parametrize("name", ["DISPLAY", "WAYLAND_DISPLAY", "BROWSER"])
def test_with_a_screen_the_browser_is_opened_unless_told_not_to(
    run: Run, lab: list[Lab], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    opened: list[str] = []

    def open_in_it(url: str) -> bool:
        opened.append(url)
        return True

    monkeypatch.setattr("webbrowser.open", open_in_it)
    monkeypatch.setenv(name, "something")
    assert run("fake", "new").err == ""
    run("fake", "new", "--dont-open-browser")
    assert opened == ["http://127.0.0.1:8080/callback/token"]


# --- labnode status ---

STATUS = {
    "board": {"name": "n", "category": "c", "file": "/b.yaml", "simulated": False},
    "state": "busy",
    "sessions": [{"id": "ab", "state": "active", "time_left": 75.2}],
    "users": 1,
    "quarantine": None,
    "faults": [],
    "draining": False,
    "alarm": None,
    "clock": None,
    "uptime": 0.0,
    "url": "http://x",
    "tunnel": None,
    "pid": 7,
    "version": "1",
}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({}, "board       n@c, /b.yaml"),
        ({}, "sessions    1 of 1 (active, 1 min left)"),
        ({"sessions": [], "users": 4}, "sessions    0 of 4"),
        ({"quarantine": "it leaks"}, "quarantine  it leaks"),
        ({"faults": ["hot: Too hot"]}, "faults      hot: Too hot"),
        ({"draining": True}, "drain       takes no new students"),
        ({"alarm": "The database was unreadable."}, "alarm       The database was unreadable."),
        ({"clock": "It is not set."}, "clock       It is not set."),
        ({"uptime": 59.9}, "uptime      59 s"),
        ({"uptime": 3600 * 5 + 60}, "uptime      5 h 1 min"),
        ({"uptime": 86400 * 12}, "uptime      12 d 0 h 0 min"),
        ({"tunnel": "The tunnel to x stands."}, "tunnel      The tunnel to x stands."),
        ({}, "version     1, process 7"),
    ],
)
def test_status_is_told_line_by_line(change: dict[str, Any], line: str) -> None:
    assert line in node_commands._text({**STATUS, **change}).splitlines()


@pytest.mark.parametrize(
    "credentials",
    ["", "weblab: {username: u}", "clients: [{name: weblab, username: u, password: p}]"],
)
def test_the_commands_to_a_node_need_no_credentials(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, credentials: str
) -> None:
    monkeypatch.delenv("LABNODE_WEBLAB_USERNAME")
    monkeypatch.delenv("LABNODE_WEBLAB_PASSWORD")
    settings = write(f"state_dir: here\n{credentials}\n", "settings.yaml")
    commands = "status sessions tasks events actions clear drain undrain"
    for command in commands.split():
        (sentence,) = refused(command, "--settings", settings, code=1)
        assert sentence == "No labnode is running with the state directory here."


# --- labnode sessions, tasks, events ---

MORNING = 1_700_000_000.0
SESSION: dict[str, Any] = {
    "session": "ab12cd34", "state": "active", "reason": None, "client": "weblab", "length": 300.0,
    "resumed": 0, "created_at": MORNING, "ended_at": None, "experiment": "lab@cat",
    "time_left": 75.0,
}  # fmt: skip
TASK: dict[str, Any] = {
    "session": "ab12cd34", "id": "t1", "name": "heat", "status": "running",
    "submitted_at": MORNING, "started_at": MORNING + 1, "finished_at": None, "error": None,
    "percent": 41.7, "stopping": False, "due": None,
}  # fmt: skip
EVENT: dict[str, Any] = {
    "session": None, "at": MORNING, "kind": "quarantine", "detail": {"why": "it leaks"},
    "task": None,
}  # fmt: skip

Asked = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Asked]:
    """A node that answers with these rows; returns what it is asked."""

    def node(*rows: dict[str, Any], periodic: Sequence[dict[str, Any]] = ()) -> Asked:
        asked: Asked = []

        def ask(_directory: Path, command: str, **options: Any) -> dict[str, Any]:
            asked.append((command, options))
            return {command: list(rows), "periodic": periodic}

        monkeypatch.setattr("labnode.control.ask", ask)
        return asked

    return node


@pytest.fixture
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as here:
        here.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("_in_utc")
@pytest.mark.parametrize(
    ("command", "row", "lines"),
    [
        ("sessions", SESSION, "began session state slot client experiment | 2023-11-14 22:13:20 "
         "ab12cd34 active 1 min left 5 min weblab lab@cat"),
        ("sessions", {**SESSION, "state": "disposed", "reason": "exited", "time_left": None},
         "began session state slot client experiment | 2023-11-14 22:13:20 ab12cd34 disposed "
         "exited 5 min weblab lab@cat"),
        ("tasks", TASK, "submitted session task status took id | 2023-11-14 22:13:20 ab12cd34 heat "
         "running - t1 42 %"),
        ("tasks", {**TASK, "stopping": True}, "submitted session task status took id | 2023-11-14 "
         "22:13:20 ab12cd34 heat running, stopping - t1 42 %"),
        ("tasks", {**TASK, "status": "submitted", "session": None, "percent": None,
                   "due": MORNING + 60},
         "submitted session task status took id | 2023-11-14 22:13:20 - heat submitted - t1 "
         "due 2023-11-14 22:14:20"),
        ("tasks", {**TASK, "status": "failed", "finished_at": MORNING + 3.5, "percent": None,
                   "error": {"code": "exception", "class": "ValueError", "message": "too\nhot"}},
         "submitted session task status took id | 2023-11-14 22:13:20 ab12cd34 heat failed 2.5 s - "
         "ValueError: too hot"),
        ("events", EVENT, "at session event | 2023-11-14 22:13:20 - quarantine why: it leaks"),
        ("actions", {"session": "ab12cd34", "at": MORNING, "action": "heat", "data": {"to": 40}},
         "at session action | 2023-11-14 22:13:20 ab12cd34 heat to: 40"),
        ("events", {**EVENT, "detail": None, "student": "Ada <ada>"},
         "at session event student | 2023-11-14 22:13:20 - quarantine Ada <ada>"),
    ],
    ids=["active", "over", "running", "stopping", "due", "failed", "event", "action", "named"],
)  # fmt: skip
def test_the_history_is_told_row_by_row(
    run: Run, node: Callable[..., Asked], command: str, row: dict[str, Any], lines: str
) -> None:
    node(row)
    told = run(command).out.splitlines()
    assert [" ".join(line.split()) for line in told] == lines.split(" | ")


@pytest.mark.parametrize("command", ["sessions", "tasks", "events", "actions"])
def test_the_history_asks_for_no_names_unless_it_shall(
    run: Run, node: Callable[..., Asked], command: str
) -> None:
    asked = node()
    assert json.loads(run(command, "--json").out) == []
    run(command, "--names", "--last", "3")
    assert asked == [
        (command, {"last": 20, "names": False}),
        (command, {"last": 3, "names": True}),
    ]


@pytest.mark.parametrize("command", ["sessions", "tasks", "events", "actions"])
def test_an_empty_history_is_told_in_a_sentence(
    run: Run, node: Callable[..., Asked], command: str
) -> None:
    node()
    assert run(command).out.strip().endswith(" yet.")


def test_what_a_terminal_would_obey_is_not_printed(run: Run, node: Callable[..., Asked]) -> None:
    node({**TASK, "name": "\x1b[2Jheat\x07"})
    assert "\x1b" not in run("tasks").out


PERIODIC = {"name": "calibrate", "schedule": "crontab 0 3 * * *", "due": MORNING}


@pytest.mark.usefixtures("_in_utc")
def test_periodic_tasks_are_listed_with_the_time_when_they_come_next(
    run: Run, node: Callable[..., Asked]
) -> None:
    unknown = {"name": "water", "schedule": "at 20:00", "due": None}
    node(TASK, periodic=[PERIODIC, unknown])
    told = [" ".join(line.split()) for line in run("tasks").out.splitlines()]
    assert told[3:] == [
        "next task schedule",
        "2023-11-14 22:13:20 calibrate crontab 0 3 * * *",
        "- water at 20:00",
    ]
    rows = json.loads(run("tasks", "--json").out)
    assert rows == [TASK, {**PERIODIC, "status": "periodic"}, {**unknown, "status": "periodic"}]


def test_tasks_are_run_and_cancelled(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: Asked = []
    answers: dict[str, dict[str, Any]] = {
        "run_task": {"id": "a-task", "status": "submitted", "error": None},
        "cancel_task": {"id": "a-task", "name": "heat", "waited": True},
    }

    def ask(_directory: Path, command: str, **options: Any) -> dict[str, Any]:
        asked.append((command, options))
        return answers[command]

    monkeypatch.setattr("labnode.control.ask", ask)
    assert run("tasks", "run", "heat").out == "The task heat is queued: a-task\n"
    assert run("tasks", "cancel", "a-t").out == "The task heat never begins.\n"
    answers["cancel_task"]["waited"] = False
    assert run("tasks", "cancel", "a-t").out == "The task heat is asked to stop.\n"
    answers["run_task"]["error"] = {"message": "Task 'heat' is already running."}
    failed = run("tasks", "run", "heat")
    assert failed.code == 1
    assert "already running" in failed.err
    assert asked[:2] == [("run_task", {"name": "heat"}), ("cancel_task", {"task": "a-t"})]


# --- what is not needed here ---


@pytest.mark.parametrize(
    "command", ["loop", "loop --threads 3 --reload", "run-tasks", "clean-expired"]
)
def test_what_is_not_needed_says_why_in_one_sentence(run: Run, command: str) -> None:
    said = run(*command.split())
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"labnode {command.split(maxsplit=1)[0]} is not needed: ")
    assert said.out.endswith(".\n")
    assert said.out.count("\n") == 1


# --- labnode weblab-config ---


@pytest.mark.parametrize(
    ("server", "lines"),
    [
        (
            "weblab-deusto",
            ['http_experiment_url: "http://pi3:8080"', "'manages_polling': True,"],
        ),
        ("labdiscoveryengine", ['url: "http://pi3:8080"', "api: labdiscoverylib"]),
    ],
)
def test_weblab_config_prints_what_the_server_needs_without_the_password(
    run: Run, monkeypatch: pytest.MonkeyPatch, server: str, lines: list[str]
) -> None:
    monkeypatch.setenv("LABNODE_WEBLAB_PASSWORD", "the-secret-one")
    command = ("weblab-config", write(GOOD), "--server", server, "--host", "pi3:8080")
    text = run(*command).out
    assert [line for line in lines if line not in text] == []
    assert "the-secret-one" not in text
    assert "the-secret-one" in run(*command, "--show-password").out


# --- password ---


def test_a_password_is_hashed_for_the_settings(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("contraseña larga\n"))
    said = run("password")
    assert (said.code, said.err) == (0, "")
    assert HashedPassword.parse(said.out.strip()).matches("contraseña larga")
    assert not HashedPassword.parse(said.out.strip()).matches("contraseña larg")


def test_a_password_is_asked_for_twice_and_not_shown(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    typed = iter(["a long password", "a lnog password", "a long password", "a long password"])

    def prompt(text: str, **options: Any) -> str:
        asked.append({"text": text, **options})
        return next(typed)

    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(click, "prompt", prompt)
    said = run("password")
    assert HashedPassword.parse(said.out.strip()).matches("a long password")
    assert said.err == "The two passwords are not the same. Once more.\n"
    twice = [{"text": each, "hide_input": True, "err": True} for each in ("Password", "Again")]
    assert asked == [*twice, *twice]


def test_a_short_password_is_hashed_with_a_warning(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("eleven char\n"))
    said = run("password")
    assert said.err == "labnode: A password with less than 12 characters can be guessed.\n"
    assert HashedPassword.parse(said.out.strip()).matches("eleven char")


def test_nothing_is_no_password(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    (sentence,) = refused("password")
    assert "expected a password" in sentence


def test_a_key_of_codes_comes_with_what_an_app_reads(run: Run) -> None:
    first, second = run("password", "--totp").out.splitlines()
    key = first.removeprefix("totp: ")
    assert len(key) == 32
    assert second.startswith("otpauth://totp/labnode:")
    assert f"secret={key}" in second
    assert run("password", "--totp").out.splitlines()[0] != first


def test_a_hashed_password_is_not_printed_and_that_is_said(run: Run, tmp_path: Path) -> None:
    hashed = str(HashedPassword.of("a long password"))
    board, settings = tmp_path / "b.yaml", tmp_path / "node.yaml"
    board.write_text(GOOD)
    settings.write_text(
        f"board: b.yaml\nclients: [{{name: lde, username: u, password: {hashed}}}]\n"
    )
    settings.chmod(0o600)
    said = run("weblab-config", "--settings", settings, "--client", "lde", "--show-password")
    assert said.code == 0
    assert "PASSWORD-OF-lde" in said.out
    assert hashed not in said.out
    assert said.err == (
        "labnode: The password of lde is hashed in the settings and cannot be printed: enter it "
        "instead of PASSWORD-OF-lde.\n"
    )


def test_the_pretended_server_needs_the_password_in_clear(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABNODE_WEBLAB_PASSWORD", str(HashedPassword.of("a long password")))
    (sentence,) = refused("fake", "status", "x")
    assert "The password of weblab is hashed in the settings" in sentence
