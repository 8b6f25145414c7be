"""`labnode doctor`: whether this machine and its settings are fit for a lab, in words."""

from labnode.doctor.examine import Finding, Level, Patient, examine

__all__ = ["Finding", "Level", "Patient", "examine"]
