"""What a session sends of a Work, in which order, and how much of it may be under way."""

from __future__ import annotations

from functools import lru_cache

from towline.hub.decide.wire import Conflict, WireWork
from towline.proto import fleet_pb2 as fleet

IN_FLIGHT_BATCHES_MAX = 8
IN_FLIGHT_BYTES_MAX = 4 * 1024 * 1024
STALL_SECONDS_MAX = 60.0
"""How long Works may stay without an Ack; then the reader is cut off and resyncs."""

_KIND_RANK = {"Namespace": 0, "CustomResourceDefinition": 1, "ServiceAccount": 2, "ConfigMap": 3, "Secret": 3}
_OTHER_RANK = 4
_CONFLICTS = {Conflict.ABORT: fleet.ABORT, Conflict.OVERWRITE: fleet.OVERWRITE, Conflict.SHARE: fleet.SHARE}


class Credit:
    """Bounds what one agent has not acknowledged yet, so that a slow one costs neither memory nor anybody else's time."""

    __slots__ = ("_bytes", "_flights", "spent_batches")

    def __init__(self) -> None:
        self._flights: list[tuple[int, int, float]] = []
        self._bytes = 0
        self.spent_batches = 0

    def spend(self, sequence: int, size_bytes: int, now: float) -> None:
        self._flights.append((sequence, size_bytes, now))
        self._bytes += size_bytes
        self.spent_batches += 1

    def repay(self, sequence: int) -> None:
        while self._flights and self._flights[0][0] <= sequence:
            self._bytes -= self._flights.pop(0)[1]

    @property
    def is_spent(self) -> bool:
        return len(self._flights) >= IN_FLIGHT_BATCHES_MAX or self._bytes >= IN_FLIGHT_BYTES_MAX

    @property
    def stalls_at(self) -> float:
        return self._flights[0][2] + STALL_SECONDS_MAX if self._flights else float("inf")

    def is_stalled(self, now: float) -> bool:
        return now >= self.stalls_at


class Standing:
    """What an agent is to know while it is connected: the latest frame of each kind, said in every exchange and when it changes."""

    __slots__ = ("_due", "_frames", "_met")

    def __init__(self) -> None:
        self._frames: dict[str, fleet.HubFrame] = {}
        self._due: dict[str, None] = {}
        self._met = False

    def put(self, kind: str, frame: fleet.HubFrame) -> None:
        if frame != self._frames.get(kind):
            self._frames[kind] = frame
            if self._met:  # before, the first exchange brings it
                self._due[kind] = None

    def again(self) -> None:
        """An exchange begins, which repairs whatever was lost."""
        self._met = True
        self._due = dict.fromkeys(self._frames)

    def next(self) -> fleet.HubFrame | None:
        """What is to be said, if anything is."""
        if not self._due:
            return None
        kind = next(iter(self._due))
        del self._due[kind]
        return self._frames[kind]


@lru_cache(maxsize=256)
def shared(frame: bytes) -> fleet.HubFrame:
    """One frame for all sessions that are to say the same. Never changed."""
    return fleet.HubFrame.FromString(frame)


def order_of(work: WireWork | None) -> tuple[bool, int, str]:
    """Sorts an outbox. Upserts before removals; what others need first to come and last to go. None is a removal of a Work
    that the hub does not know."""
    if work is None:
        return True, 0, ""
    rank = min((_KIND_RANK.get(ref.kind, _OTHER_RANK) for ref in work.refs), default=_OTHER_RANK)
    return work.removing, -rank if work.removing else rank, work.name


def upsert_of(work: WireWork) -> fleet.Work:
    return fleet.Work(
        name=work.name, uid=work.uid, revision=work.revision, hash=work.hash,
        manifests=work.manifests, conflict=_CONFLICTS[work.conflict], preserve=work.preserve,
        stop_after_seconds=work.stop_after_seconds,
    )  # fmt: skip


def removal_of(work: WireWork) -> fleet.Removal:
    objects = [
        fleet.ObjectRef(api_version=ref.api_version, kind=ref.kind, namespace=ref.namespace, name=ref.name)
        for ref in work.refs
    ]
    return fleet.Removal(
        name=work.name, uid=work.uid, revision=work.revision, preserve=work.preserve, objects=objects
    )  # fmt: skip
