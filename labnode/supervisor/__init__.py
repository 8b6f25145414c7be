"""Runs other programs for the node: confined, and with nothing left of them afterwards."""
