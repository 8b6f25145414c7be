"""A board file: YAML into devices, links and times, with everything that is wrong said at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from labnode.board.config.devices import Lookup, read_devices, read_links
from labnode.board.config.include import load_document
from labnode.board.config.interlock_rules import Rule, RuleForm, read_rules
from labnode.board.config.own_texts import lacking, read_own
from labnode.board.config.page import (
    Item,
    Page,
    RecordSpec,
    StageKeys,
    StageSpec,
    check_record,
    devices_of,
    is_stage,
    read_page,
)
from labnode.board.config.picture import PictureKeys, PictureSpec, read_picture
from labnode.board.config.python_files import python_file, read_drivers
from labnode.board.config.sequences import Sequence, SequenceKeys, read_sequences
from labnode.board.simulation import Link
from labnode.drivers.framework.driver import Driver
from labnode.drivers.framework.expressions import Words
from labnode.locale import BUILT_IN, Catalogues, Joined, Message, Wording
from labnode.schema import (
    Between,
    Doc,
    Duration,
    Like,
    Problems,
    Secrets,
    Section,
    Text,
    build,
    shown,
)


@dataclass(frozen=True, kw_only=True)
class LabName:
    """What central servers call this board: name@category."""

    name: Annotated[
        str, Doc("The name of the experiment; by default that of the board file without .yaml.")
    ] = ""
    category: Annotated[str, Doc("The category that the experiment is in.")] = "Labs"

    def __post_init__(self) -> None:
        for part in (self.name, self.category):
            if "@" in part or not part.isprintable():
                raise ValueError(Message("board.lab-name", name=repr(part)))


@dataclass(frozen=True, kw_only=True)
class SessionSpec:
    """How many students share the board, and time limits in seconds."""

    users: Annotated[int, Between(1), Doc("How many students may use the board at once.")] = 1
    max_time: Annotated[
        Duration,
        Between(1),
        Doc("The longest that a student may have the board, whatever the central server says."),
    ] = 3600.0
    connect_timeout: Annotated[
        Duration, Doc("How long to wait for the first sign of the student's browser.")
    ] = 60.0
    timeout: Annotated[
        Literal[-1] | Duration,
        Doc("How long a session goes on without a sign of the browser; 0 or -1: forever."),
    ] = 15.0
    poll_interval: Annotated[
        Duration, Doc("How often the central server asks whether the session is over.")
    ] = 5.0
    start_wait: Annotated[
        Duration, Doc("How long a start waits for the clean-up of the session before it.")
    ] = 60.0
    dispose_wait: Annotated[
        Duration, Doc("How long the central server waits for the clean-up before it asks again.")
    ] = 20.0
    on_restart: Annotated[
        Literal["resume", "dispose"],
        Doc("What becomes of a session when labnode starts again in the middle of it."),
    ] = "resume"


@dataclass(frozen=True, kw_only=True)
class BoardFile:
    """What a board file says."""

    path: Path
    title: Text
    lab: LabName
    session: SessionSpec
    devices: Mapping[str, Driver]  # by name, in the order of the file
    interlocks: tuple[Rule, ...] = ()
    sequences: Mapping[str, Sequence] = field(default_factory=dict)
    record: RecordSpec | None = None
    simulate: Mapping[str, Link] = field(default_factory=dict)  # by the input they drive
    scripts: Mapping[str, Any] = field(default_factory=dict)  # what else a simulation follows
    page: Page | None = None
    stage: StageSpec | None = None
    picture: PictureSpec | None = None
    module: Path | None = None
    files: tuple[Path, ...] = ()  # all that were read: this one, what it includes, its locale/
    catalogues: Catalogues = BUILT_IN

    @property
    def turnover_time(self) -> float:
        """How many seconds the sequences around a session may take, at each of its ends."""
        ends = [self.sequences.get(name) for name in ("on_start", "on_dispose")]
        return max((sequence.timeout for sequence in ends if sequence is not None), default=0.0)

    def warnings(self) -> list[str | Wording]:
        """What is allowed but probably a mistake, a sentence each."""
        found: list[str | Wording] = []
        for name, driver in self.devices.items():
            found += [Joined(f"'{name}': ", words) for words in driver.warnings()]
        found += lacking(self.catalogues.own)
        for sequence in self.sequences.values():
            found += sequence.warnings(self.devices)
        return found

    def on_page(self) -> list[str]:
        """The devices that students may see, in the order of the page."""
        rows = devices_of(self.page or ())
        rest = [name for name in self.devices if name not in rows]
        return [name for name in (*rows, *rest) if self.devices[name].access == "user"]


@dataclass(frozen=True, kw_only=True)
class BoardKeys:
    """The keys of the file; what is in a `Section` is read by the module that knows it."""

    schema: Annotated[
        Section | None, Like(Literal[1]), Doc("The kind of file that this is: 1, in every file.")
    ] = None
    include: Annotated[
        Section | None,
        Like(str | list[str] | None),
        Doc("Other YAML files, from beside the board, that are parts of it."),
    ] = None
    title: Annotated[Text | None, Doc("What the page calls the lab; by default its name.")] = None
    lab: Annotated[LabName, Doc("How the central server knows the lab.")] = LabName()
    session: Annotated[SessionSpec, Doc("How long things may take, and how many share.")] = (
        SessionSpec()
    )
    drivers: Annotated[
        list[Section],
        Like(list[str]),
        Doc("Python files beside the board with drivers of your own."),
    ] = field(default_factory=list)
    devices: Annotated[dict[str, Section], Doc("Everything that is on the board, by name.")]
    interlocks: Annotated[
        list[Section],
        Like(list[RuleForm]),
        Doc("Rules that hold outputs at values, against any command."),
    ] = field(default_factory=list)
    sequences: Annotated[
        Section | None,
        Like(SequenceKeys | None),
        Doc("What the board does by itself: on_start, on_dispose, selftest ..."),
    ] = None
    record: Annotated[
        RecordSpec | None, Doc("Values over time, which the student can download.")
    ] = None
    simulate: Annotated[
        dict[str, Section],
        Like(dict[str, Words | dict[str, Any]]),
        Doc("What devices do where there is no hardware: inputs follow expressions."),
    ] = field(default_factory=dict)
    picture: Annotated[
        Section | None,
        Like(PictureKeys | None),
        Doc("A picture of the board on the page, with the devices where they are on the board."),
    ] = None
    page: Annotated[
        list[Section] | None,
        Like(list[list[Item | dict[str, int]] | StageKeys] | None),
        Doc(
            "The rows of the page: devices ({heater: 2} is two columns wide), texts, plots, tasks; "
            "the rest comes after them. {stage: [...]} stays in view."
        ),
    ] = None
    module: Annotated[
        Section | None,
        Like(str | None),
        Doc("A Python file beside the board: hooks, tasks and views of the lab."),
    ] = None


def load_board(
    path: Path, *, settings: Path | None = None, secrets: Secrets | None = None
) -> BoardFile:
    """Read and check a board file; ConfigError has everything that is wrong with it.

    Its secrets are in secrets.yaml beside the file of the `settings` or beside the board, unless
    `secrets` are given.
    """
    secrets = secrets or Secrets(*(file.parent for file in (settings, path) if file is not None))
    with Problems() as problems:
        document, files = load_document(path, problems, secrets)
        _check_schema(document, problems)
        document = _with_advice(document, problems)
        top = build(BoardKeys, document, problems)
        if "devices" not in document:
            raise problems.error()  # all else is about devices
        kinds = read_drivers(document.child("drivers"), path, problems)
        devices = read_devices(document.child("devices"), kinds, problems, path.parent)
        lookup = Lookup(devices, problems)
        interlocks = read_rules(document.child("interlocks"), lookup)
        sequences = read_sequences(document.child("sequences"), lookup, path.absolute().parent)
        check_record(None if top is None else top.record, document.child("record"), lookup)
        simulate, scripts = read_links(document.child("simulate"), lookup)
        picture = read_picture(document.child("picture"), lookup, path.parent)
        page, stage = read_page(
            document.child("page"), lookup, picture=document.child("picture").content is not None
        )
        lab = document.child("module")
        module = None if lab.content is None else python_file(lab, path, problems)
        texts, catalogues, mistakes = read_own(path)
        problems.extend(mistakes)
    assert top is not None
    name = top.lab.name or path.stem
    return BoardFile(
        path=path,
        title=top.title or Text(name),
        lab=LabName(name=name, category=top.lab.category),
        session=top.session,
        devices={name: driver for name, driver in devices.items() if driver is not None},
        interlocks=interlocks,
        sequences=sequences,
        record=top.record,
        simulate=simulate,
        scripts=scripts,
        page=page if top.page is not None else None,
        stage=stage,
        picture=picture,
        module=module,
        files=(*files, *catalogues),
        catalogues=Catalogues(texts) if texts else BUILT_IN,
    )


def _with_advice(document: Section, problems: Problems) -> Section:
    """The document; lists that stand where they often do by mistake are problems, and bad."""
    content = dict(document.items())
    devices, page = document.child("devices"), document.child("page")
    if isinstance(devices.content, list):
        example = "heater: {driver: relay, pin: 17}"
        problems.add(devices, Message("board.devices-no-list", example=example))
        raise problems.error()  # all else is about devices
    if isinstance(page.content, list):
        rows = []
        for row in page.content:
            if isinstance(row.content, list) or row.bad or is_stage(row):
                rows.append(row)
                continue
            name = row.content if isinstance(row.content, str) else "..."
            problems.add(row, Message("board.row-no-list", example=f"page: [[{name}]]"))
            rows.append(replace(row, content=None, bad=True))
        content["page"] = replace(page, content=rows)
    return replace(document, content=content) if content else document


def _check_schema(document: Section, problems: Problems) -> None:
    if "schema" not in document:
        if isinstance(document.content, dict):
            problems.add(document, Message("board.no-schema"))
    elif (version := document.child("schema")).content != 1 or version.content is True:
        problems.add(version, Message("board.schema", value=shown(version.value)))
