"""labnode: the lab's side of a remote laboratory, one process on a Raspberry Pi."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labnode.clock.schedules import crontab
    from labnode.lab import Lab

__all__ = ["Lab", "crontab"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`from labnode import Lab, crontab`, loaded only by those who ask for them."""
    if name == "Lab":
        from labnode.lab import Lab  # noqa: PLC0415

        return Lab
    if name == "crontab":
        from labnode.clock.schedules import crontab  # noqa: PLC0415

        return crontab
    raise AttributeError(name)
