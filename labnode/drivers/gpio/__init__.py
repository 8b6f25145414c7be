"""Devices on the Pi's own pins, and the pins themselves."""
