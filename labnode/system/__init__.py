"""The machine around the node: systemd, the journal, the Raspberry Pi, metrics."""
