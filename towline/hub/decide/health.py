"""A Cluster's status from what its session shows: Ready, the APIs it serves, its version (Karmada 1.1, 2.8)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from towline.hub.decide.capacity import ClusterCapacity
from towline.hub.decide.conditions import condition, epoch, with_condition
from towline.hub.decide.plan import NOTHING, EventNote, Plan, Put, Snapshot
from towline.kube.objects import Key, Object, name_of, revision_of

SILENCE_SECONDS = 40.0
"""How long a cluster may be silent before its state is unknown (Karmada's cluster-monitor-grace-period)."""
DELETIONS_HELD = "DeletionsHeld"
"""The condition of a Cluster whose deletions the breaker holds back; its reason is the breaker's."""
STARTUP_SECONDS = 60.0
"""The same for a cluster that never reported (cluster-startup-grace-period)."""


Enablements = tuple[tuple[str, tuple[tuple[str, str], ...]], ...]


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What an agent says of its cluster. `api_enablements`: (groupVersion, ((resource, kind), ...)), sorted."""

    kubernetes_version: str = ""
    api_server_ready: bool = False
    api_server_message: str = ""
    api_enablements: Enablements = ()
    api_enablements_complete: bool = False


@dataclass(frozen=True, slots=True)
class Contact:
    """A cluster's session: whether it is up, since when it is so, when it was heard last (epoch seconds)."""

    connected: bool
    since: float
    heard: float
    facts: ClusterFacts | None = None
    deletions_held: tuple[int, str] = (0, "")
    """How many Works unknown to the hub the delete breaker keeps in the member, and why."""
    capacity: ClusterCapacity | None = None
    """None: the agent has not counted."""


def decide(snapshot: Snapshot, key: Key, now: float, contact: Contact | None, hub_started: float) -> Plan:
    """The status of the Cluster at `key`.

    The hub's own start counts as a sign of life: it must not declare a fleet lost because it was away itself."""
    cluster = snapshot.get(key)
    if cluster is None:
        return NOTHING
    status: dict[str, Any] = dict(cluster.get("status") or {})
    facts = contact.facts if contact is not None else None
    if facts is not None:
        status |= _described(facts)
    value, reason, message, wake = _ready(cluster, contact, hub_started, now)
    conditions = status.get("conditions")
    if value is not None and _says(status, "Ready") != (value, reason, message):
        conditions = with_condition(conditions, "Ready", value, reason, message, now)
    if facts is not None:
        apis = _enablement_condition(facts)
        if _says(status, "CompleteAPIEnablements") != apis:
            conditions = with_condition(conditions, "CompleteAPIEnablements", *apis, now)
    breaker = _breaker_condition(name_of(cluster), contact, status)
    if breaker is not None and _says(status, DELETIONS_HELD) != breaker:
        conditions = with_condition(conditions, DELETIONS_HELD, *breaker, now)
    if conditions is not None:
        status["conditions"] = conditions
    if status == (cluster.get("status") or {}):
        return Plan(requeue_after_seconds=wake)
    events: tuple[EventNote, ...] = ()
    if value is not None and _says(cluster.get("status"), "Ready")[:1] != (value,):
        kind = "Normal" if value == "True" else "Warning"
        events = (EventNote(cluster, kind, reason, message),)
    return Plan((Put(key, {**cluster, "status": status}, revision_of(cluster)),), events, wake)


def _ready(
    cluster: Object, contact: Contact | None, hub_started: float, now: float
) -> tuple[str | None, str, str, float | None]:
    """Status, reason and message of Ready (None: leave it), and after how many seconds it may be another."""
    name = name_of(cluster)
    if contact is not None and contact.facts is not None:
        silent = now - contact.heard
        if silent <= SILENCE_SECONDS:
            wake = SILENCE_SECONDS - silent + 0.1
            if contact.facts.api_server_ready:
                return "True", "ClusterReady", "cluster is healthy and ready to accept workloads", wake
            said = contact.facts.api_server_message or "the member's API server is not ready"
            return (
                "False",
                "ClusterNotReady",
                f"cluster is reachable but health endpoint responded without ok: {said}",
                wake,
            )
        return "Unknown", "ClusterStatusUnknown", f"the agent of cluster {name} stopped reporting", None
    present = condition(cluster.get("status"), "Ready")
    grace = STARTUP_SECONDS if present is None else SILENCE_SECONDS
    created = epoch((cluster.get("metadata") or {}).get("creationTimestamp")) or 0.0
    heard = max(hub_started, created, contact.heard if contact is not None else 0.0)
    left = heard + grace - now
    if left > 0:
        return None, "", "", left + 0.1
    if present is None:
        return "Unknown", "ClusterStatusNeverUpdated", f"the agent of cluster {name} never reported", None
    if present.get("reason") == "ClusterStatusNeverUpdated":
        return None, "", "", None
    return "Unknown", "ClusterStatusUnknown", f"the agent of cluster {name} stopped reporting", None


def _described(facts: ClusterFacts) -> dict[str, Any]:
    described: dict[str, Any] = {}
    if facts.kubernetes_version:
        described["kubernetesVersion"] = facts.kubernetes_version
    if facts.api_enablements:
        described["apiEnablements"] = _enablements(facts.api_enablements)
    return described


@lru_cache(maxsize=2048)
def _enablements(enablements: Enablements) -> list[Object]:
    """Shared between decisions, and between clusters that serve the same; never changed."""
    return [
        {"groupVersion": group, "resources": [{"name": name, "kind": kind} for name, kind in resources]}
        for group, resources in enablements
    ]


def _enablement_condition(facts: ClusterFacts) -> tuple[str, str, str]:
    if facts.api_enablements_complete:
        return "True", "Complete", "collected complete APIEnablements"
    if facts.api_enablements:
        return "False", "Partial", "might collect partial APIEnablements"
    return "False", "Empty", "collected empty APIEnablements"


def _breaker_condition(name: str, contact: Contact | None, status: Any) -> tuple[str, str, str] | None:
    """Said from the first time that the breaker held something; None before."""
    if contact is None:
        return None
    count, why = contact.deletions_held
    if count:
        hint = f"`towline release {name}` lets them go"
        return "True", "DeleteBreaker", f"{count} objects unknown to the hub are kept: {why}; {hint}"
    return (
        None if condition(status, DELETIONS_HELD) is None else ("False", "Released", "no deletions are held")
    )


def _says(status: Any, kind: str) -> tuple[str | None, str, str]:
    found = condition(status, kind) or {}
    return found.get("status"), str(found.get("reason") or ""), str(found.get("message") or "")
