"""What the commands print in each language: no English sentence is left in another language."""

from __future__ import annotations

import importlib
import io
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import pytest

from labnode.cli import main
from labnode.clock import Clock
from labnode.control import NotRunning
from labnode.errors import LabnodeError
from labnode.locale import BUILT_IN, Message, Retold, help_texts
from labnode.prove import boot
from labnode.prove.faults import _judged
from labnode.prove.node import Keeper
from labnode.prove.report import Measurement, spread
from labnode.sessions import Reason
from labnode.settings.passwords import HashedPassword
from labnode.store import Store
from labnode.weblab.caller import Caller
from tests.kit.commands import Said, labnode_with
from tests.kit.english import sentences_left

OTHERS = [code for code in BUILT_IN.languages if code != "en"]
MORNING = 1_700_000_000
BOARD = """\
schema: 1
title: T
devices:
  heater: {driver: relay, pin: GPIO17}
  plug: {driver: command_switch, run_on: [no-such-program], run_off: [no-such-program]}
"""
PLAIN = "schema: 1\ndevices: {}\n"
WRONG = f"{PLAIN}sesion: {{timeout: 1m}}\n"
STEPS = f"""{PLAIN}sequences:
  on_start: {{timeout: 5s, steps: [{{safe: all}}, {{repeat: {{steps: [{{wait: 1s}}], times: 3}}}}]}}
  selftest: {{timeout: 5s, at: "03:00", days: mon-fri, steps: [{{wait: 1s}}]}}
"""
SEPARATORS = f"{PLAIN}lab: {{name: 'a|b', category: c}}\n"

Answers = dict[str, dict[str, Any]]

STATUS = {
    "board": {"name": "n", "category": "c", "file": "/b.yaml", "simulated": True},
    "state": "draining", "users": 2, "quarantine": None, "faults": [], "draining": True,
    "sessions": [
        {"id": "a", "state": "active", "time_left": 75.2},
        {"id": "b", "state": "starting", "time_left": 75.2},
    ],
    "alarm": None, "clock": None, "uptime": 0.0, "url": "http://x", "pid": 7, "version": "1",
    "state_dir": "/none",
}  # fmt: skip
SESSION = {
    "session": "ab12", "created_at": MORNING, "state": "active", "reason": None, "time_left": 75.2,
    "length": 300.0, "client": "weblab", "experiment": "lab@cat", "student": "Ada",
}  # fmt: skip
SESSIONS = [
    SESSION,
    *({**SESSION, "state": "disposed", "time_left": None, "reason": each} for each in Reason),
]
TASK = {
    "id": "t1", "name": "heat", "session": "ab12", "status": "running", "submitted_at": MORNING,
    "started_at": MORNING + 1, "finished_at": None, "error": None, "percent": 41.7,
    "stopping": True, "due": MORNING,
}  # fmt: skip
ROW = {"session": "ab12", "at": MORNING, "kind": "quarantine", "action": "heat"}
PERIODIC = [{"name": "calibrate", "schedule": "crontab 0 3 * * *", "due": MORNING}]
DEVICES = {"lamp": {"value": 1, "stale": True}, "door": {"value": 0, "stand_in": True}}
PINS = {"GPIO17": {"function": "output", "level": 1}}
BUSY = Message("cli.student-there")
WIRE = Message("cli.row-safe", signal="SIGKILL")
DARK = [{"at": 4.0, "high": False, "output": False}]
LIT = [{"at": 4.0, "high": True, "output": True}]
PROVED = [
    Measurement(Message("cli.row-edge"), "", spread([0.001, 0.002])),
    *boot.judged("power", DARK),
    *boot.judged("panic", LIT),
    *(_judged(WIRE, 2.0, took, went_on_again=True) for took in ([1.0], [1.0, None], [None])),
]
DONE = {"state": "finished", "sessions": 0, "error": None}
WAITED = {**DONE, "error": str(BUSY), "words": BUSY.words}


def measured(keeper: Keeper, *_: object, **__: object) -> list[Measurement]:
    """Stands in for `measure`, which starts a node."""
    keeper.close()
    return PROVED


