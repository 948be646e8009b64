"""For how long the agent has been cut off from its hub, and what must not run any more because of that (`stopAfterSeconds`).

Pure. It errs to one side: whatever is not known counts as cut off, so that what must never run twice stops too early, never too late.
"""

from __future__ import annotations

from towline.agent.desired import Desired, HeldWork


class Cutoff:
    """`now` is seconds of a clock that only goes forward, while the machine sleeps too; `wall` epoch seconds.

    `heard_at` is what an earlier run kept: with a wall clock that went back, or without it, it is cut off for ever."""

    def __init__(self, heard_at: float | None, now: float, wall: float) -> None:
        away = wall - heard_at if heard_at is not None else -1.0
        self._since = now - away if away >= 0 else float("-inf")

    def heard(self, since: float) -> bool:
        """The hub heard what was sent at `since`. False when that is no news."""
        if since <= self._since:
            return False
        self._since = since
        return True

    def seconds(self, now: float) -> float:
        return now - self._since

    def stops(self, row: HeldWork, now: float) -> bool:
        """Whether nothing of this Work may run."""
        return 0 < row.stop_after_seconds <= self.seconds(now)

    def stopped(self, desired: Desired, now: float) -> set[str]:
        """The Works of which nothing may run."""
        away = self.seconds(now)
        return {name for name, seconds in desired.bounded.items() if seconds <= away}
