"""The hardware thread, which alone touches devices, and the background threads beside it."""

from labnode.worker.hardware import Hook, Job, Source, check_in_time, harmless
from labnode.worker.worker import Worker

__all__ = ["Hook", "Job", "Source", "Worker", "check_in_time", "harmless"]
