"""The command of the tests' nodes, in a process that strace may attach to."""

from __future__ import annotations

from tests.kit.strace import may_be_traced
from tests.process import traced

if __name__ == "__main__":
    may_be_traced()
    traced.main(prog_name="labnode")
