"""labnode's commands, given in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from labnode.cli import main


class Said(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Said]


def labnode_with(capsys: pytest.CaptureFixture[str], *first: str) -> Run:
    """What runs labnode with the arguments `first` and its own."""

    def run(*arguments: object) -> Said:
        with pytest.raises(SystemExit) as end:
            main([*first, *map(str, arguments)], prog_name="labnode")
        assert isinstance(end.value.code, int)
        return Said(end.value.code, *capsys.readouterr())

    return run
