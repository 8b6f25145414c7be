"""Tasks: what a lab lets run for longer than a request."""

from labnode.tasks.function import TaskFunction
from labnode.tasks.run import Lane
from labnode.tasks.task import Task
from labnode.tasks.tasks import Tasks

__all__ = ["Lane", "Task", "TaskFunction", "Tasks"]
