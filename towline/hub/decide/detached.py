"""What the hub remembers of a cluster that left: whose certificate may still come, and what its agent is to be told.

A row of the store for each Cluster object that is gone, under its uid, so that no later cluster of the same name is meant by it.
They are bounded: by time, and the oldest go when there are many.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from towline.hub.decide.plan import NOTHING, Delete, Plan, Put, Snapshot
from towline.hub.decide.revocations import generation
from towline.hub.decide.revocations import key_of as revocation_key
from towline.kube.exits import exit_of
from towline.kube.objects import Key, Object, name_of, revision_of, uid_of

DETACHED = ("towline.io", "detached")
KEPT_SECONDS = 400 * 86400.0
KEPT_MAX = 1_000
_SURPLUS_MAX = 50


@dataclass(frozen=True, slots=True)
class Detached:
    """One row. `at` is epoch seconds; `generation` counts the revocations of the cluster's certificates (gateway/revocation);
    `member` is the uid of the member that it was."""

    cluster: str
    member: str
    generation: int
    keep_workloads: bool
    remove_agent: bool
    at: float


def detaching(snapshot: Snapshot, cluster: Object, now: float) -> Put:
    """The row of a Cluster, for the commit that ends it."""
    chosen, member = exit_of(cluster), str((cluster.get("spec") or {}).get("id") or "")
    revoked = generation(snapshot.get(revocation_key(cluster)), cluster)
    spec = Detached(name_of(cluster), member, revoked, chosen.keep_workloads, chosen.remove_agent, now)
    row: Object = {"apiVersion": "towline.io/v1", "kind": "Detached", "metadata": {"name": uid_of(cluster)}}
    return Put(key_of(uid_of(cluster)), {**row, "spec": asdict(spec)}, 0)


def detached_of(row: Mapping[str, Any]) -> Detached:
    return Detached(**row["spec"])


def key_of(cluster_uid: str) -> Key:
    return Key(*DETACHED, "", cluster_uid)


def surplus(snapshot: Snapshot) -> list[Delete]:
    """The oldest rows, where one more would be too many; of very many some at a time."""
    rows = snapshot.list(*DETACHED)
    oldest = sorted(rows, key=lambda row: detached_of(row).at)[: max(0, len(rows) + 1 - KEPT_MAX)]
    return [Delete(key_of(name_of(row)), revision_of(row)) for row in oldest[:_SURPLUS_MAX]]


def decide(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """The row at `key` goes when its time is over."""
    row = snapshot.get(key)
    if row is None:
        return NOTHING
    left = detached_of(row).at + KEPT_SECONDS - now
    return Plan(requeue_after_seconds=left) if left > 0 else Plan((Delete(key, revision_of(row)),))
