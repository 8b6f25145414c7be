"""The command of the tests' nodes with a database that syncs nothing: what must be found out."""

from __future__ import annotations

from labnode.store import file

file._PRAGMAS = file._PRAGMAS.replace("synchronous = FULL", "synchronous = OFF")

if __name__ == "__main__":
    from tests.process import traced

    traced.main(prog_name="labnode")
