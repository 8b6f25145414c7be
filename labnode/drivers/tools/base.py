"""Tool: the base of every programmer, and of a lab's own."""

from __future__ import annotations

import logging
import shutil
import tempfile
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from labnode.drivers.framework.driver import Claim, Driver, Ref, Widget, command
from labnode.drivers.tools.content import Content, bad, read
from labnode.drivers.tools.known import Known, missing
from labnode.drivers.tools.options import Port, Suffixes
from labnode.drivers.tools.simulated import Rehearsal
from labnode.drivers.tools.step import Step, percent, port_of, powered
from labnode.errors import AlreadyRunningError, BadInput, DeviceError, ToolFailed
from labnode.schema import Between, Doc, Duration, Size

log = logging.getLogger(__name__)


class Counter:
    """A number in a small file of its own, so that it survives the program and a power cut."""

    def __init__(self, folder: Path | None, device: str) -> None:
        self._path = None if folder is None else folder / f"writes-{device}"
        self.count = 0
        if self._path is not None:
            with suppress(OSError, ValueError):
                self.count = max(0, int(self._path.read_text()))

    def add(self) -> None:
        """One more; a disk that does not take it does not keep a board from being programmed."""
        self.count += 1
        if self._path is None:
            return
        new = self._path.with_name(f"{self._path.name}.new")
        try:
            new.write_text(f"{self.count}\n")
            new.replace(self._path)
        except OSError as error:
            log.warning("The write counter %s was not stored: %s", self._path.name, error)


State = Literal["unknown", "blank", "programmed", "programming"]


@dataclass(frozen=True)
class Job:
    """One writing of a file, for the argument list of a program."""

    image: str  # the name of the file in the folder that the program runs in, such as "image.hex"
    port: str  # what `port` says, "" without one
    verify: bool
    content: Content

    @property
    def suffix(self) -> str:
        return Path(self.image).suffix


