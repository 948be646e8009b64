"""The delete breaker of one cluster: how many Works that the hub does not know an agent may be told to remove.

A hub that came back without its data, or computed nonsense, must not empty its members within seconds. What was asked
for by name (a tombstone in a binding's status) does not pass through here. Outlives sessions: reconnecting earns nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from towline.hub.decide.health import DELETIONS_HELD
from towline.kube.objects import Object

PER_MINUTE_MIN = 10
PER_MINUTE_SHARE = 0.2
WINDOW_SECONDS = 60.0
_ALL = 2**63

EPOCH_REGRESSION = "EpochRegression"
"""The agent was synced by a later start of this store: the store was restored from an old copy."""
STORE_REPLACED = "StoreReplaced"
"""The agent was synced by another store."""
DELETE_LIMIT = "DeleteLimit"
"""More deletions at once than are let through in a minute."""


@dataclass(slots=True)
class Breaker:
    """`hold` is why nothing passes at all (one of the reasons above, empty when it may); it stays until a release, because a
    second connection would otherwise no longer show what the first one did. `released` lets everything pass."""

    hold: str = ""
    released: bool = False
    _window_began_at: float = float("-inf")
    _used: int = 0

    def release(self, released: bool) -> None:
        """What an administrator says (annotation `towline.io/release-deletions` on the Cluster). Ends a hold for good."""
        self.released = released
        if released:
            self.hold = ""

    def spend_window(self, now: float) -> None:
        """Nothing passes for one window: it is not known how much has passed already."""
        self._window_began_at, self._used = now, _ALL

    def take(self, wanted: int, held_works: int, now: float) -> int:
        """How many of `wanted` removals may go to an agent that holds `held_works`; they count as done."""
        if self.released:
            return wanted
        if self.hold:
            return 0
        if now - self._window_began_at >= WINDOW_SECONDS:
            self._window_began_at, self._used = now, 0
        granted = min(wanted, max(0, limit(held_works) - self._used))
        self._used += granted
        return granted

    @property
    def opens_at(self) -> float:
        """When more may pass, should nothing be left now."""
        return float("inf") if self.hold else self._window_began_at + WINDOW_SECONDS

    @property
    def reason(self) -> str:
        return self.hold or DELETE_LIMIT


def limit(held_works: int) -> int:
    """Removals a minute for an agent with so many Works."""
    return max(PER_MINUTE_MIN, int(held_works * PER_MINUTE_SHARE))


def hold_of(cluster: Object) -> str:
    """The hold that an earlier hub put on a cluster's deletions and nobody has released."""
    for condition in (cluster.get("status") or {}).get("conditions") or ():
        if condition.get("type") == DELETIONS_HELD and condition.get("status") == "True":
            reason = str(condition.get("reason") or "")
            return reason if reason in (EPOCH_REGRESSION, STORE_REPLACED) else ""
    return ""
