"""What a confined program may not do: Landlock, seccomp and resource limits, for this process."""

# pathlib takes long to load on a small Pi, and this starts for every file that is written.
# ruff: noqa: PTH112, PTH119, PTH120, PTH123, PTH208
from __future__ import annotations

import ctypes
import errno
import os
import resource
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress

# prctl(2)
_SET_PDEATHSIG, _SET_SECCOMP, _SET_SECUREBITS = 1, 22, 28
_SET_CHILD_SUBREAPER, _SET_NO_NEW_PRIVS = 36, 38
_SECCOMP_MODE_FILTER = 2
_NO_ROOT = 0b11  # a program of root has no capabilities, for good

# Landlock, linux/landlock.h: the numbers of the system calls are the same on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1  # flag
_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_DEVICE = _READ_FILE | _WRITE_FILE | _READ_DIR | _TRUNCATE | _IOCTL_DEV
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # how many bits of rights a version knows; later ones: 16
_NO_TCP = 0b11  # bind and connect, since version 4
_SCOPED = 0b11  # abstract sockets and signals stay inside, since version 6

# What programs are made of. Nothing of /home, /var, /tmp or /run, and of /etc no settings of labs.
_SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store"),
    *("/proc", "/sys", "/run/udev"),
)
_NOT_OF_ETC = {"labnode", "shadow", "gshadow"}
_PARTS = ("bin", "lib", "lib32", "lib64", "libexec", "pyvenv.cfg")  # of where else a program is
_FOR_ALL = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")

_ARCHITECTURES = {  # AUDIT_ARCH_ and the number of socket(2), by the machine and its bits
    ("x86_64", 64): (0xC000003E, 41),
    ("aarch64", 64): (0xC00000B7, 198),
    ("riscv64", 64): (0xC00000F3, 198),
    ("arm", 32): (0x40000028, 281),
}
_IO_URING_SETUP = 425  # would make sockets without socket(2)
_X32 = 0x40000000  # system calls of another kind that has the same AUDIT_ARCH
_ALLOW, _DENY = 0x7FFF0000, 0x00050000 | 1  # EPERM

_MOST_FILE = 256 << 20  # bytes that it may write into one file
_MOST_DATA = 2 << 30  # bytes
_MOST_OPEN = 256
_MORE_PROCESSES = 256  # of this user, than there are now
_LIKELY_VICTIM = 700  # of 1000: when memory runs out, this goes before the node

_libc = ctypes.CDLL(None, use_errno=True)


def landlock_version() -> int:
    """Which Landlock the kernel has; 0 without it, or where a filter keeps it from us."""
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)))


