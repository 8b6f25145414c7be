"""`python -m labnode.supervisor USER` serves the connection on stdin, which USER or root made."""

import sys

from labnode.supervisor.supervise import main

main(sys.argv[1:])
