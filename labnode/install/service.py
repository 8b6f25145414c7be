"""The services of labs: what systemd and udev know of them, and how they go over to a release."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from labnode.clock import Clock
from labnode.install.changes import Change, Changes, Failed, Remove, SetLink, WriteFile, delete, say
from labnode.install.labs import read_boot, without_block
from labnode.install.programs import Words, ran, told
from labnode.install.release import files_for
from labnode.install.target import OPT, VAR, AddUser, JoinGroups, Target, undisturbed

TOOL_USER = "labnode-tool"
_TOOL_GROUPS = ("dialout", "plugdev", "gpio", "spi")
TUNNELS = "labnode-tunnel@.service"
_TOOL_UNITS = ("labnode-tool.socket", "labnode-tool@.service")
_BUSES = ("gpio", "i2c", "spi")
_COMMAND = str(OPT / "current" / "bin" / "labnode")
_BETWEEN_QUESTIONS = 2.0  # seconds, to a lab that has students
# Whether the lab's own address says that labnode is there.
_ANSWERS = """\
import json, sys, time, urllib.request
from pathlib import Path
from labnode.settings import load_settings
settings = load_settings(Path(sys.argv[1]), {}, {})
host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
url = f"http://{host}:{settings.port}{settings.base_path}/weblab/sessions/api"
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
for attempt in range(20):
    try:
        with opener.open(url, timeout=5) as answer:
            sys.exit(0 if "api_version" in json.load(answer) else 1)
    except (OSError, ValueError):
        time.sleep(0.5)
sys.exit(1)
"""


class RunningLabs(Change):
    """The labs that run before anything is changed: they run again when all is taken back."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.names = [lab for lab in target.labs() if is_active(lab)]
        self.touched = False

    @property
    def sentence(self) -> str:
        return ""

    def do(self) -> None:
        """They are looked at, and not changed."""

    def undo(self) -> None:
        if not self.touched:
            return
        ran("systemctl", "daemon-reload")
        for lab in self.names:
            close_socket(f"labnode@{lab}")
            if ran("systemctl", "restart", f"labnode@{lab}") and answers(self._target, lab):
                say(f"labnode@{lab} runs as before")
            else:
                say(f"labnode@{lab} does not run: journalctl --unit labnode@{lab}")


class SwitchUnit(Change):
    """A unit is started with each boot, or no longer; `now`: it is stopped then, too."""

    def __init__(self, unit: str, sentence: str, *, on: bool, now: bool = False) -> None:
        self._unit = unit
        self._sentence = sentence
        self._on = on
        self._now = now
        self._was_enabled = ran("systemctl", "--quiet", "is-enabled", unit)
        self._was_running = is_running(unit)

    @property
    def sentence(self) -> str:
        return self._sentence

    def needed(self) -> bool:
        return self._was_enabled != self._on or (self._now and self._was_running)

    def do(self) -> None:
        now = ["--now"] if self._now else []
        command = "enable" if self._on else "disable"
        if not ran("systemctl", "--quiet", command, *now, self._unit):
            raise Failed(f"systemd does not take the service {self._unit}")

    def undo(self) -> None:
        command = "enable" if self._was_enabled else "disable"
        ran("systemctl", "--quiet", command, self._unit)
        # One that fails and is started again and again does not count as running.
        ran("systemctl", "--quiet", "start" if self._was_running else "stop", self._unit)


class StopUnit(Change):
    """A unit that runs is stopped."""

    def __init__(self, unit: str) -> None:
        self._unit = unit

    @property
    def sentence(self) -> str:
        return f"stop {self._unit}"

    def needed(self) -> bool:
        return is_running(self._unit)

    def do(self) -> None:
        ran("systemctl", "stop", self._unit)

    def undo(self) -> None:
        ran("systemctl", "start", self._unit)


class Drain(Change):
    """A lab takes no new students."""

    def __init__(self, target: Target, lab: str) -> None:
        self._target = target
        self._lab = lab

    @property
    def sentence(self) -> str:
        return ""

    def do(self) -> None:
        if ask_lab(self._target, self._lab, "drain") is None:
            raise Failed(f"the lab '{self._lab}' does not take the request to let students finish")

    def undo(self) -> None:
        ask_lab(self._target, self._lab, "undrain")


def is_running(unit: str) -> bool:
    return ran("systemctl", "--quiet", "is-active", unit)


def close_socket(unit: str) -> None:
    """Stop a lab and where systemd listens for it."""
    ran("systemctl", "--quiet", "stop", unit, f"{unit}.socket")


