"""The base of every programmer, of a lab's own, too."""

from __future__ import annotations

import logging
import os
import re
import shutil
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from labnode.drivers.buses.bus_pins import port_claim
from labnode.drivers.framework.driver import Claim, Driver, Ref, Widget, command
from labnode.drivers.framework.subprocess import Cause, Ended, OnOutput, run
from labnode.drivers.tools.content import Content, read
from labnode.drivers.tools.known import NOT_THERE, UNPLUGGED, Known, hopeless, judged, missing
from labnode.drivers.tools.options import Port, Suffixes
from labnode.drivers.tools.simulated import ToolScript
from labnode.errors import (
    AlreadyRunningError,
    BadFile,
    BadInput,
    DeviceError,
    DeviceGone,
    Stopped,
    ToolFailed,
)
from labnode.files import lies_in
from labnode.locale import Joined, Message, Wording
from labnode.schema import Between, Doc, Duration, Size
from labnode.supervisor.client import Supervisor

log = logging.getLogger(__name__)

_PORT_WITHIN = 6.0  # seconds until a port is there whose device was just plugged in or powered
_LOOK_EVERY = 0.5  # seconds
_MOST_LINES = 20  # of 0.1 s of output that are shown
_PERCENT = re.compile(r"(\d{1,3})(?:\.\d+)? ?%")
_OF = re.compile(r"\b(\d{1,6}) ?/ ?(\d{1,6})\b")

State = Literal["unknown", "blank", "programmed", "programming"]


@dataclass(frozen=True)
class Job:
    """What `steps` makes argument lists from."""

    image: str  # the name of the file in the folder that the program runs in, such as "image.hex"
    port: str  # its path, "" without one
    verify: bool
    content: Content

    @property
    def suffix(self) -> str:
        return Path(self.image).suffix


