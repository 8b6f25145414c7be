"""The small node of tests/sessions, for tests of what a lab's author writes against."""

from __future__ import annotations

from tests.sessions.conftest import boot, clock, lab, node

__all__ = ["boot", "clock", "lab", "node"]
