"""What travels between hub and agents, as the hub's own values: Works on their way out, reports on their way in.

The gateway turns them into frames (proto/fleet.proto); the decisions and the Work table never see protobuf.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import orjson

from towline.proto.digest import report_hash


class Conflict(IntEnum):
    """What an agent does about an object that exists and is not ours. The numbers are those of the protocol."""

    ABORT = 0
    OVERWRITE = 1
    SHARE = 2


class Phase(IntEnum):
    """How far a Work got in its member. The numbers are those of the protocol."""

    UNKNOWN = 0
    APPLIED = 1
    FAILED = 2
    REMOVED = 3


class ObjectRef(NamedTuple):
    """One of a Work's objects, so that an agent without its disk can find it."""

    api_version: str
    kind: str
    namespace: str
    name: str


class Blocked(NamedTuple):
    """Why a cluster is not sent what it should hold: an override policy, as events name it, and what is wrong with which rule."""

    policy: str
    why: str

    def __str__(self) -> str:
        return f"{self.policy}: {self.why}"


@dataclass(frozen=True, slots=True)
class Applied:
    """The override policies that changed a Work, as events name them, and what the Work's annotations say of them."""

    policies: tuple[str, ...]
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class WireWork:
    """What one cluster must hold under one name, or must let go of (`removing`).

    `pieces` are the manifests in pieces, because all but a few bytes of a binding's manifests are the same in every cluster:
    the pieces are shared, `manifests` joins them. A `suspended` Work is not sent anew, but what the agent holds stays.
    """

    name: str
    uid: str
    revision: int
    """The snapshot's revision that it was computed at."""
    hash: bytes
    """proto.digest.work_hash; 16 zero bytes for a removal."""
    pieces: tuple[tuple[bytes, ...], ...]
    conflict: Conflict = Conflict.ABORT
    preserve: bool = False
    suspended: bool = False
    removing: bool = False
    refs: tuple[ObjectRef, ...] = ()
    report_hash: bytes = b""
    """Of the last report that is durably known (for a namespace: that is known at all); empty when there is none."""
    overrides: Applied | None = None
    blocked: Blocked | None = None
    """What keeps the cluster from getting what it should. The Work is what it was before then, or has no manifests where that
    is not known (any more)."""
    stop_after_seconds: int = 0
    """The agent stops it by itself when it is cut off longer than that; 0: never."""

    @property
    def held_back(self) -> bool:
        """Whether nothing is sent, and the agent keeps what it has."""
        return self.suspended or (self.blocked is not None and not self.pieces)

    @property
    def manifests(self) -> tuple[bytes, ...]:
        return tuple(b"".join(parts) for parts in self.pieces)

    def is_same(self, other: WireWork) -> bool:
        """Whether nothing changed that anybody is told; only the revision may differ."""
        return (
            self.uid == other.uid
            and self.hash == other.hash
            and self.removing == other.removing
            and self.suspended == other.suspended
            and self.preserve == other.preserve
            and self.report_hash == other.report_hash
            and self.refs == other.refs
            and self.blocked == other.blocked
            and self.overrides == other.overrides
        )


class ManifestStatus(NamedTuple):
    """One object's state in the member, as the agent reflected it. `status` is JSON, b"" for none."""

    ordinal: int
    api_version: str
    kind: str
    resource: str
    namespace: str
    name: str
    status: bytes
    health: str


@dataclass(frozen=True, slots=True)
class WorkReport:
    """The latest that an agent said of a Work."""

    name: str
    uid: str
    work_hash: bytes
    phase: Phase
    message: str = ""
    statuses: tuple[ManifestStatus, ...] = ()
    hash: bytes = b""
    drift: str = ""


def canonical(value: Any) -> bytes:
    """A status as both sides hash it; b"" for none."""
    return b"" if value is None else orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def hash_of_report(phase: Phase, message: str, statuses: Iterable[tuple[str, Any]]) -> bytes:
    """`statuses` are (health, parsed status or None) in the order of the manifests."""
    return report_hash(int(phase), message, [(health, canonical(status)) for health, status in statuses])
