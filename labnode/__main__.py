"""`python -m labnode` is the command `labnode`."""

from labnode.cli import main

main(prog_name="labnode")
