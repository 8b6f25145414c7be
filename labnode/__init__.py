"""labnode: the lab's side of a remote laboratory, one process on a Raspberry Pi."""

__version__ = "0.1.0"
