"""YAML files and texts read into sections, or one sentence why they cannot be read."""

from __future__ import annotations

from pathlib import Path

from labnode.schema.compose import Composer, Secret, unreadable
from labnode.schema.section import Problems, Section

_LARGEST = 1 << 20  # bytes of a file


def load_yaml(
    path: Path, problems: Problems | None = None, secret: Secret | None = None
) -> Section:
    """The file's only document; an empty file gives a section whose content is None.

    With `problems`, what can be read past (a key that is there twice, a value that makes no
    sense) is added to them; a file that cannot be read at all is a ConfigError in any case.
    `secret` gives what `!secret NAME` stands for; without it there are none.
    """
    name = str(path)
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except FileNotFoundError:
        raise unreadable(name, "there is no such file") from None
    except IsADirectoryError:
        raise unreadable(name, "this is a directory, expected a YAML file") from None
    except PermissionError:
        raise unreadable(name, "this user has no right to read the file") from None
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise unreadable(name, f"the file cannot be read: {reason}") from None
    if len(data) > _LARGEST:
        raise unreadable(name, f"the file is larger than {_LARGEST >> 20} MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise unreadable(
            f"{name}:{line}",
            f"the file is not UTF-8 text (byte 0x{data[error.start]:02x}); save it as UTF-8",
        ) from None
    return parse_yaml(text, name, problems, secret)


def parse_yaml(
    text: str, name: str, problems: Problems | None = None, secret: Secret | None = None
) -> Section:
    """As `load_yaml`, for a text; `name` stands where the file's name stands."""
    own = Problems() if problems is None else problems
    section = Composer(text.removeprefix("\ufeff"), name, own, secret).document()
    if problems is None:
        own.raise_all()
    return section
