"""What a session wants done: values that the server carries out, and what the hub says of itself."""

from __future__ import annotations

from dataclasses import dataclass

from towline.hub.decide.capacity import ClusterCapacity
from towline.hub.decide.wire import WorkReport
from towline.proto import fleet_pb2 as fleet


@dataclass(frozen=True, slots=True)
class HubIdentity:
    """What Welcome and Settings say. `epoch` grows with every start of a hub on its store; `epoch_began` is the store's revision at
    which it did (0: not known)."""

    store_id: str
    epoch: int
    heartbeat_seconds: int = 10
    resync_seconds: int = 300
    batch_bytes_max: int = 512 * 1024
    epoch_began: int = 0
    unschedulable_seconds: int = 300
    """How long pods may find no node before their workload moves (Karmada's unschedulable-threshold); 0: for ever."""


@dataclass(frozen=True, slots=True)
class Reported:
    """The agent's latest words on Works that the table has."""

    reports: tuple[WorkReport, ...]


@dataclass(frozen=True, slots=True)
class FactsSeen:
    facts: fleet.Facts


@dataclass(frozen=True, slots=True)
class CapacitySeen:
    capacity: ClusterCapacity


@dataclass(frozen=True, slots=True)
class Answered:
    """How many units of the wish with this key the member has room for; NO_ANSWER where the agent did not say."""

    key: str
    room: int


@dataclass(frozen=True, slots=True)
class HeartbeatSeen:
    api_server_ready: bool


@dataclass(frozen=True, slots=True)
class Welcomed:
    """The agent's Hello was accepted."""

    hello: fleet.Hello


@dataclass(frozen=True, slots=True)
class UnknownHeld:
    """The agent holds Works that the table lacks. Whoever wants to adopt some puts them into the table at once; the
    others go through the delete breaker."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Synced:
    """An exchange is done and its differences are sent."""


@dataclass(frozen=True, slots=True)
class DeletionsHeld:
    """So many removals wait behind the delete breaker; 0: none any more."""

    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class Close:
    """The session is over once the GoAway (the next batch) is sent. `violation`: the agent broke the protocol or claimed to
    be somebody else; that is audited, and the stream ends with PERMISSION_DENIED."""

    reason: str
    reconnect: bool = True
    violation: bool = False


Effect = (
    Reported
    | Answered
    | FactsSeen
    | CapacitySeen
    | HeartbeatSeen
    | Welcomed
    | UnknownHeld
    | Synced
    | DeletionsHeld
    | Close
)
