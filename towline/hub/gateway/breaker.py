"""The delete breaker of one cluster: how many Works that the hub does not know an agent may be told to remove.

A hub that came back without its data, or computed nonsense, must not empty its members within seconds. What was asked
for by name (a tombstone in a binding's status) does not pass through here. Outlives sessions: reconnecting earns nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from towline.hub.decide.health import DELETE_LIMIT, DELETIONS_HELD, EPOCH_REGRESSION, STORE_REPLACED
from towline.hub.gateway.effects import HubIdentity
from towline.kube.objects import Object
from towline.proto import fleet_pb2 as fleet

PER_MINUTE_MIN = 10
PER_MINUTE_SHARE = 0.2
WINDOW_SECONDS = 60.0
_ALL = 2**63


@dataclass(slots=True)
class Breaker:
    """`hold` is why nothing passes at all (EPOCH_REGRESSION or STORE_REPLACED, empty when it may); it stays until a release, because a
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

    def doubt(self) -> None:
        """This store lacks what the agent was told by it. Nothing passes, unless an administrator has said already that it may."""
        if not self.released:
            self.hold = EPOCH_REGRESSION

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


def hold_of(hub: HubIdentity, hello: fleet.Hello) -> str:
    """What an agent's first word says against this hub; empty: nothing."""
    if not hello.store_id:
        return ""
    if hello.store_id != hub.store_id:
        return STORE_REPLACED
    return EPOCH_REGRESSION if hello.epoch > hub.epoch else ""


def is_from_the_future(hub: HubIdentity, hello: fleet.Hello, unknown: Iterable[fleet.Held]) -> bool:
    """Whether an agent holds Works that are unknown here and can only have come from changes that this store has lost: it was synced
    in an earlier epoch, and they are not older than this one. The epoch alone does not show that of a copy from the last epoch."""
    if not hub.epoch_began or hello.store_id != hub.store_id or hello.epoch >= hub.epoch:
        return False
    return any(held.revision >= hub.epoch_began for held in unknown)


def held_before(cluster: Object) -> str:
    """The hold that an earlier hub put on a cluster's deletions and nobody has released."""
    for condition in (cluster.get("status") or {}).get("conditions") or ():
        if condition.get("type") == DELETIONS_HELD and condition.get("status") == "True":
            reason = str(condition.get("reason") or "")
            return reason if reason in (EPOCH_REGRESSION, STORE_REPLACED) else ""
    return ""