def is_active(lab: str) -> bool:
    return is_running(f"labnode@{lab}")


def state_of(lab: str) -> str:
    """As systemd calls it: "active"."""
    said = told("systemctl", "is-active", f"labnode@{lab}", failing=True) or ""
    return said.strip() or "unknown"


def answers(target: Target, lab: str) -> bool:
    python = target.current / "bin" / "python"
    return ran(python, "-I", "-c", _ANSWERS, target.settings_of(lab))


def ask_lab(target: Target, lab: str, *command: Words, shown: bool = True) -> str | None:
    """What a lab that runs answers to one of labnode's commands."""
    labnode = target.current / "bin" / "labnode"
    return target.as_labnode(labnode, *command, "--state-dir", VAR / lab, shown=shown)


class LabServices:
    """What is changed of systemd's and udev's, so that they are told, and of which labs."""

    def __init__(self, target: Target, changes: Changes, clock: Clock) -> None:
        self._target = target
        self._changes = changes
        self._clock = clock
        self.running = RunningLabs(target)
        changes.make(self.running)
        self.restart: set[str] = set()  # labs whose board or drop-in was changed
        self.reboot_needed = False
        self._units_changed = False
        self._tunnels_changed = False
        self._moved: set[str] = set()  # labs that listen somewhere else now
        self._devices_changed = False

    # --- files of the system ---

    def install_files(self, release: Path, *, pins: bool) -> None:
        """udev, modules-load.d, the units and the command: as `release` has them."""
        files, target = files_for(release), self._target
        self._units_changed |= self._unit(files, "labnode@.service")
        if (files / "systemd/labnode-safe@.service").is_file():  # in releases since it was made
            self._unit(files, "labnode-safe@.service")
            if pins and (target.boot_file or target.at("/dev/watchdog").exists()):
                watchdog = (files / "systemd/labnode-watchdog.conf").read_bytes()
                self._changes.make(WriteFile(target.watchdog, watchdog))
        if (files / "systemd/labnode@.socket").is_file():
            self._units_changed |= self._unit(files, "labnode@.socket")
        if (files / "systemd" / _TOOL_UNITS[0]).is_file():  # an older release has none
            self._changes.make(AddUser(target, TOOL_USER))
            self._changes.make(JoinGroups(target, TOOL_USER, _TOOL_GROUPS))
            for unit in _TOOL_UNITS:
                self._units_changed |= self._unit(files, unit)
        if (files / "systemd" / TUNNELS).is_file():
            self._tunnels_changed |= self._unit(files, TUNNELS)
        self._devices(
            target.udev / "70-labnode.rules", (files / "udev/70-labnode.rules").read_text()
        )
        buses = self._bus_rules(files / "udev" / "71-labnode-buses.rules")
        if "SUBSYSTEM" in buses:
            self._devices(target.udev / "71-labnode-buses.rules", buses)
        self._devices(target.modules, self._modules(files / "modules-load" / "labnode.conf"))
        self._link_command()

    def _unit(self, files: Path, name: str) -> bool:
        content = (files / "systemd" / name).read_bytes()
        return self._changes.make(WriteFile(self._target.units / name, content))

    def _devices(self, path: Path, text: str) -> None:
        self._devices_changed |= self._changes.make(WriteFile(path, text))

    def _bus_rules(self, file: Path) -> str:
        """Without the lines of buses for which this system has a group."""
        text = file.read_text(encoding="utf-8")
        groups = self._target.at("/etc/group").read_text(encoding="utf-8", errors="replace")
        for bus in _BUSES:
            if re.search(rf"^{bus}:", groups, re.M):
                text = re.sub(rf'^SUBSYSTEM=="{bus}.*\n', "", text, flags=re.M)
        return text

    def _modules(self, file: Path) -> str:
        """Without the modules that this kernel has not got."""
        return "".join(
            f"{line}\n"
            for line in file.read_text(encoding="utf-8").splitlines()
            if line.startswith("#") or ran("modprobe", "--dry-run", "--quiet", line)
        )

    def _link_command(self) -> None:
        link = self._target.link
        if not link.exists() and not link.is_symlink():
            self._changes.make(SetLink(link, _COMMAND, f"link {link}"))
        elif not self._is_ours(link):
            say(f"{link} is something else and stays; labnode is {_COMMAND}")

    def _is_ours(self, link: Path) -> bool:
        return link.is_symlink() and str(link.readlink()) == _COMMAND

    def keep_listening(self, lab: str, host: str, port: str) -> None:
        """systemd listens there, and keeps who comes while the node is started again.

        Where the settings name a host instead of its address, the node listens itself.
        """
        host = host or "127.0.0.1"
        file = self._target.address_of(lab)
        address = f"{f'[{host}]' if ':' in host else host}:{port or 8080}"
        text = f"# Written by install.sh from the settings.\n[Socket]\nListenStream={address}\n"
        is_name = not re.fullmatch(r"[0-9a-fA-F.:]+", host)
        change = Remove(file.parent) if is_name else WriteFile(file, text)
        if self._changes.make(change):
            self.restart.add(lab)
            self._moved.add(lab)

    def hold_safe_at_boot(self, lab: str, *, simulated: bool) -> None:
        """A lab with hardware has its outputs made safe early in each boot; one without has not."""
        unit = f"labnode-safe@{lab}"
        sentence = f"make the outputs of '{lab}' safe early in each boot: {unit}"
        if simulated:
            sentence = f"remove {unit}"
        self._changes.make(SwitchUnit(unit, sentence, on=not simulated))

    # --- going over to a release ---

    def activate(self, release: Path, *, wait: int, new: str | None = None) -> None:
        """All labs that run go over to `release`, and back when one of them does not get ready.

        `new` is a lab that is new or changed, which has to get ready, too. `wait` is how many
        seconds students have to finish.
        """
        targets = self._targets(release, new)
        goes_over = release != self._target.release
        if self._changes.dry:
            self._tell(release if goes_over else None, targets)
            return
        if not goes_over and not targets:
            if self._changes.any:
                self._refresh()
            else:
                say("nothing to change")
            return
        self._self_test(release)
        self._drain(targets, wait)
        self.running.touched = True
        if goes_over:
            self._go_over(release)
        self._refresh()
        for lab in targets:
            self._start(lab)

    def _targets(self, release: Path, new: str | None) -> list[str]:
        """The labs that have to be started, or started again."""
        all_of_them = release != self._target.release or self._units_changed
        labs = self._target.labs()
        if new is not None and new not in labs:
            labs.append(new)  # in a dry run
        return [
            lab
            for lab in labs
            if (all_of_them or lab in self.restart if lab in self.running.names else lab == new)
        ]

    def _tell(self, release: Path | None, targets: list[str]) -> None:
        if release is not None:
            say(f"go over to {release.name}")
        if targets:
            say(f"start {' '.join(targets)}")
        if release is None and not targets and not self._changes.any:
            say("nothing to change")

    def _self_test(self, release: Path) -> None:
        """The new release has to understand every lab before a link leads to it."""
        labnode = release / "bin" / "labnode"
        for lab in self._target.labs():
            settings = self._target.settings_of(lab)
            if undisturbed(labnode, "weblab-config", "--settings", settings) is None:
                raise Failed(
                    f"labnode {release.name} does not understand the lab '{lab}'; see above"
                )
            board = self._target.at(self._target.setting(lab, "board", by=release))
            if self._target.as_labnode(labnode, "check", board) is None:
                raise Failed(
                    f"labnode {release.name} finds mistakes in the board of the lab '{lab}'; "
                    "see above"
                )

    def _drain(self, labs: Iterable[str], wait: int) -> None:
        """Nobody new gets in, and those who are in may stay for `wait` seconds."""
        running = [lab for lab in labs if lab in self.running.names]
        if wait == 0:
            return
        for lab in running:
            self._changes.make(Drain(self._target, lab))
        end = self._clock.now() + wait
        told_so = False
        while busy := [lab for lab in running if self._has_students(lab)]:
            if self._clock.now() >= end:
                raise Failed(
                    f"students are still at work ({' '.join(busy)}): try again later, or with "
                    "--wait 0 (their sessions go on after the restart)"
                )
            if not told_so:
                say(
                    f"waiting until students have finished ({' '.join(busy)}); --wait says how long"
                )
                told_so = True
            self._clock.event().wait(_BETWEEN_QUESTIONS)

    def _has_students(self, lab: str) -> bool:
        said = ask_lab(self._target, lab, "status", "--json", shown=False)
        return said is not None and '"sessions": [{' in said

    def _go_over(self, release: Path) -> None:
        target = self._target
        before = target.release
        if before is not None:
            self._changes.make(SetLink(target.previous, f"releases/{before.name}"))
        leads_to = f"releases/{release.name}"
        self._changes.make(SetLink(target.current, leads_to, f"go over to {release.name}"))

    def _refresh(self) -> None:
        ran("systemctl", "daemon-reload")
        if self._units_changed and (self._target.units / _TOOL_UNITS[0]).exists():
            ran("systemctl", "try-restart", _TOOL_UNITS[0])
        if self._tunnels_changed:
            ran("systemctl", "try-restart", TUNNELS.replace("@", "@*"))
        if self._devices_changed:
            ran("udevadm", "control", "--reload")
            kinds = ("tty", "usb", "gpio", "i2c-dev", "spidev", "iio", "usbmisc")
            ran("udevadm", "trigger", *(f"--subsystem-match={kind}" for kind in kinds))
            lines = self._target.modules.read_text(encoding="utf-8").splitlines()
            if modules := [line for line in lines if not line.startswith("#")]:
                ran("modprobe", "--all", "--quiet", *modules)

    def _start(self, lab: str) -> None:
        unit = f"labnode@{lab}"
        if lab not in self.running.names:
            self._changes.make(SwitchUnit(unit, "", on=True))
        if self.reboot_needed:
            say(f"the lab '{lab}' starts with the next boot, which its hardware needs: sudo reboot")
            return
        say(f"start {unit}")
        # Its socket opens before it, and not while a node has the port; afterwards it stays open.
        if self._units_changed or lab in self._moved or not is_running(f"{unit}.socket"):
            close_socket(unit)
        started = told("systemctl", "restart", unit, shown=True) is not None
        if not started or not is_active(lab) or not answers(self._target, lab):
            how = ["--lines", "12", "--no-pager", "--output", "cat"]
            journal = told("journalctl", "--unit", unit, *how) or ""
            sys.stderr.write("".join(f"    {line}\n" for line in journal.splitlines()))
            release = self._target.release
            raise Failed(
                f"the lab '{lab}' does not get ready with labnode {release.name if release else ''}"
            )

    def start_tunnel(self, unit: str) -> None:
        """Not waited for: the server may not know the lab's key yet."""
        ran("systemctl", "restart", "--no-block", unit)

    def forget_old_releases(self) -> None:
        kept = {self._target.current.resolve(), self._target.previous.resolve()}
        for release in self._target.releases.iterdir():
            if release.resolve() not in kept:
                delete(release)

    # --- the end ---

    def remove_lab(self, lab: str, *, purge: bool) -> None:
        target, changes = self._target, self._changes
        unit = f"labnode@{lab}"
        changes.make(SwitchUnit(unit, f"stop {unit}", on=False, now=True))
        self.hold_safe_at_boot(lab, simulated=True)
        tunnel = f"labnode-tunnel@{lab}"
        changes.make(SwitchUnit(tunnel, f"stop {tunnel}", on=False, now=True))
        changes.make(Remove(target.drop_in_of(lab).parent))
        changes.make(Remove(target.address_of(lab).parent))
        self._forget_boot(lab, purge=purge)
        if purge:
            boards = target.etc / "boards"
            state = (target.var / lab, target.tunnel_of(lab))
            for path in (boards / lab, boards / f"{lab}.old", *state):
                changes.make(Remove(path))
            changes.make(Remove(target.settings_of(lab)))

    def _forget_boot(self, lab: str, *, purge: bool) -> None:
        file = self._target.boot_file
        if file is None or f"# labnode {lab}: begin\n" not in (text := read_boot(file)):
            return
        without = without_block(lab, text).rstrip("\n") + "\n"
        self._changes.make(WriteFile(file, without.encode("utf-8", "surrogateescape"), 0o755))
        if purge:
            self._changes.make(Remove(file.with_name(f"{file.name}.before-labnode")))

    def remove_files(self) -> None:
        """All that `install_files` has written, and all releases."""
        target, changes = self._target, self._changes
        changes.make(StopUnit(_TOOL_UNITS[0]))
        labs = ("labnode@.service", "labnode@.socket", "labnode-safe@.service", TUNNELS)
        for unit in (*labs, *_TOOL_UNITS):
            changes.make(Remove(target.units / unit))
        watchdogs = target.watchdog.parent
        alone = watchdogs.is_dir() and list(watchdogs.iterdir()) == [target.watchdog]
        changes.make(Remove(watchdogs if alone else target.watchdog))
        for rules in ("70-labnode.rules", "71-labnode-buses.rules"):
            changes.make(Remove(target.udev / rules))
        changes.make(Remove(target.modules))
        if self._is_ours(target.link):
            changes.make(Remove(target.link))
        changes.make(Remove(target.opt))

    def reload(self) -> None:
        """After `remove_files`."""
        ran("systemctl", "daemon-reload")
        ran("udevadm", "control", "--reload")
