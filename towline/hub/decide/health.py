"""A Cluster's status from what its session shows: Ready, the APIs it serves, its version; and the taints that follow from Ready
(Karmada 1.1, 2.8).

Status and taints go in one commit: what waits for a cluster is woken once, when all that it needs is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from towline.hub.decide import taints
from towline.hub.decide.capacity import ClusterCapacity
from towline.hub.decide.conditions import condition, epoch, with_condition
from towline.hub.decide.plan import NOTHING, EventNote, Plan, Put, Snapshot
from towline.hub.decide.revocations import is_revoked
from towline.kube.names import NEVER_UPDATED
from towline.kube.objects import Key, Object, name_of, revision_of, with_generation

DELETIONS_HELD = "DeletionsHeld"
"""The condition of a Cluster whose deletions the breaker holds back. Its reason is one of the next three: what outlives a hub's restart
is read from it (`gateway/server`)."""
EPOCH_REGRESSION = "EpochRegression"
STORE_REPLACED = "StoreReplaced"
DELETE_LIMIT = "DeleteLimit"
_HELD_BECAUSE = {
    EPOCH_REGRESSION: "the hub's store is older than they are, as after a restore from an old copy",
    STORE_REPLACED: "the agent was last in sync with another hub's store",
    DELETE_LIMIT: "they are more than are let go in a minute",
}
_SELDOM = 10
"""A cluster whose session lasts is looked at after so many graces, for the case that nobody tells of its end."""


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """How long what is seen of a cluster has to last before it counts. The defaults are Karmada's (2.0)."""

    success_threshold_seconds: float = 30.0
    failure_threshold_seconds: float = 30.0
    """Its API server has to be ready, or not, for so long before a Ready that says otherwise turns."""
    monitor_grace_seconds: float = 40.0
    """How long a cluster may be silent before its state is unknown."""
    startup_grace_seconds: float = 60.0
    """The same for a cluster that never reported."""
    flapping_seconds: float = 600.0
    """One that was lost twice within this time has to be heard for the success threshold before it counts as back."""


DEFAULT_LIMITS = HealthLimits()


Enablements = tuple[tuple[str, tuple[tuple[str, str], ...]], ...]


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What an agent says of its cluster. `api_enablements`: (groupVersion, ((resource, kind), ...)), sorted."""

    kubernetes_version: str = ""
    api_server_ready: bool = False
    api_server_message: str = ""
    api_enablements: Enablements = ()
    api_enablements_complete: bool = False
    api_server_unreachable: bool = False
    """It is not ready, and did not answer at all."""


@dataclass(frozen=True, slots=True)
class Contact:
    """A cluster's session, and what was said in it. Times are epoch seconds."""

    connected: bool
    since: float
    """When it connected, or was cut off."""
    heard: float
    """When it was heard last."""
    facts: ClusterFacts | None = None
    deletions_held: tuple[int, str] = (0, "")
    """How many Works unknown to the hub the delete breaker keeps in the member, and why."""
    capacity: ClusterCapacity | None = None
    """None: the agent has not counted."""
    heard_since: float = 0.0
    """Since when it is heard without a silence longer than the grace."""
    losses: tuple[float, ...] = ()
    """When such silences began to count; the last two."""
    said_since: float = 0.0
    """Since when the facts say of the API server what they say."""


@dataclass(frozen=True, slots=True)
class Signs:
    """What a cluster is judged by. Ages are in seconds."""

    silent: float
    """How long nothing was heard, although somebody listened."""
    api_ready: bool | None = None
    """What was said last of its API server; None: nothing."""
    said: float = 0.0
    """How long that has been said."""
    heard: float = 0.0
    """How long it has been heard without a long silence."""
    flapping: bool = False
    """It was lost twice in a short time."""
    in_session: bool = False
    """Its session lasts. One that falls silent ends by itself before the grace is over, and its end is told."""


class Verdict(NamedTuple):
    status: str | None
    """Of the condition Ready. None: as it is."""
    wait_seconds: float | None
    """After how long it may be another although nothing happens."""


def judge(shown: str | None, signs: Signs, limits: HealthLimits) -> Verdict:
    """What Ready is to say of a cluster of which it says `shown` (None: nothing yet).

    The first observation counts at once, and so does the first after a loss; any other flip has to last for its threshold."""
    first = shown is None and signs.api_ready is None
    left = (limits.startup_grace_seconds if first else limits.monitor_grace_seconds) - signs.silent
    if left <= 0:
        return Verdict("Unknown", None)
    if signs.api_ready is None:
        return Verdict(None, left)
    status = "True" if signs.api_ready else "False"
    if status == shown or shown is None:
        return Verdict(status, _SELDOM * limits.monitor_grace_seconds if signs.in_session else left)
    if shown == "Unknown":
        held = limits.success_threshold_seconds - signs.heard if signs.flapping else 0.0
    elif signs.api_ready:
        held = limits.success_threshold_seconds - signs.said
    else:
        held = limits.failure_threshold_seconds - signs.said
    return Verdict(status, left) if held <= 0 else Verdict(None, min(held, left))