@dataclass(kw_only=True)
class Tool(Driver):
    """A program that writes a file into a chip. A subclass says with what arguments.

    docs/programming.md has an example. The student's file is `image.hex`, or whatever its kind is,
    in a folder of its own, in which the program runs; no name that somebody else chose is ever an
    argument. Where writing takes several programs, or one several times, `steps` has several
    argument lists.
    """

    widget: ClassVar[Widget] = "upload"
    script: ClassVar[type | None] = Rehearsal
    known: ClassVar[Sequence[Known]] = ()  # what its programs say, the most telling first

    accept: Annotated[
        Suffixes, Doc("The kinds of files that it takes, such as [.hex]; the content is checked.")
    ] = field(default_factory=list)
    max_size: Annotated[Size, Between(1), Doc("The size of a file at the most.")] = 1 << 20
    port: Annotated[
        Port | None,
        Doc(
            "The serial port: the name of a serial device of this board, which lends it, or a path."
        ),
    ] = None
    timeout: Annotated[
        Duration, Between(0.1), Doc("How long one attempt may take before it is ended.")
    ] = 60.0
    estimated_time: Annotated[
        Duration | None, Doc("How long it takes: a student who has less time left is refused.")
    ] = None
    retries: Annotated[
        int, Between(0, 10), Doc("How often it is tried again when it has failed.")
    ] = 1
    verify: Annotated[
        bool, Doc("Whether what was written is read back; the blank image always is.")
    ] = True
    blank_image: Annotated[
        Path | None,
        Doc("A known-good image beside the board file, written before and after every student."),
    ] = field(default=None, metadata={"key": "blank"})
    fallback: Annotated[
        Ref | None,
        Doc(
            "Another programmer of this board: when this one fails for good, that one writes its "
            "blank image (one with a bootloader, say) and this one tries once more."
        ),
    ] = None
    power: Annotated[Ref | None, Doc("An output that is switched on while a file is written.")] = (
        None
    )
    power_wait: Annotated[
        Duration, Doc("How long the board takes to be ready once `power` is on.")
    ] = 1.0

    def __post_init__(self) -> None:
        if not self.accept:
            raise ValueError("accept must name the kinds of files that it takes, such as [.hex]")
        if self.blank_image is not None and self.blank_image.suffix.lower() not in self.accept:
            raise ValueError(
                f"blank ({self.blank_image}) must be one of the files that it accepts: "
                f"{', '.join(self.accept)}"
            )

    # ------------------------------------------------------------------ what a subclass writes

    @abstractmethod
    def steps(self, job: Job) -> list[list[str]]:
        """The argument lists of the programs that write a file, one after the other."""

    def examine(self, content: Content, suffix: str) -> None:
        """BadFile when a file of the right kind is not for this chip."""

    def before(self, argv: Sequence[str]) -> None:
        """What has to be so before a program is started: wait for it, or raise ToolFailed."""

    def percent(self, line: str) -> float | None:
        """How far a program is, as its last line says, complete or not."""
        return percent(line)

    def wears(self) -> bool:
        """Whether writing wears the chip, so that it is counted."""
        return True

    # ------------------------------------------------------------------ life

    def attach(self, name: str, services: Any) -> None:
        super().attach(name, services)
        self.scripted: Rehearsal | None = None
        self._state: State = "unknown"
        self._writes = Counter(None, name)

    def claims(self) -> list[Claim]:
        if self.port is None or isinstance(self.port, Ref):
            return super().claims()
        return [*super().claims(), Claim("port", self.port)]

    def mistakes(self, folder: Path) -> list[str]:
        if self.blank_image is None:
            return []
        try:
            self.check(folder / self.blank_image)
        except BadInput as error:
            return [f"blank: {self.blank_image}: {error}"]
        except OSError:
            return [f"blank: there is no file {str(folder / self.blank_image)!r}"]
        return []

    def open(self) -> None:
        self._state = "unknown"
        self._writes = Counter(self.services.state_dir, self.name)
        if not self.services.simulated:
            for program, package in self.programs.items():
                if not self.installed(program):
                    raise DeviceError(missing(program, package)["en"])

    def installed(self, program: str) -> bool:
        """Whether one of its `programs` is on this machine."""
        return shutil.which(program) is not None

    def prepare(self) -> None:
        """The chip has the blank image, if there is one; it is not written where it is known."""
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

    def _content(self, image: Path) -> Content:
        suffix = image.suffix.lower()
        if suffix not in self.accept:
            kinds = ", ".join(self.accept)
            raise bad(f"Only {kinds} files are taken.", f"Solo se aceptan ficheros {kinds}.")
        if image.stat().st_size > self.max_size:
            raise bad(
                f"The file has more than {self.max_size} bytes.",
                f"El fichero tiene más de {self.max_size} bytes.",
            )
        content = read(image, suffix)
        self.examine(content, suffix)
        return content

    def program(self, image: Path) -> dict[str, Any]:
        """Write a file into the chip, in a task or a hook; relative to the board file.

        BadFile: it is not for this chip. ToolFailed says why it did not work, Stopped that the task
        was asked to stop; what is in the chip then is unknown. AlreadyRunningError: it is at it.
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

    def _write(
        self, image: Path, content: Content, becomes: State, *, verify: bool
    ) -> dict[str, Any]:
        if self._state == "programming":
            raise AlreadyRunningError(f"'{self.name}' is being programmed already.")
        began = self.services.clock.now()
        end: State = "unknown"
        self._show("programming")
        try:
            with powered(self.services, self.power, self.power_wait):
                self._persist(lambda: self._attempt(image, content, verify))
            end = becomes
        finally:
            self._show(end)
        seconds = round(self.services.clock.now() - began, 1)
        return {"seconds": seconds, "writes": self._writes.count}

    def _persist(self, attempt_it: Callable[[], None]) -> None:
        for attempt in range(self.retries + 1):
            try:
                return attempt_it()
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
        return attempt_it()

    def _attempt(self, image: Path, content: Content, verify: bool) -> None:
        if self.wears():
            self._writes.add()
        with (
            port_of(self.services, self.port) as port,
            tempfile.TemporaryDirectory(prefix="labnode-") as folder,
        ):
            name = f"image{image.suffix.lower()}"
            (Path(folder) / name).symlink_to(image.absolute())
            steps = self.steps(Job(name, port, verify, content))
            for number, argv in enumerate(steps):
                span = (number / len(steps), (number + 1) / len(steps))
                step = Step(
                    argv,
                    Path(folder),
                    port if self.port else None,
                    span,
                    self.timeout,
                    self.known,
                    self.programs,
                    self.percent,
                )
                self.before(argv)
                step.run(self.services, self.name, self.scripted or Rehearsal())
        self.services.progress(100)

    def _show(self, state: State) -> None:
        self._state = state
        self.services.publish()
