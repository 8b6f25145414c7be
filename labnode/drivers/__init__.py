"""Drivers: one file and one class per kind of device."""