@dataclass(kw_only=True)
class Tool(Driver):
    """A program that writes a file into a chip; docs/programming.md has an example of a subclass.

    The program runs confined (see docs/programming.md), in a folder of its own, in which the
    student's file is `image.hex`, or whatever its kind is: no name that somebody else chose is ever
    an argument. An argument that is the path of a file beside the board file becomes a copy's.
    """

    widget: ClassVar[Widget] = "upload"
    script: ClassVar[type | None] = ToolScript
    known: ClassVar[Sequence[Known]] = ()  # what its programs print, the most telling first

    accept: Annotated[
        Suffixes, Doc("The accepted kinds of files, such as [.hex]; their content is checked.")
    ] = field(default_factory=list)
    max_size: Annotated[Size, Between(1), Doc("The largest accepted file.")] = 1 << 20
    port: Annotated[
        Port | None,
        Doc("The serial port: a path, or the name of a serial device, which is paused meanwhile."),
    ] = None
    timeout: Annotated[Duration, Between(0.1), Doc("How long one attempt may take.")] = 60.0
    estimated_time: Annotated[
        Duration | None,
        Doc("How long programming takes. Students with less time left cannot start it."),
    ] = None
    retries: Annotated[
        int, Between(0, 10), Doc("How many more attempts are made after a failure.")
    ] = 1
    verify: Annotated[
        bool, Doc("Whether the file is read back and compared; the blank image always is.")
    ] = True
    blank_image: Annotated[
        Path | None,
        Doc("A known-good image next to the board file, written before and after every student."),
    ] = field(default=None, metadata={"key": "blank"})
    fallback: Annotated[
        Ref | None,
        Doc(
            "Another programmer of this board: when all attempts have failed, it writes its blank "
            "image (with a bootloader, say), and then this one tries once more."
        ),
    ] = None
    power: Annotated[Ref | None, Doc("An output that is on while a file is written.")] = None
    power_wait: Annotated[Duration, Doc("How long to wait after `power` is switched on.")] = 1.0

    def __post_init__(self) -> None:
        if not self.accept:
            raise ValueError(Message("driver.accept"))
        if self.blank_image is not None and self.blank_image.suffix.lower() not in self.accept:
            path, kinds = str(self.blank_image), ", ".join(self.accept)
            raise ValueError(Message("driver.blank", path=path, kinds=kinds))

    # ------------------------------------------------------------------ what a subclass writes

    @abstractmethod
    def steps(self, job: Job) -> list[list[str]]:
        """The argument lists of the programs that write a file, which run in turn."""

    def examine(self, content: Content, suffix: str) -> None:
        """BadFile when a file of the right kind is not for this chip."""

    def before(self, argv: Sequence[str]) -> None:
        """Wait until a program can be started, or raise ToolFailed."""

    def writable(self) -> list[Path]:
        """Directories that its programs write into, which keeps them with the user of the node."""
        return []

    def percent(self, line: str) -> float | None:
        """How far a program is, from a line (maybe incomplete) with "42 %", "42.5%" or "3/12"."""
        if found := _PERCENT.findall(line):
            return float(min(100, int(found[-1])))
        if (match := _OF.search(line)) and 0 < int(match[2]) >= int(match[1]):
            return 100 * int(match[1]) / int(match[2])
        return None

    def wears(self) -> bool:
        """Whether writing wears the chip and is counted."""
        return True

    # ------------------------------------------------------------------ life

    def attach(self, name: str, services: Any) -> None:
        super().attach(name, services)
        self.scripted: ToolScript | None = None
        self._state: State = "unknown"
        self._writes = WriteCounter(None, name)

    def claims(self) -> list[Claim]:
        if self.port is None or isinstance(self.port, Ref):
            return super().claims()
        return [*super().claims(), port_claim(self.port)]

    def mistakes(self, folder: Path) -> list[str | Wording]:
        if self.blank_image is None:
            return []
        if not lies_in(folder, self.blank_image):
            expected, path = Message("driver.a-file-beside"), f"'{self.blank_image}'"
            return [Joined("blank", ": ", Message("yaml.unlike", expected=expected, value=path))]
        try:
            self.check(folder / self.blank_image)
        except BadInput as error:
            return [Joined("blank", f": {self.blank_image}: ", error.words)]
        except OSError:
            path = repr(str(folder / self.blank_image))
            return [Joined("blank", ": ", Message("board.no-file", path=path))]
        return []

    def open(self) -> None:
        self._state = "unknown"
        self._writes = WriteCounter(self.services.state_dir, self.name)
        if not self.services.simulated:
            for program, package in self.programs.items():
                if not self.installed(program):
                    raise DeviceError(missing(program, package))

    def installed(self, program: str) -> bool:
        return shutil.which(program) is not None

    def prepare(self) -> None:
        """Write the blank image, if there is one and it is not known to be in the chip."""
        if self.blank_image is not None and self._state != "blank":
            self.blank()

    def clean(self) -> None:
        self.prepare()

    @property
    def value(self) -> str:
        """What is in the chip: `unknown`, `blank` or `programmed`; `programming` meanwhile."""
        return self._state

    def state(self) -> dict[str, Any]:
        return {"value": self.value, "writes": self._writes.count}

    def describe(self) -> dict[str, Any]:
        return {
            "accept": list(self.accept),
            "max_size": self.max_size,
            "estimated_time": self.estimated_time,
            "blank": self.blank_image is not None,
        }

    # ------------------------------------------------------------------ writing

    def check(self, image: Path) -> None:
        """BadFile when it cannot be written (any thread)."""
        self._content(image)

    def program(self, image: Path) -> dict[str, Any]:
        """Write a file, relative to the board file, into the chip; for a task or a hook.

        BadFile: it is not for this chip. AlreadyRunningError: already programming. After ToolFailed
        and Stopped the chip's content is unknown.
        """
        path = self.services.folder / image
        try:
            content = self._content(path)
        except OSError as error:
            raise BadInput(f"'{self.name}' cannot read {str(image)!r}: {error.strerror}") from None
        return self._write(path, content, "programmed", verify=self.verify)

    @command
    def blank(self) -> None:
        """Write the blank image, and read it back."""
        if self.blank_image is None:
            raise BadInput(f"'{self.name}' has no blank image")
        path = self.services.folder / self.blank_image
        self._write(path, self._content(path), "blank", verify=True)

    def _content(self, image: Path) -> Content:
        suffix = image.suffix.lower()
        if suffix not in self.accept:
            kinds = ", ".join(self.accept)
            raise BadFile(Message("file.kinds", kinds=kinds))
        if image.stat().st_size > self.max_size:
            raise BadFile(Message("file.too-large", size=self.max_size))
        content = read(image, suffix)
        self.examine(content, suffix)
        return content

    def _write(
        self, image: Path, content: Content, becomes: State, *, verify: bool
    ) -> dict[str, Any]:
        if self._state == "programming":
            raise AlreadyRunningError(Message("error.programming", device=self.called))
        began = self.services.clock.now()
        end: State = "unknown"
        self._show("programming")
        try:
            with self._powered():
                self._try_often(image, content, verify)
            end = becomes
        finally:
            self._show(end)
        seconds = round(self.services.clock.now() - began, 1)
        return {"seconds": seconds, "writes": self._writes.count}

    def _show(self, state: State) -> None:
        self._state = state
        self.services.publish()

    @contextmanager
    def _powered(self) -> Iterator[None]:
        """Inside the block the board has power; afterwards it is as it was."""
        if self.power is None or self.services.device(self.power).value:
            yield
            return
        self.services.command(self.power, "set", [True])
        try:
            if not self.services.wait(self.power_wait):
                raise stopped()
            yield
        finally:
            self.services.command(self.power, "set", [False])

    def _try_often(self, image: Path, content: Content, verify: bool) -> None:
        for attempt in range(self.retries + 1):
            try:
                return self._try_once(image, content, verify)
            except ToolFailed as error:
                failure = error
                self.services.progress(line=str(error))
            if failure.final:
                break
            if attempt < self.retries:
                self.services.progress(0, line=f"-- {attempt + 2} / {self.retries + 1} --")
        if self.fallback is None:
            raise failure
        self.services.progress(0, line=f"-- {self.fallback} --")
        self.services.command(self.fallback, "blank")
        return self._try_once(image, content, verify)

    def _try_once(self, image: Path, content: Content, verify: bool) -> None:
        if self.wears():
            self._writes.add()
        with ExitStack() as lent:
            port = self._borrow_port(lent) if isinstance(self.port, Ref) else self.port or ""
            name = f"image{image.suffix.lower()}"
            steps = self.steps(Job(name, port, verify, content))
            beside = self._beside(steps)
            files = {name: image, **{copy: Path(path) for path, copy in beside.items()}}
            supervisor = (
                None if self.services.simulated else lent.enter_context(self._shut_in(port))
            )
            for number, step in enumerate(steps):
                span = (number / len(steps), (number + 1) / len(steps))
                self.before(step)
                argv = [beside.get(argument, argument) for argument in step]
                self._run(argv, supervisor, files, port, span)
        self.services.progress(100)

    def _borrow_port(self, lent: ExitStack) -> str:
        """The path of the port that another device lends; ToolFailed when it has none."""
        assert isinstance(self.port, Ref)
        until = self.services.clock.now() + _PORT_WITHIN
        while True:
            try:
                return lent.enter_context(self.services.lend(self.port))
            except DeviceGone:
                if self.services.clock.now() >= until:
                    raise ToolFailed(NOT_THERE) from None
            if not self.services.wait(_LOOK_EVERY):
                raise stopped()

    def _beside(self, steps: Sequence[Sequence[str]]) -> dict[str, str]:
        """The arguments that are files beside the board file, and the names of their copies."""
        folder = self.services.folder.absolute()
        paths = {argument: Path(os.path.normpath(argument)) for argv in steps for argument in argv}
        return {
            argument: f"board/{path.relative_to(folder)}"
            for argument, path in paths.items()
            if path.is_relative_to(folder) and path.is_file()
        }

    def _shut_in(self, port: str) -> Supervisor:
        try:
            return Supervisor(port=port, writable=self.writable())
        except OSError as error:
            raise not_started("labnode.supervisor", error) from error

    def _run(
        self,
        argv: Sequence[str],
        supervisor: Supervisor | None,
        files: Mapping[str, Path],
        port: str,
        span: tuple[float, float],
    ) -> None:
        """Run a program, as the part `span` (0 to 1) of the work; without supervisor: pretend."""

        def progress(percent: float | None, lines: Sequence[str] = ()) -> None:
            first, last = span
            whole = None if percent is None else round(100 * first + (last - first) * percent, 1)
            text = "\n".join(lines[-_MOST_LINES:]) if lines else None
            if whole is not None or text is not None:
                self.services.progress(whole, text)

        def on_output(lines: Sequence[str], rest: str) -> None:
            percents = (self.percent(line) for line in (rest, *reversed(lines)))
            progress(next((percent for percent in percents if percent is not None), None), lines)
            if (failure := hopeless(lines, self.known)) is not None:
                raise failure
            if self._is_gone(port):
                raise ToolFailed(UNPLUGGED)

        if supervisor is None:
            ended = (self.scripted or ToolScript()).play(self.services, progress)
        elif self._is_gone(port):
            raise ToolFailed(NOT_THERE)
        else:
            ended = self._run_program(argv, supervisor, files, on_output)
        if ended.cause is Cause.STOPPED:
            raise stopped()
        if (failure := judged(argv[0], ended, self.timeout, self.known)) is not None:
            raise failure

    def _is_gone(self, port: str) -> bool:
        if self.port is None:
            return False
        return not port or (port.startswith("/") and not Path(port).exists())

    def _run_program(
        self,
        argv: Sequence[str],
        supervisor: Supervisor,
        files: Mapping[str, Path],
        on_output: OnOutput,
    ) -> Ended:
        name = argv[0]
        try:
            return run(
                argv,
                self.services,
                supervisor,
                name=self.name,
                timeout=self.timeout,
                on_output=on_output,
                files=files,
            )
        except FileNotFoundError as error:
            raise ToolFailed(missing(name, self.programs.get(name)), final=True) from error
        except OSError as error:
            raise not_started(name, error) from error


def not_started(name: str, error: OSError) -> ToolFailed:
    return ToolFailed(Message("tool.not-started", program=name, why=error.strerror))


def stopped() -> Stopped:
    return Stopped(Message("error.not-programmed"))


class WriteCounter:
    """A count in a file of its own, which survives a power cut."""

    def __init__(self, folder: Path | None, device: str) -> None:
        self._path = None if folder is None else folder / f"writes-{device}"
        self.count = 0
        if self._path is not None:
            with suppress(OSError, ValueError):
                self.count = max(0, int(self._path.read_text()))

    def add(self) -> None:
        """A full disk does not keep a board from being programmed."""
        self.count += 1
        if self._path is None:
            return
        new = self._path.with_name(f"{self._path.name}.new")
        try:
            new.write_text(f"{self.count}\n")
            new.replace(self._path)
        except OSError as error:
            log.warning("The write counter %s was not stored: %s", self._path.name, error)
