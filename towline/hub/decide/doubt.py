"""Whether the hub may believe that clusters are lost.

One that loses most of its agents within a minute is itself cut off, more likely than that they all died. Such clusters are marked
Unknown, but nothing is evicted from them and no policy gives them a NoExecute taint, until most agents are back or an operator says
that they are lost indeed (`towline release --evictions`). All of it follows from the Clusters' conditions, so a restart changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from towline.hub.decide.conditions import condition, epoch, with_condition
from towline.hub.decide.plan import EventNote, Plan, Put, Snapshot
from towline.kube.names import CLUSTER_GROUP, NEVER_UPDATED, RELEASE_EVICTIONS
from towline.kube.objects import Key, Object, annotations_of, is_deleting, name_of, revision_of

EVICTIONS_HELD = "EvictionsHeld"
"""The condition of a lost Cluster that the hub does not believe to be lost."""
FLEET = Key(CLUSTER_GROUP, "clusters", "", "")
"""The key under which the fleet as a whole is decided on."""
LOST_WITHIN_SECONDS = 60.0
MOST = 0.5
"""More than this share of the clusters that were there are most of them."""
BACK_SECONDS = 60.0
"""While the hub doubts, a cluster that is back counts as back only when it stayed so long."""


class Standing(NamedTuple):
    """What doubts need to know of one Cluster. Times are epoch seconds."""

    name: str
    ready: str | None
    """Of the condition Ready; None: the cluster never reported, or is leaving."""
    since: float
    """When that turned so."""
    held: bool = False
    """Its condition EvictionsHeld says so."""
    released: float = 0.0
    """When an operator said that it is lost."""


class Doubt(NamedTuple):
    """Most of the fleet was lost at once."""

    lost: int
    of: int
    clusters: frozenset[str]
    """Those that are Unknown and that nobody said are lost: neither evict from them nor give them NoExecute taints."""


def standing_of(cluster: Object) -> Standing:
    status = cluster.get("status")
    ready = condition(status, "Ready") or {}
    known = not is_deleting(cluster) and ready.get("reason") != NEVER_UPDATED
    return Standing(
        name=name_of(cluster),
        ready=ready.get("status") if known else None,
        since=epoch(ready.get("lastTransitionTime")) or 0.0,
        held=(condition(status, EVICTIONS_HELD) or {}).get("status") == "True",
        released=epoch(annotations_of(cluster).get(RELEASE_EVICTIONS)) or 0.0,
    )


def doubts(fleet: Collection[Standing], audible: Collection[str] | None, now: float) -> Doubt | None:
    """The hub's doubt at this moment, or None.

    `audible` are the clusters that are heard now: any other may be about to be lost, and counts as lost already. None: look at what
    the Clusters say alone."""
    members = [standing for standing in fleet if standing.ready is not None]
    doubted = any(standing.held for standing in members)
    unknown = [standing for standing in members if standing.ready == "Unknown"]
    if not unknown:
        return None
    fading = back = 0
    for standing in members:
        if standing.ready == "Unknown":
            continue
        if audible is not None and standing.name not in audible:
            fading += 1
        elif doubted and now - standing.since < BACK_SECONDS:
            back += 1
    times = sorted([standing.since for standing in unknown] + [now] * fading)
    lost, there = _lost_together(times, back, len(members))
    if not lost:
        return None
    return Doubt(lost, there, frozenset(s.name for s in unknown if s.released < s.since))


def _lost_together(times: Sequence[float], back: int, members: int) -> tuple[int, int]:
    """How many clusters were lost within a minute that were most of those there then, and how many those were; zeros if there was
    no such minute. `times`: of all losses that last, ascending; `back`: clusters whose loss is over, whenever it was."""
    best, end = (0, 0), 0
    for first, at in enumerate(times):
        while end < len(times) and times[end] - at <= LOST_WITHIN_SECONDS:
            end += 1
        lost, there = end - first + back, members - first
        if lost > MOST * there and lost > best[0]:
            best = (lost, there)
    return best


def decide(snapshot: Snapshot, key: Key, now: float, fleet: Collection[Standing]) -> Plan:
    """The condition EvictionsHeld on all Clusters that the doubt concerns, and its end on those it concerned."""
    doubt = doubts(fleet, None, now)
    held = doubt.clusters if doubt is not None else frozenset()
    writes, events = [], []
    for standing in fleet:
        at = Key(*FLEET[:3], standing.name)
        if standing.held == (standing.name in held) or (cluster := snapshot.get(at)) is None:
            continue
        value, reason, message = _said(standing, doubt)
        status = dict(cluster["status"])
        status["conditions"] = with_condition(
            status.get("conditions"), EVICTIONS_HELD, value, reason, message, now
        )
        writes.append(Put(at, {**cluster, "status": status}, revision_of(cluster)))
        events.append(EventNote(cluster, "Warning" if value == "True" else "Normal", reason, message))
    returned = [s.since + BACK_SECONDS - now for s in fleet if s.ready != "Unknown"]
    wait = min((seconds for seconds in returned if seconds > 0), default=None) if doubt is not None else None
    return Plan(tuple(writes), tuple(events), wait)


def _said(standing: Standing, doubt: Doubt | None) -> tuple[str, str, str]:
    """Status, reason and message of EvictionsHeld, now that it turns."""
    if not standing.held and doubt is not None:
        return (
            "True",
            "MostAgentsLost",
            f"{doubt.lost} of {doubt.of} clusters were lost within a minute: this hub may be cut off itself, so it evicts nothing "
            f"from this one until most are back; if it is lost, `towline release {standing.name} --evictions` says so",
        )
    if standing.ready != "Unknown":
        return "False", "AgentReturned", "the agent reports again"
    if standing.released >= standing.since:
        return "False", "Released", "an operator said that the cluster is lost"
    return "False", "MostAgentsReturned", "most agents report again, this one does not"
