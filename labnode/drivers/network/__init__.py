"""Devices that are reached over the network."""
