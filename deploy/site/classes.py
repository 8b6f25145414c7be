"""The reference of labnode's Python: which classes each page has, and which of their members.

The pages name them; mkdocstrings puts the docstrings in when the site is built.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from labnode.clock.schedules import At, Crontab, Every
from labnode.drivers.framework.driver import Claim, Driver, Ref, command, private_command
from labnode.drivers.framework.input import Input, Sensor
from labnode.drivers.framework.io_thread import Backoff, IoThread
from labnode.drivers.framework.output import NumberOutput, Output, SwitchOutput
from labnode.drivers.framework.registry import register
from labnode.drivers.framework.services import DeviceView, Services
from labnode.drivers.framework.slow import SlowOutput, SlowSensor, SlowSwitch
from labnode.lab import Lab
from labnode.lab.devices import Device, Devices
from labnode.sessions import User
from labnode.tasks import Task, TaskFunction
from labnode.testing import Browser, LabClient, Reply, Student
from labnode.web.lab_websockets import WebSocket


@dataclass(frozen=True)
class Page:
    """One page: `shown` are its classes and functions, each with the members that it leaves out.

    What is left out is for labnode itself.
    """

    title: str
    about: str
    shown: dict[object, str]


PAGES = {
    "reference/lab.md": Page(
        "Lab",
        "A board's Python module has one `lab = Lab()` (`from labnode import Lab`). Its decorators "
        "declare hooks, tasks and WebSockets; its other members are for use inside them and inside "
        "views. Times are seconds. What labnode refuses is raised as one of its "
        "[errors](errors.md), `from labnode.errors import …`. [Tasks](../tasks.md) explains tasks, "
        "[A page of your own](../own-page.md) explains views and pages.",
        {
            Lab: "bind prepare clean load_user first_url",
            Devices: "",
            Device: "",
            User: "store_changes check_may_act",
            WebSocket: "begin may_stay full message ended",
        },
    ),
    "reference/task.md": Page(
        "Task",
        "`@lab.task` makes a `TaskFunction` of a function; each run of it is a `Task`. "
        "[Tasks](../tasks.md) explains both with examples.",
        {
            TaskFunction: "bind needs_arguments check_time_left invocation call",
            Task: "words to_json report",
            Crontab: "next",
            At: "next",
            Every: "next",
        },
    ),
    "reference/driver.md": Page(
        "Driver",
        "What a driver of your own is made of: `from labnode.drivers import …`. [A driver of your "
        "own](../own-driver.md) says how to begin, and has complete examples. A driver overrides "
        "the methods that it needs; all others work as they are. The YAML options that all drivers "
        "share are in [Devices](../devices.md). `Services` is what a driver finds in "
        "`self.services`.",
        {
            register: "",
            command: "",
            private_command: "",
            Driver: "attach follow mistakes misfits remote_pins uses called",
            Output: (
                "owns accept target force release overdue unheard guarded_since heard_until "
                "was_lost stay_safe make_safe reset due poll describe state patience attach"
            ),
            SwitchOutput: "value_type patience describe",
            NumberOutput: "value_type check describe",
            Input: "attach close value state due poll",
            Sensor: "value_type arrived describe",
            SlowSensor: "opened close",
            SlowOutput: "attach open close reset make_safe await_safe drive value due poll",
            SlowSwitch: "answers_within transmit",
            IoThread: "wake",
            Backoff: "",
            Services: "operator lend permit asked_at",
            DeviceView: "",
            Claim: "",
            Ref: "from_yaml",
        },
    ),
    "reference/lab-client.md": Page(
        "LabClient",
        "`from labnode.testing import LabClient`: a lab in a test, on any machine. The board's "
        "devices are simulated, and there is no web server: requests go straight to the node. What "
        "students import in their own programs is `labnode.client`: "
        "[For students](../clients.md).",
        {LabClient: "", Student: "", Browser: "", Reply: ""},
    ),
}


def pages(generated: str) -> dict[str, str]:
    """The text of each page by its path in docs/, the mark `generated` first."""
    return {path: "\n\n".join([generated, *_parts(page)]) + "\n" for path, page in PAGES.items()}


def members(cls: object, left_out: str) -> dict[str, object]:
    """The methods and properties that a class defines for others, in the order of its text."""
    if not inspect.isclass(cls):
        return {}
    found = {
        name: member
        for name, member in vars(cls).items()
        if not name.startswith("_") and _is_described(member)
    }
    assert set(left_out.split()) <= set(found), (cls, set(left_out.split()) - set(found))
    return {name: found[name] for name in found if name not in left_out.split()}


def _is_described(member: object) -> bool:
    kinds = property | cached_property | classmethod
    return inspect.isfunction(member) or isinstance(member, kinds)


def _parts(page: Page) -> Iterator[str]:
    yield f"# {page.title}"
    yield page.about
    for each, left_out in page.shown.items():
        where = f"{each.__module__}.{each.__name__}"  # type: ignore[attr-defined]
        names = "".join(f"\n        - {name}" for name in members(each, left_out))
        shown = f"\n      members:{names}" if names else "\n      members: false"
        yield f"::: {where}\n    options:{shown}"
