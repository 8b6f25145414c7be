"""Devices that are programs run on the Pi."""
