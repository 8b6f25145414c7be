"""Tasks: what a lab lets run for longer than a request."""

from labnode.tasks.api import Task, TaskFunction
from labnode.tasks.runs import Lane
from labnode.tasks.tasks import Tasks
from labnode.tasks.timers import Recurrence

__all__ = ["Lane", "Recurrence", "Task", "TaskFunction", "Tasks"]
