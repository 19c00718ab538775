"""How fast a service is asked, and how long to wait when it has had enough."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_BACK_OFF_S = 60.0


class Pace:
    """Lets requests of all connections through one by one, evenly spaced.

    Args:
        per_second: Requests per second.
    """

    def __init__(self, per_second: float) -> None:
        self._gap_s = 1 / per_second
        self._next = 0.0

    async def turn(self) -> None:
        """Wait until a request may be sent."""
        while (wait_s := self._next - time.monotonic()) > 0:
            await asyncio.sleep(wait_s)
        self._next = time.monotonic() + self._gap_s

    def hold(self, seconds: float) -> None:
        """Let no connection send anything for a while."""
        self._next = max(self._next, time.monotonic() + seconds)


def back_off_s(attempt: int, first_s: float) -> float:
    """Seconds to wait before trying again: doubling, at random, a minute at most.

    Chance keeps clients that were refused together from coming back together.

    Args:
        attempt: Number of tries so far, from 1.
        first_s: Mean wait after the first.
    """
    mean = min(first_s * 2.0 ** (attempt - 1), LONGEST_BACK_OFF_S)
    return random.uniform(0.5, 1.5) * mean


def retry_after_s(value: str | None, *, now: datetime | None = None) -> float | None:
    """Read the header ``Retry-After``: seconds, or a date (RFC 9110, 10.2.3).

    >>> retry_after_s("120")
    120.0

    Returns:
        Seconds from now, at least 0; None if there is no such header, or it cannot be read.
    """
    if value is None:
        return None
    try:
        return max(0.0, float(int(value)))
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())
