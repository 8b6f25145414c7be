"""`python -m labnode.install COMMAND`: what install.sh hands over to."""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import traceback
import venv
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from labnode.clock import Clock
from labnode.errors import ConfigError
from labnode.install.card import Card, WriteCard
from labnode.install.changes import Changes, Failed, Interrupted, Remove, say
from labnode.install.clone import Suite, Venv, demo, docs
from labnode.install.extras import add, add_extras
from labnode.install.labs import Needs, NewLab
from labnode.install.lock import Platform
from labnode.install.options import Misused, Options, check_name, read_options, usage
from labnode.install.programs import Apt, InstallPackages, have, is_root, ran
from labnode.install.release import (
    DEBIAN,
    ROOT,
    Builder,
    BuildRelease,
    Pip,
    collect,
    copy_labnode_wheel,
    fill,
    without_wheel,
)
from labnode.install.report import indented, report_card, report_lab, report_tunnel
from labnode.install.service import TOOL_USER, LabServices, SwitchUnit, ask_lab, state_of
from labnode.install.target import (
    AddUser,
    JoinGroups,
    RemoveUser,
    Target,
    shortcomings,
    undisturbed,
)
from labnode.install.tunnel import TUNNEL_USER, NewTunnel

_STEPS = ("without-wheel", "fill", "add", "wheel", "collect")
_SIGNALS = {signal.SIGHUP: 129, signal.SIGINT: 130, signal.SIGTERM: 143}
_GROUPS = ("gpio", "dialout", "video", "spi", "i2c", "plugdev")  # whose devices drivers open


def main() -> None:
    words = sys.argv[1:]
    if not words or words[0] in (*_STEPS, "-h", "--help"):
        run_step(words)
        return
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _interrupt)
    os.environ.pop("PYTHONPATH", None)  # of install.sh, for us alone
    python = os.environ.pop("LABNODE_PYTHON", sys.executable)
    sys.exit(run(words[0], words[1:], python))


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise Interrupted(_SIGNALS[signal.Signals(number)])


def run(command: str, words: Sequence[str], python: str) -> int:
    """The exit code of one command of install.sh."""
    clock = Clock()
    clone = Venv(ROOT, python, clock)
    try:
        if command == "demo":
            demo(clone, words)
        if command in ("docs", "test"):
            return docs(clone, words) if command == "docs" else Suite(clone, python).run(words)
        if {"-h", "--help"} & set(words):
            sys.stdout.write(usage(command))
            return 0
        return Installer(read_options(command, words, os.environ), clone, clock).run(command)
    except Misused as error:
        say(str(error))
        sys.stderr.write(usage(command))
        return 2
    except Failed as error:
        say(str(error))
        return 1
    except Interrupted as error:
        say(
            "interrupted; start it again to go on" if command in ("demo", "test") else "interrupted"
        )
        return error.code


