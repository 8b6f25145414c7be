"""`labnode doctor`: whether this machine and its settings are fit for a lab."""

from labnode.doctor.examine import examine
from labnode.doctor.finding import Finding, Level, Patient, SystemUser

__all__ = ["Finding", "Level", "Patient", "SystemUser", "examine"]
