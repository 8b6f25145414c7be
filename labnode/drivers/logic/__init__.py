"""Devices without hardware of their own: they hold values, or work with those of others."""