class Installer:
    """The commands that change a system, or the card of one."""

    def __init__(self, options: Options, clone: Venv, clock: Clock) -> None:
        self._options = options
        self._clone = clone
        self._clock = clock
        self._target = Target(options["root"])
        self._changes = Changes(dry=options.dry, yes="yes" in options)
        self._apt = Apt()

    def run(self, command: str) -> int:
        """The exit code of `command`; when it does not end well, nothing of it is left."""
        commands: dict[str, Callable[[], int | None]] = {
            "install": self._install,
            "upgrade": self._upgrade,
            "rollback": self._rollback,
            "uninstall": self._uninstall,
            "status": self._status,
            "flash": self._flash,
        }
        try:
            code = commands[command]() or 0
        except Misused:
            raise
        except (Exception, Interrupted) as error:  # noqa: BLE001 - a bug, too, is taken back
            code = self._explain(error)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_IGN)  # what is taken back is taken back whole
            self._changes.take_back()
            return code
        finally:
            self._changes.close()
        if self._changes.dry:
            say("nothing of this was done: --dry-run")
        return code

    def _explain(self, error: BaseException) -> int:
        """Say why the command has failed; the exit code."""
        if isinstance(error, Interrupted):
            say("interrupted")
            return error.code
        if isinstance(error, Failed):
            say(str(error))
        else:
            place = traceback.extract_tb(error.__traceback__)[-1]
            say(f"this was not expected to fail: {error!r} ({place.filename}:{place.lineno})")
        return 1

    def _begin(self) -> LabServices:
        """To be root, and alone; services know which labs run before anything is changed."""
        if not self._changes.dry:
            if not is_root():
                raise Failed("this changes the system: sudo ./install.sh ...")
            self._lock = os.open(self._target.root, os.O_RDONLY)  # as long as this process
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise Failed("another install.sh is changing this system; wait for it") from None
        return LabServices(self._target, self._changes, self._clock)

    def _takes_nothing(self, command: str, but: str = "") -> None:
        for word in self._options.operands:
            raise Misused(f"{command} takes no '{word}'{but}")

    # --- the commands ---

    def _install(self) -> None:
        self._takes_nothing("install", "; the board goes after --board")
        if "board" not in self._options:
            raise Misused("say which board: sudo ./install.sh --board boards/NAME.yaml")
        services = self._begin()
        lab = NewLab(self._options, self._target, self._changes)
        self._check_machine()
        tunnel = self._new_tunnel(lab)
        pins = not lab.simulated or self._has_hardware(but=lab.name)
        builder, release = self._build(pins=pins)
        lab.check_ports(release)
        lab.ask_admin_host()
        self._changes.make(AddUser(self._target, "labnode"))
        if lab.install_board(release):
            services.restart.add(lab.name)
        needs = self._provide(lab, release)
        add_extras(builder, release, services, {} if needs is None else {lab.name: needs})
        lab.install_settings(release)
        if lab.install_simulation(release):
            services.restart.add(lab.name)
        services.install_files(release, pins=pins)
        services.keep_listening(lab.name, *lab.address(release))
        new_tunnel = tunnel is not None and self._install_tunnel(tunnel, lab, services, release)
        services.reboot_needed = lab.configure_boot(release)
        services.hold_safe_at_boot(lab.name, simulated=lab.simulated)
        self._activate(services, release, new=lab.name)
        if self._changes.dry or not self._changes.any:
            return
        if tunnel is not None and new_tunnel:
            services.start_tunnel(tunnel.unit)
        report_lab(lab, self._target, reboot_needed=services.reboot_needed)
        if tunnel is not None:
            report_tunnel(tunnel)

    def _new_tunnel(self, lab: NewLab) -> NewTunnel | None:
        """The tunnel that is asked for, to a server whose key is known."""
        if "tunnel" not in self._options:
            return None
        if not have("ssh"):
            failure = "a tunnel needs ssh: sudo apt-get install openssh-client"
            package = "openssh-client"
            install = InstallPackages(self._apt, [package], f"install {package}", failure)
            self._changes.make(install)
        tunnel = NewTunnel(lab, self._target, self._changes)
        tunnel.learn_host_key()
        return tunnel

    def _install_tunnel(
        self, tunnel: NewTunnel, lab: NewLab, services: LabServices, release: Path
    ) -> bool:
        """Returns whether it has to be started, or started again."""
        self._changes.make(AddUser(self._target, TUNNEL_USER))
        if tunnel.trust_proxy(release):
            services.restart.add(lab.name)
        changed = tunnel.install(release)
        enable = SwitchUnit(tunnel.unit, f"start {tunnel.unit} with each boot", on=True)
        return self._changes.make(enable) or changed

    def _upgrade(self) -> None:
        self._takes_nothing("upgrade")
        services = self._begin()
        self._need_installation()
        self._check_machine()
        pins = self._has_hardware()
        builder, release = self._build(pins=pins)
        add_extras(builder, release, services, {})
        services.install_files(release, pins=pins)
        for lab in self._target.labs():
            setting = self._target.setting
            host, port = setting(lab, "host", by=release), setting(lab, "port", by=release)
            services.keep_listening(lab, host, port)
            services.hold_safe_at_boot(lab, simulated=self._is_simulated(lab))
        self._activate(services, release)
        self._warn_of_shared_admin()

    def _rollback(self) -> None:
        self._takes_nothing("rollback")
        services = self._begin()
        self._need_installation()
        release = self._target.previous.resolve()
        if not (release / "bin" / "labnode").is_file():
            raise Failed("there is no release before this one to go back to")
        services.install_files(release, pins=self._has_hardware())
        self._activate(services, release)

    def _uninstall(self) -> None:
        self._takes_nothing("uninstall", "; one lab alone goes after --name")
        services = self._begin()
        target, labs = self._target, self._target.labs()
        purge = "purge" in self._options
        if purge and not self._changes.consent("Remove settings, boards and history, too?"):
            raise Failed("nothing was removed; without --purge settings and history stay")
        if "name" in self._options:
            name = check_name(self._options["name"])
            if name not in labs:
                there = f"; there are: {' '.join(labs)}" if labs else ""
                raise Failed(f"there is no lab '{name}' here{there}")
            services.remove_lab(name, purge=purge)
            self._changes.keep()
            return
        for lab in labs:
            services.remove_lab(lab, purge=purge)
        services.remove_files()
        if purge:
            for path in (target.etc, target.var):
                self._changes.make(Remove(path))
            for user in ("labnode", TOOL_USER, TUNNEL_USER):
                self._changes.make(RemoveUser(target, user))
        self._changes.keep()
        if not self._changes.any:
            say("there is nothing to remove")
        elif not self._changes.dry:
            services.reload()

    def _status(self) -> int:
        self._takes_nothing("status")
        target = self._target
        if target.release is None:
            sys.stdout.write("labnode is not installed.\n")
            return 4
        sys.stdout.write(f"release     {target.release.name}\n")
        if target.previous.is_symlink():
            sys.stdout.write(f"before      {target.previous.resolve().name}\n")
        worst = 0
        for lab in target.labs():
            state = state_of(lab)
            sys.stdout.write(f"lab         {lab}: {state}\n")
            said = ask_lab(target, lab, "status") if state == "active" and is_root() else ""
            sys.stdout.write(indented(said or "", 4))
            if state != "active" or said is None:
                worst = 3
        return worst

    def _flash(self) -> None:
        if len(self._options.operands) != 1:
            raise Misused("flash takes one image or device, such as raspios.img or /dev/sdb")
        (path,) = self._options.operands
        if "board" not in self._options:
            raise Misused(f"say which board: ./install.sh flash {path} --board boards/NAME.yaml")
        lab = NewLab(self._options, self._target, self._changes)
        failure = "flash needs mtools: sudo apt-get install mtools"
        if not have("mcopy") and not is_root():
            raise Failed(failure)
        if not have("mcopy"):
            packages = InstallPackages(self._apt, ["mtools"], "install mtools", failure)
            self._changes.make(packages)
        card = Card(path)
        labnode = self._clone.path / "bin" / "labnode"
        if not self._changes.dry:
            self._clone.prepare()
        if labnode.exists() and undisturbed(labnode, "check", lab.board) is None:
            raise Failed("the board has mistakes; see above")
        lab.make_passwords()
        self._changes.make(WriteCard(card, lab, self._clone.path, self._clock))
        self._changes.keep()
        if not self._changes.dry:
            report_card(path, lab, self._clone.path)

    # --- what several of them do ---

    def _check_machine(self) -> None:
        for sentence in shortcomings(self._target, self._clock):
            self._changes.refuse(sentence)

    def _need_installation(self) -> None:
        if self._target.release is None:
            raise Failed(
                "labnode is not installed; sudo ./install.sh --board boards/NAME.yaml does that"
            )

    def _is_simulated(self, lab: str) -> bool:
        return self._target.drop_in_of(lab).exists()

    def _has_hardware(self, but: str = "") -> bool:
        """Whether there is a lab with hardware, besides this one."""
        return any(lab != but and not self._is_simulated(lab) for lab in self._target.labs())

    def _build(self, *, pins: bool) -> tuple[Builder, Path]:
        """The release that the clone makes, built if it is not there yet."""
        builder = Builder(self._options, self._target, self._changes, self._apt, pins=pins)
        release = builder.choose()
        build = BuildRelease(release, builder)
        if build.needed() and builder.pins_said:
            say(builder.pins_said)
        self._changes.make(build)
        return builder, release

    def _provide(self, lab: NewLab, release: Path) -> Needs | None:
        """What the board's drivers need of the system: programs, packages, groups."""
        needs = lab.needs(release)
        groups = list(_GROUPS)
        if needs is None:
            say(
                "install the programs and libraries that the board's devices need, and that are "
                "not here"
            )
        else:
            programs = {
                package
                for name, package in needs.programs.items()
                if not (have(name) or have(f"{name}.py"))
            }
            for package in sorted(programs):
                self._install_for_board(package)
            for package in needs.packages:
                if not ran("dpkg-query", "--show", package):
                    self._install_for_board(package)
            groups = list(dict.fromkeys([*_GROUPS, *needs.groups]))
        self._changes.make(JoinGroups(self._target, "labnode", groups))
        return needs

    def _install_for_board(self, package: str) -> None:
        sentence = f"install {package}, which the board needs"
        failure = f"the board needs {package}, and apt-get could not install it"
        self._changes.make(InstallPackages(self._apt, [package], sentence, failure))

    def _activate(self, services: LabServices, release: Path, new: str | None = None) -> None:
        before = self._target.release
        services.activate(release, wait=int(self._options["wait"] or 600), new=new)
        self._changes.keep()
        if not self._changes.dry and before != release:
            services.forget_old_releases()

    def _warn_of_shared_admin(self) -> None:
        """Before there was an address for it, the administration was where students come."""
        for lab in self._target.labs():
            setting = self._target.setting
            if setting(lab, "admin", "username") and not setting(lab, "admin", "host"):
                say(
                    f"the administration of the lab '{lab}' is where students come; to move it, "
                    "add host: 127.0.0.1, port: 9080 to admin: {...} in "
                    f"{self._target.settings_of(lab)} (docs/admin.md)"
                )