@dataclass(frozen=True)
class Case:
    """A command with what the node answers; `stdin` is what is typed."""

    command: str
    answers: Answers = field(default_factory=dict)
    stdin: str = ""


def answering(command: str, **answers: dict[str, Any]) -> Case:
    return Case(command, answers)


CASES = [
    answering("status", status=STATUS),
    Case("status"),
    answering("sessions", sessions={"sessions": SESSIONS}),
    answering("sessions", sessions={"sessions": []}),
    answering("tasks", tasks={"tasks": [TASK, {**TASK, "status": "done"}], "periodic": PERIODIC}),
    answering("tasks", tasks={"tasks": [], "periodic": []}),
    answering("tasks run heat", run_task={"id": "t1", "error": None}),
    answering("tasks cancel t1", cancel_task={"name": "heat", "waited": True}),
    answering("tasks cancel t2", cancel_task={"name": "heat", "waited": False}),
    answering("events", events={"events": [{**ROW, "detail": None}]}),
    answering("events", events={"events": []}),
    answering("actions", actions={"actions": [{**ROW, "data": None}]}),
    answering("actions", actions={"actions": []}),
    answering("estop", estop={"unsafe": [], "sessions": 2}),
    answering("estop", estop={"unsafe": ["x"], "sessions": 1}),
    answering("clear", clear={"was": "x", "faults": ["y"], "left": []}),
    answering("clear", clear={"was": None, "faults": [], "left": ["y"]}),
    answering("drain", drain={"sessions": 1}),
    answering("undrain", undrain={"quarantine": None}),
    answering("apply", apply={}, applied=DONE),
    answering("apply", apply={}, applied=WAITED),
    answering("apply --now", apply={"refused": BUSY}),
    answering("simulate get", simulate={"devices": DEVICES, "pins": PINS}),
    answering("simulate set lamp 1", simulate={"refused": Message("cli.not-simulated")}),
    Case("check board.yaml"),
    Case("check wrong.yaml"),
    Case("check steps.yaml --explain"),
    Case("doctor board.yaml --simulate"),
    Case("doctor wrong.yaml --simulate"),
    Case("doctor"),
    Case("backup --state-dir state"),
    Case("backup --state-dir nowhere"),
    Case("restore nothing.tar --state-dir state"),
    Case("restore broken.tar --state-dir state"),
    Case("new lab", stdin="\n9x\n2\nlamp\nBOARD11\n\n\n1\nlamp\nGPIO17\n\n\n{no}\n"),
    Case("new board"),
    Case("new lab --device lamp"),
    Case("demo plain.yaml --no-browser --port 0"),
    Case("picture plain.yaml"),
    Case("run"),
    Case("safe plain.yaml"),
    Case("safe"),
    Case("prove plain.yaml --out GPIO22 --in GPIO23", stdin="{no}\n"),
    Case("prove plain.yaml --out GPIO22 --in GPIO23 --yes"),
    Case("prove plain.yaml --out GPIO22 --in GPIO23 --yes --report there/report.md"),
    Case("prove plain.yaml --out GPIO22 --in GPIO23 --boot power"),
    Case("prove plain.yaml --out GPIO22 --in GPIO22"),
    Case("prove plain.yaml --out GPIO22 --in GPIO2"),
    Case("prove plain.yaml --out GPIO99 --in GPIO2"),
    Case("prove board.yaml --out GPIO22 --in GPIO17"),
    Case("pinout board.yaml"),
    Case("pinout board.yaml --svg header.svg"),
    answering("fake new --dont-open-browser", start={"session_id": "a", "url": "http://x"}),
    answering("fake new", start={"session_id": "a", "url": "http://x"}),
    Case("fake new --client-initial-data [] --client-initial-data-file x"),
    Case("fake new --client-initial-data []"),
    Case("fake new --client-initial-data x"),
    Case("fake new --client-initial-data-file latin-1.txt"),
    Case("fake new --url here"),
    answering("fake status a", status={"should_finish": -1}),
    answering("fake status a", status={"should_finish": 0}),
    answering("fake status a", status={"should_finish": 5}),
    Case("fake status a"),
    Case("fake status"),
    answering("fake dispose a", delete={"message": "Not found"}),
    answering("fake dispose a", delete={"message": "Deleted"}),
    answering("fake dispose a", delete={"finished": False, "message": "x", "ask_again": 0}),
    Case("fake dispose a"),
    Case("weblab-config"),
    Case("weblab-config plain.yaml --client none"),
    Case("weblab-config separators.yaml"),
    Case("schema --driver relais"),
    Case("schema --driver none"),
    Case("schema --install"),
    Case("loop"),
    Case("run-tasks"),
    Case("clean-expired"),
    Case("password", stdin="short\n"),
    Case("password"),
]
CASES += [Case(f"{name} --help") for name in dict.fromkeys(c.command.split()[0] for c in CASES)]
CASES += [Case("tasks run --help"), Case("tasks cancel --help"), Case("simulate get --help")]
CASES += [Case("simulate set --help"), Case("--help")]
# What they print is for a file or a program: in English everywhere.
FOR_FILES = [Case("suggest board.yaml"), Case("bootconfig board.yaml"), Case("schema --driver led")]
FOR_FILES += [Case("weblab-config board.yaml --server labdiscoveryengine")]
CASES += [Case(f"{case.command.split()[0]} --help") for case in FOR_FILES[:2]]
CASES += [Case(f"fake {each} --help") for each in ("new", "status", "dispose")]

