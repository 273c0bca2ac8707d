"""The clock, so that whatever records a time can be tested without waiting for it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime: ...


class SystemClock:
    """The machine's clock, in UTC, to the second."""

    def now(self) -> datetime:
        """The time now."""
        return datetime.now(UTC).replace(microsecond=0)