def run_step(words: Sequence[str]) -> None:
    """A step of a release: what has to be done by the Python that the release gets."""
    parser = argparse.ArgumentParser(prog="labnode.install")
    steps = parser.add_subparsers(dest="step", required=True)
    lacking = steps.add_parser("without-wheel", help="libraries that have no wheel here")
    filling = steps.add_parser("fill", help="install labnode into a virtual environment")
    filling.add_argument("release", type=Path)
    filling.add_argument("source", type=Path, help="the clone, or a wheel of labnode")
    filling.add_argument("--debian", action="append", default=[], help="from Debian: this library")
    filling.add_argument("--left-out", action="append", default=[], help="not needed: this one")
    adding = steps.add_parser("add", help="add an extra to a release, such as visa")
    adding.add_argument("release", type=Path)
    adding.add_argument("extra")
    building = steps.add_parser("wheel", help="put a wheel of labnode into a directory")
    collecting = steps.add_parser("collect", help="put all wheels into a directory, for --wheels")
    for step in (building, collecting):
        step.add_argument("directory", type=Path)
    for step in (lacking, filling, adding, building):
        step.add_argument("--wheels", type=Path, help="wheels, instead of an index")
    for step in (filling, adding, building):
        step.add_argument("--tools", type=Path, required=True, help="where pip is")
    here = Platform.this()
    collecting.add_argument("--python", default=here.python, help="of that machine, such as 3.13")
    collecting.add_argument("--processor", default=here.processor, help="such as aarch64, armv7l")
    given = parser.parse_args(words)
    try:
        if given.step == "without-wheel":
            sys.stdout.write("".join(f"{name}\n" for name in without_wheel(given.wheels)))
        elif given.step == "add":
            add(given.release, given.extra, Pip(given.tools, given.wheels))
        elif given.step == "wheel":
            copy_labnode_wheel(given.directory, Pip(given.tools, given.wheels))
        elif given.step == "collect":
            _collect(given.directory.absolute(), Platform(given.python, given.processor))
        else:
            pip = Pip(given.tools, given.wheels)
            fill(given.release, given.source, pip, debian=given.debian, left_out=given.left_out)
    except ConfigError as error:
        sys.exit(str(error))
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)  # pip has said why


def _collect(directory: Path, target: Platform) -> None:
    with tempfile.TemporaryDirectory() as tools:
        venv.create(tools, with_pip=True)
        lacking = collect(directory, target, Pip(Path(tools)))
    for package in (DEBIAN[library][0] for library in lacking):
        sys.stderr.write(f"Not there as a wheel; that machine needs Debian's {package}.\n")


if __name__ == "__main__":
    main()