def decide(
    snapshot: Snapshot,
    key: Key,
    now: float,
    contact: Contact | None,
    hub_started: float,
    limits: HealthLimits = DEFAULT_LIMITS,
) -> Plan:
    """The status of the Cluster at `key`, and its taints not-ready and unreachable.

    The hub's own start counts as a sign of life: it must not declare a fleet lost because it was away itself."""
    cluster = snapshot.get(key)
    if cluster is None:
        return NOTHING
    before: dict[str, Any] = cluster.get("status") or {}
    ready = condition(before, "Ready") or {}
    verdict = judge(ready.get("status"), _signs(cluster, contact, hub_started, limits, now), limits)
    status = _status(snapshot, cluster, contact, verdict.status, now)
    shown = (condition(status, "Ready") or {}).get("status")
    tainted = taints.following_ready(cluster, shown, now)
    if status == before and tainted is cluster:
        return Plan(requeue_after_seconds=verdict.wait_seconds)
    events: list[EventNote] = []
    if shown != ready.get("status"):
        said = condition(status, "Ready") or {}
        kind = "Normal" if shown == "True" else "Warning"
        events.append(EventNote(cluster, kind, str(said["reason"]), str(said["message"])))
    if tainted is not cluster:
        message = f"Taint cluster succeed: {taints.told(tainted)}."
        events.append(EventNote(cluster, "Normal", taints.SUCCEEDED, message))
    after = with_generation({**tainted, "status": status}, cluster)
    return Plan((Put(key, after, revision_of(cluster)),), tuple(events), verdict.wait_seconds)


def _signs(
    cluster: Object, contact: Contact | None, hub_started: float, limits: HealthLimits, now: float
) -> Signs:
    if contact is None or contact.facts is None:
        created = epoch((cluster.get("metadata") or {}).get("creationTimestamp")) or 0.0
        return Signs(now - max(hub_started, created, contact.heard if contact is not None else 0.0))
    losses = contact.losses
    return Signs(
        silent=now - contact.heard,
        api_ready=contact.facts.api_server_ready,
        said=now - contact.said_since,
        heard=now - contact.heard_since,
        flapping=len(losses) > 1 and losses[-1] - losses[-2] < limits.flapping_seconds,
        in_session=contact.connected,
    )


def _status(
    snapshot: Snapshot, cluster: Object, contact: Contact | None, ready: str | None, now: float
) -> dict[str, Any]:
    status: dict[str, Any] = dict(cluster.get("status") or {})
    facts = contact.facts if contact is not None else None
    said: list[tuple[str, str, str, str]] = []
    if ready is not None:
        said.append(("Ready", ready, *_why(snapshot, cluster, facts, ready)))
    if facts is not None:
        status |= _described(facts)
        said.append(("CompleteAPIEnablements", *_enablement_condition(facts)))
    if (breaker := _breaker_condition(name_of(cluster), contact, status)) is not None:
        said.append((DELETIONS_HELD, *breaker))
    for row in said:
        status["conditions"] = with_condition(status.get("conditions"), *row, now)
    return status


def _why(snapshot: Snapshot, cluster: Object, facts: ClusterFacts | None, ready: str) -> tuple[str, str]:
    """Reason and message of Ready."""
    name = name_of(cluster)
    if ready == "True":
        return "ClusterReady", "cluster is healthy and ready to accept workloads"
    if ready == "False" and facts is not None:
        said = facts.api_server_message
        if facts.api_server_unreachable:
            return "ClusterNotReachable", said or "cluster is not reachable"
        return "ClusterNotReady", said or "cluster is reachable but health endpoint responded without ok"
    present = condition(cluster.get("status"), "Ready")
    if facts is None and (present is None or present.get("reason") == NEVER_UPDATED):
        return NEVER_UPDATED, f"the agent of cluster {name} never reported"
    revoked = f": its certificates were revoked, `towline join {name}` lets it come back"
    told = revoked if is_revoked(snapshot, cluster) else ""
    return "ClusterStatusUnknown", f"the agent of cluster {name} stopped reporting{told}"


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
    """Said from the first time that the breaker held something; None before, and while the agent has said nothing to this hub."""
    if contact is None or contact.facts is None:
        return None
    count, why = contact.deletions_held
    if count:
        because, hint = _HELD_BECAUSE.get(why, why), f"`towline release {name}` lets them go"
        return "True", why, f"{count} objects unknown to the hub are kept: {because}; {hint}"
    return (
        None if condition(status, DELETIONS_HELD) is None else ("False", "Released", "no deletions are held")
    )
