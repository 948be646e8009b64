"""Which copies are to leave their clusters, when and why: taints, loss, drains, and applications that fail (Karmada 2.9, 2.10)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from towline.hub.decide.bindings import observed, status_in, targets
from towline.hub.decide.conditions import epoch, rfc3339
from towline.hub.decide.graceful import stop_after_seconds
from towline.hub.decide.scheduling.members import Members
from towline.hub.decide.tolerance import leaves
from towline.kube import interpreter
from towline.kube.objects import Object

UNTOLERATED = "TaintUntolerated"
APPLICATION_FAILURE = "ApplicationFailure"
APPLICATION_SECONDS = 300
"""How long an application may be unhealthy, unless decisionConditions.tolerationSeconds says otherwise."""


class Departure(NamedTuple):
    """A copy that is to leave its cluster."""

    cluster: str
    at: float
    """When, in epoch seconds."""
    why: str
    reason: str
    wished: bool
    """See tolerance.Leave."""
    rule: Mapping[str, Any]
    """How: the part of the policy's `failover` that asks for it. Of a drained cluster empty, whatever the policy says; but what must
    never run twice is purged directly."""
    at_once: bool = False
    """See tolerance.Leave."""


def departures(binding: Object, members: Members, settled_at: float) -> Iterator[Departure]:
    """The copies of `binding` that are to leave, now or later; of one cluster there may be several reasons.

    None but drained ones leave before `settled_at`."""
    spec = binding.get("spec") or {}
    entries: Mapping[str, Mapping[str, Any]] | None = None
    resource = spec.get("resource") or {}
    failover = spec.get("failover") or {}
    application = failover.get("application")
    drained = {"purgeMode": "Directly"} if stop_after_seconds(spec) else {}
    for cluster in targets(binding):
        member = members.get(cluster)
        if member is None or member.terminating:
            continue  # scheduling leaves it by itself
        if member.troubles and interpreter.has_ended(resource, status_in(binding, cluster)):
            continue  # nothing runs there, and elsewhere it would run again
        for leave in leaves(spec, member.troubles):
            at = leave.at if leave.at_once else max(leave.at, settled_at)
            rule = drained if leave.at_once else failover["cluster"]
            yield Departure(cluster, at, leave.why, UNTOLERATED, leave.wished, rule, leave.at_once)
        if application is None:
            continue
        entries = observed(binding) if entries is None else entries
        since = _unhealthy_since(entries.get(cluster))
        if since is not None:
            at = max(since + _tolerated_seconds(application), settled_at)
            why = f"has an unhealthy copy since {rfc3339(since)}"
            yield Departure(cluster, at, why, APPLICATION_FAILURE, False, application)


def by_cluster(departures: Iterable[Departure]) -> list[Departure]:
    """One for each cluster, the longest due first. Of several reasons one that somebody wished counts, then the earliest."""
    found: dict[str, Departure] = {}
    for departure in sorted(departures, key=lambda d: (not d.wished, d.at, d.cluster)):
        found.setdefault(departure.cluster, departure)
    return sorted(found.values(), key=lambda d: (d.at, d.cluster))


def _unhealthy_since(entry: Mapping[str, Any] | None) -> float | None:
    if entry is None or entry.get("health") != "Unhealthy":
        return None
    return epoch(entry.get("unhealthySince"))


def _tolerated_seconds(application: Mapping[str, Any]) -> int:
    seconds = (application.get("decisionConditions") or {}).get("tolerationSeconds")
    return APPLICATION_SECONDS if seconds is None else int(seconds)
