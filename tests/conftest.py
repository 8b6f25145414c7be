"""The same tests wherever they run; a thread, an open file or a pin that one leaves fails it."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections import defaultdict
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from gpiozero.pins.mock import MockFactory
from hypothesis import settings

import labnode.store.store
from labnode.drivers.gpio.factories import pins_in_use
from tests.kit import figures
from tests.kit.files import no_file_left_open
from tests.kit.waiting import PATIENCE

_PATIENCE = 3.0  # seconds in which a thread that has been told to end may do so


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--long",
        action="store_true",
        help="measure all that docs/reliability.md promises (hours), and write it beside it",
    )


def pytest_configure() -> None:
    """Nothing depends on the shell: not on its settings of a node, not on nohup or `&` in it.

    And a slow machine is neither a broken disk nor a failure.
    """
    labnode.store.store._PATIENCE = PATIENCE
    settings.register_profile("labnode", settings(), deadline=None)
    settings.load_profile("labnode")
    for name in list(os.environ):
        if name.startswith("LABNODE_") and not name.startswith("LABNODE_TEST_"):
            del os.environ[name]
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            # Not heard here either; but programs that the tests start get the default again.
            signal.signal(number, lambda *_: None)


def pytest_collection_finish() -> None:
    """No search for garbage walks over all the tests again and again."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("only root can (.ci/run runs them as root)")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter,
) -> Generator[None, None, None]:
    """Say what was measured, and in one line what was skipped and why, below everything else."""
    yield
    _tell_figures(terminalreporter)
    places: dict[str, list[str]] = defaultdict(list)
    for report in terminalreporter.stats.get("skipped", ()):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        places[reason].append(report.nodeid.partition("::")[0])
    if places:
        said = [f"{why}: {_in_short(files)}" for why, files in sorted(places.items())]
        terminalreporter.write_line(f"skipped: {'; '.join(said)}")


def _tell_figures(terminalreporter: pytest.TerminalReporter) -> None:
    measured = figures.reported(
        report
        for report in terminalreporter.stats.get("passed", ())
        if isinstance(report, pytest.TestReport) and report.when == "call"
    )
    for figure in measured:
        terminalreporter.write_line(f"{figure.what}: {figure.measured} ({figure.promised})")
    if measured and terminalreporter.config.getoption("long"):
        text = figures.DOCUMENT.read_text(encoding="utf-8")
        figures.DOCUMENT.write_text(figures.written_into(text, measured), encoding="utf-8")


def _in_short(files: list[str]) -> str:
    """How many tests, and their files; a folder, where it is more than one file of it."""
    folders = defaultdict(set)
    for file in files:
        folders[file.rpartition("/")[0]].add(file)
    where = [folder if len(of) > 1 else min(of) for folder, of in sorted(folders.items())]
    return f"{len(files)} in {', '.join(where)}"


@pytest.fixture(autouse=True)
def _no_file_is_left_open() -> Iterator[None]:
    """Looked at when the test's threads have ended, which may be who closes them."""
    with no_file_left_open():
        yield


@pytest.fixture(autouse=True)
def _no_thread_is_left(_no_file_is_left_open: None) -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(_PATIENCE)
    left = [thread.name for thread in set(threading.enumerate()) - before]
    assert not left, f"threads left running: {left}"


@pytest.fixture(autouse=True)
def _no_pin_stays_reserved(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    made: list[MockFactory] = []
    start = MockFactory.__init__

    def remember(self: MockFactory, *args: Any, **kwargs: Any) -> None:
        made.append(self)
        start(self, *args, **kwargs)

    monkeypatch.setattr(MockFactory, "__init__", remember)
    yield
    assert [pins_in_use(factory) for factory in made] == [[] for _ in made]


@pytest.fixture
def long_run(request: pytest.FixtureRequest) -> bool:
    """Whether to measure as much as the documents promise, instead of a sample in seconds."""
    return bool(request.config.getoption("long"))


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> figures.FigureReporter:
    """Report a figure for the table: what, what is promised, what was measured."""
    return figures.reporter(request.node)


@pytest.fixture
def own_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a board's module imports, and where from, ends with the test; nothing is compiled."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("labnode_board_"):
            del sys.modules[name]