def adopt_orphans() -> None:
    """Become the parent of every descendant that loses its own."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def die_with_parent(number: int) -> None:
    """Get the signal `number` when the parent ends."""
    _prctl(_SET_PDEATHSIG, number)


def confine(
    program: str,
    folder: str,
    devices: Iterable[str],
    writable: Iterable[str],
    processor_time: int,
) -> None:
    """Give up everything but what a program needs that writes a chip; children inherit it.

    It may read the system and the directories that `program` is in, write below `folder` and
    `writable`, and use `devices`. It gets no sockets but those of this machine, and limits;
    `processor_time` is in seconds. What the kernel does not have is left out.
    """
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write(str(_LIKELY_VICTIM))
    _limit(processor_time)
    with suppress(PermissionError):  # of others than root
        _prctl(_SET_SECUREBITS, _NO_ROOT)
    _prctl(_SET_NO_NEW_PRIVS, 1)
    _restrict_files(_reach(program, folder, devices, writable))
    _restrict_sockets()


# ------------------------------------------------------------------ limits


def _limit(processor_time: int) -> None:
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: _MOST_FILE,
        resource.RLIMIT_DATA: _MOST_DATA,
        resource.RLIMIT_NOFILE: _MOST_OPEN,
        resource.RLIMIT_CPU: processor_time,
        resource.RLIMIT_NPROC: _threads_of(os.getuid()) + _MORE_PROCESSES,
    }
    for kind, limit in limits.items():
        _, hard = resource.getrlimit(kind)
        most = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (most, most))


def _threads_of(uid: int) -> int:
    """How many threads a user has, which is what RLIMIT_NPROC counts."""
    threads = 0
    for entry in os.scandir("/proc"):
        with suppress(OSError):  # ended meanwhile
            if entry.name.isdigit() and entry.stat().st_uid == uid:
                with open(f"/proc/{entry.name}/stat", "rb") as file:
                    threads += int(file.read().rpartition(b")")[2].split()[17])
    return threads


# ------------------------------------------------------------------ files


def _reach(
    program: str, folder: str, devices: Iterable[str], writable: Iterable[str]
) -> Iterator[tuple[str, int]]:
    """The paths that a program may use, and the rights on what is beneath them."""
    yield from ((path, _READ) for path in _SYSTEM)
    for name in os.listdir("/etc"):
        if name not in _NOT_OF_ETC:
            yield f"/etc/{name}", _READ
    name = os.path.basename(program)
    for path in {program, os.path.realpath(program)}:
        yield path, _READ
        prefix = os.path.dirname(path).removesuffix("/bin")  # /opt/x for /opt/x/bin/flash
        yield from ((f"{prefix}/{part}", _READ) for part in (*_PARTS, name, f"share/{name}"))
    beside = os.path.dirname(sys.executable).removesuffix("/bin")
    for prefix in {beside, sys.base_prefix}:  # programs in Python are often beside labnode
        yield from ((f"{prefix}/{part}", _READ) for part in _PARTS)
    yield from ((f"{path}/.", ~0) for path in (folder, *writable))  # the dot mounts an automount
    yield from ((path, _DEVICE) for path in (*_FOR_ALL, *devices))


def _restrict_files(reach: Iterable[tuple[str, int]]) -> None:
    version = landlock_version()
    if version == 0:
        return
    known = (1 << _RIGHTS.get(version, 16)) - 1
    handled = struct.pack(
        "=QQQ", known, _NO_TCP if version >= 4 else 0, _SCOPED if version >= 6 else 0
    )
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = _call(_CREATE_RULESET, handled, ctypes.c_size_t(size), 0)
    for path, rights in reach:
        with suppress(OSError):  # this system has no such path
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            possible = known if os.path.isdir(path) else known & _FILE_RIGHTS
            rule = struct.pack("=Qi", rights & possible, descriptor)
            _call(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
            os.close(descriptor)
    _call(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


# ------------------------------------------------------------------ sockets


def _restrict_sockets() -> None:
    """No sockets but AF_UNIX, and AF_NETLINK, by which libusb hears of devices."""
    bits = 64 if sys.maxsize > 1 << 32 else 32
    machine = os.uname().machine
    if bits == 32 and machine.startswith(("arm", "aarch64")):
        machine = "arm"  # also on a 64-bit kernel
    if (machine, bits) not in _ARCHITECTURES:
        return
    architecture, socket = _ARCHITECTURES[machine, bits]
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
    steps = [  # code, jump if true, jump if not, value; offsets are those of struct seccomp_data
        (load, 0, 0, 4),  # the architecture
        (equal, 0, 8, architecture),
        (load, 0, 0, 0),  # the number
        (at_least, 6, 0, _X32),
        (equal, 5, 0, _IO_URING_SETUP),
        (equal, 0, 3, socket),
        (load, 0, 0, 16),  # the low half of the first argument: the family
        (equal, 1, 0, 1),  # AF_UNIX
        (equal, 0, 1, 16),  # AF_NETLINK
        (give, 0, 0, _ALLOW),
        (give, 0, 0, _DENY),
    ]
    filters = _buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = _buffer(struct.pack("@HP", len(steps), ctypes.addressof(filters)))
    try:
        _prctl(_SET_SECCOMP, _SECCOMP_MODE_FILTER, program)
    except OSError as error:
        if error.errno != errno.EINVAL:  # prctl(2): a kernel without such filters, or an emulator
            raise


def _buffer(data: bytes) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(data, len(data))


# ------------------------------------------------------------------ calls


def _prctl(*arguments: object) -> None:
    _checked(_libc.prctl(*map(_long, arguments), *[ctypes.c_ulong(0)] * (5 - len(arguments))))


def _long(argument: object) -> object:
    return ctypes.c_ulong(argument) if isinstance(argument, int) else argument


def _call(number: int, *arguments: object) -> int:
    return _checked(_libc.syscall(ctypes.c_long(number), *arguments))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