# What is English by intent, and shown as it is: docs/languages.md.


@pytest.fixture
def give(
    monkeypatch: pytest.MonkeyPatch,
    own_modules: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> Callable[[Case, str], Said]:
    """What gives a command in a language, each time in a new directory."""
    for name in ("XDG_STATE_HOME", "STATE_DIRECTORY", "LANGUAGE", "LC_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.argv", ["labnode"])
    monkeypatch.setenv("LABNODE_WEBLAB_USERNAME", "weblab")
    monkeypatch.setenv("LABNODE_WEBLAB_PASSWORD", "short")
    monkeypatch.setenv("LABNODE_PORT", "0")
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    monkeypatch.setattr(logging, "disable", lambda _level: None)
    monkeypatch.setattr("labnode.prove.prove.measure", measured)
    monkeypatch.setattr("labnode.prove.unit.Unit.is_installed", lambda: False)
    stopped = Clock().event()
    stopped.set()
    commands = importlib.import_module("labnode.cli.run")
    monkeypatch.setattr(commands, "stop_on", lambda _signals, **_: stopped)
    run = labnode_with(capsys)
    call_node = Caller.ask

    def give(case: Case, language: str) -> Said:
        home = tmp_path / language
        home.mkdir()
        (home / "state").mkdir(mode=0o700)
        if case.command.startswith("backup"):
            Store(home / "state" / "labnode.db", Clock()).close()
        (home / "board.yaml").write_text(BOARD)
        (home / "plain.yaml").write_text(PLAIN)
        (home / "wrong.yaml").write_text(WRONG)
        (home / "steps.yaml").write_text(STEPS)
        (home / "separators.yaml").write_text(SEPARATORS)
        (home / "latin-1.txt").write_bytes(b"\xff")
        (home / "broken.tar").write_text("x")
        monkeypatch.chdir(home)
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setenv("LC_ALL", f"{language}.UTF-8")
        no = BUILT_IN.texts(language)["cli.answer-no"]
        monkeypatch.setattr("sys.stdin", io.StringIO(case.stdin.format(no=no)))

        def ask(directory: Path, command: str, **_options: Any) -> dict[str, Any]:
            if command not in case.answers:
                raise NotRunning(Message("cli.not-running", directory=directory))
            if "refused" in case.answers[command]:
                raise LabnodeError(Retold(case.answers[command]["refused"].words))
            return case.answers[command]

        def call(caller: Caller, path: str, fields: Any = None, **options: Any) -> dict[str, Any]:
            operation = path.partition("/")[2] or ("start" if path == "" else "delete")
            if operation in case.answers:
                return case.answers[operation]
            return call_node(caller, path, fields, **options)

        monkeypatch.setattr("labnode.control.ask", ask)
        monkeypatch.setattr(Caller, "ask", call)
        return run(*case.command.split())

    return give


@pytest.mark.parametrize("case", CASES, ids=[case.command for case in CASES])
def test_a_command_leaves_no_english_in_another_language(
    give: Callable[[Case, str], Said], case: Case
) -> None:
    english = give(case, "en")
    assert english.out + english.err
    for language in OTHERS:
        other = give(case, language)
        assert other.code == english.code, other.err
        left = sentences_left(english.out + english.err, other.out + other.err)
        assert left == [], f"{language}: {other.out}{other.err}"


@pytest.mark.parametrize("case", FOR_FILES, ids=[case.command for case in FOR_FILES])
def test_what_is_for_a_file_is_the_same_in_each_language(
    give: Callable[[Case, str], Said], case: Case
) -> None:
    english = give(case, "en")
    assert english.out
    assert [give(case, language) for language in OTHERS] == [english] * len(OTHERS)


@pytest.mark.parametrize("command", ["fake status a", "weblab-config board.yaml --show-password"])
def test_what_is_said_of_a_hashed_password_is_in_each_language(
    give: Callable[[Case, str], Said], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABNODE_WEBLAB_PASSWORD", str(HashedPassword.of("a long password")))
    english = give(Case(command), "en")
    assert english.err
    for language in OTHERS:
        assert sentences_left(english.err, give(Case(command), language).err) == []


def test_what_is_entered_by_hand_at_weblab_deusto_is_in_each_language(
    give: Callable[[Case, str], Said],
) -> None:
    *files, by_hand = give(Case("weblab-config board.yaml"), "en").out.split("# ---- ")
    for language in OTHERS:
        *same, other = give(Case("weblab-config board.yaml"), language).out.split("# ---- ")
        assert same == files
        assert sentences_left(by_hand, other) == []


def test_help_says_in_each_language_that_an_option_is_required(
    give: Callable[[Case, str], Said],
) -> None:
    for language in OTHERS:
        assert f"[{help_texts(language)['required']}]" in give(Case("prove --help"), language).out


def test_every_command_is_given_here() -> None:
    assert {case.command.split()[0] for case in CASES} == {*main.commands, "--help"}


def test_what_is_wrong_with_the_options_is_wholly_in_english(
    give: Callable[[Case, str], Said],
) -> None:
    assert give(Case("new"), "es").err == give(Case("new"), "en").err


def test_the_walk_would_notice_a_sentence_that_is_left() -> None:
    assert sentences_left("2 labs: The node takes no students.", "The node takes 3") == [
        "The node takes"
    ]
    assert sentences_left("-> no labs\n", "gar kein Labor\n-> no labs\n") == ["-> no labs"]


@pytest.mark.parametrize("language", OTHERS)
def test_the_help_has_exactly_the_texts_of_the_commands(language: str) -> None:
    texts = help_texts(language)
    wanted = [*WORDS_OF_CLICK, *dict.fromkeys(_help_of(main))]
    lacking = [text for text in wanted if not texts.get(text, "").strip()]
    assert not lacking, f"add them to labnode/locale/help/{language}.json"
    assert not texts.keys() - set(wanted), "nobody uses these"


WORDS_OF_CLICK = [
    *("Usage:", "Options", "Commands", "default", "required", "[OPTIONS]", "COMMAND [ARGS]..."),
    *("Show this message and exit.", "Show the version and exit."),
]


def _help_of(command: click.Command) -> Iterator[str]:
    """The paragraphs and options of a command and of those in it."""
    options = (p.help or "" for p in command.params if isinstance(p, click.Option))
    texts = [*(command.help or "").split("\n\n"), *options]
    yield from (" ".join(text.split()) for text in texts if text)
    if isinstance(command, click.Group):
        for each in command.commands.values():
            yield from _help_of(each)
