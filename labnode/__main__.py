"""`python -m labnode`."""

from labnode.cli import main

main(prog_name="labnode")
