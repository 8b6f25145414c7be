"""Cameras: pictures in JPEG, one after the other."""

from labnode.drivers.camera.driver import Mjpeg

__all__ = ["Mjpeg"]
