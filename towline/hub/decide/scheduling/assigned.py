"""What other bindings have already: resources promised to clusters that no status shows yet, and the clusters of workload groups.

A placement is promised from the moment it is decided until the member says that the replicas are there, so that two placements
decided one after the other never take the same room. A promise that nothing confirms ends after five minutes (Karmada's
overcommit protection keeps it as long): by then the member's own summary shows what it started.

An answer that an agent gave before replicas were shown may not have counted them: what was shown is remembered for as long as there may be
such answers, and counts against them.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from towline.hub.decide import bindings
from towline.hub.decide.conditions import epoch
from towline.hub.decide.scheduling.estimates import HOLD_SECONDS
from towline.kube.amounts import PODS, Amounts
from towline.kube.objects import Key, Object, is_deleting
from towline.kube.wishes import pods_of, totals_of

PROMISED_SECONDS = 300.0

Group = tuple[str, str, bool]
"""Namespace, `key=value`, and whether its workloads avoid each other."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one binding has, as the scheduling of others sees it."""

    targets: frozenset[str]
    groups: tuple[Group, ...] = ()
    promised: tuple[tuple[str, Amounts], ...] = ()
    """Resources by cluster that its status does not show yet."""
    until: float = 0.0
    """When the promises end (epoch seconds)."""


def share_of(binding: Object, now: float) -> Share | None:
    """What `binding` has; None when that concerns nobody."""
    targets = bindings.targets(binding)
    if not targets or is_deleting(binding):
        return None
    groups = groups_of(binding)
    until = (epoch((binding.get("status") or {}).get("lastScheduledTime")) or 0.0) + PROMISED_SECONDS
    promised = _promised(binding, targets) if until > now else ()
    if not groups and not promised:
        return None
    return Share(frozenset(targets), groups, promised, until)


def groups_of(binding: Object) -> tuple[Group, ...]:
    """The workload groups that `binding` is in."""
    namespace = str((binding.get("metadata") or {}).get("namespace") or "")
    wish = (binding.get("spec") or {}).get("workloadAffinityGroups") or {}
    return tuple(
        (namespace, str(wish[field]), avoiding)
        for field, avoiding in (("affinityGroup", False), ("antiAffinityGroup", True))
        if wish.get(field)
    )


def _promised(binding: Object, targets: Mapping[str, int]) -> tuple[tuple[str, Amounts], ...]:
    demand, seen = bindings.demand(binding.get("spec") or {}), bindings.observed(binding)
    if not (demand.replicas or demand.components):
        return ()
    unit = pods_of(demand.requirements, demand.components or None)
    one, pods = totals_of(unit), sum(part.replicas for part in unit)
    promised = []
    for cluster, replicas in targets.items():
        missing = (replicas or (1 if demand.components else 0)) - shown(seen.get(cluster), replicas)
        if missing > 0:
            promised.append((cluster, {PODS: pods * missing} | {r: n * missing for r, n in one.items()}))
    return tuple(promised)


def shown(entry: Mapping[str, Any] | None, replicas: int) -> int:
    """How many replicas the member has shown to be there."""
    if entry is None:
        return 0
    status = entry.get("status")
    ready = status.get("readyReplicas") if isinstance(status, dict) else None
    if isinstance(ready, int):
        return ready
    return max(replicas, 1) if entry.get("health") == "Healthy" else 0


class Assigned:
    """An index over all bindings, kept up binding by binding. It is read live, like a snapshot."""

    def __init__(self) -> None:
        self._shares: dict[Key, Share] = {}
        self._promised: dict[str, Amounts] = {}
        self._groups: dict[Group, dict[Key, frozenset[str]]] = {}
        self._ends: list[tuple[float, Key]] = []
        self._shown: dict[str, deque[tuple[float, Amounts]]] = {}
        """By cluster, what was promised until a member showed it, and when it did, for HOLD_SECONDS."""
        self._showings: deque[tuple[float, str]] = deque()
        """All of them, the oldest first."""

    @classmethod
    def of(cls, found: Iterable[tuple[Key, Object]], now: float) -> Assigned:
        assigned = cls()
        for key, binding in found:
            assigned.put(key, share_of(binding, now))
        return assigned

    def copy(self) -> Assigned:
        """One that goes its own way from here on. Shares are frozen: both hold the same."""
        other = Assigned()
        other._shares = dict(self._shares)
        other._promised = {cluster: dict(held) for cluster, held in self._promised.items()}
        other._groups = {group: dict(keys) for group, keys in self._groups.items()}
        other._ends = list(self._ends)
        other._shown = {cluster: deque(rows) for cluster, rows in self._shown.items()}
        other._showings = deque(self._showings)
        return other

    def follow(self, key: Key, binding: Object | None, now: float) -> list[str]:
        """The binding at `key` is this from `now` on. Answers the clusters that show replicas which were only promised before."""
        before = self._shares.get(key)
        share = None if binding is None else share_of(binding, now)
        self.put(key, share)
        if before is None or not before.promised or binding is None or is_deleting(binding):
            return []
        left, targets = dict(share.promised) if share else {}, bindings.targets(binding)
        clusters = []
        for cluster, needs in before.promised:
            still = left.get(cluster, {})
            shown = {name: amount - still.get(name, 0) for name, amount in needs.items()}
            if cluster in targets and any(amount > 0 for amount in shown.values()):
                self._shown.setdefault(cluster, deque()).append((now, shown))
                self._showings.append((now, cluster))
                clusters.append(cluster)
        return clusters

    def put(self, key: Key, share: Share | None) -> None:
        """This is what the binding at `key` has now."""
        before = self._shares.pop(key, None)
        if before is not None:
            self._take_back(key, before)
        if share is None:
            return
        self._shares[key] = share
        for cluster, needs in share.promised:
            held = self._promised.setdefault(cluster, {})
            for resource, amount in needs.items():
                held[resource] = held.get(resource, 0) + amount
        for group in share.groups:
            self._groups.setdefault(group, {})[key] = share.targets
        if share.promised:
            heapq.heappush(self._ends, (share.until, key))

    def expire(self, now: float) -> bool:
        """Let promises go whose time is over. Whether any went."""
        gone = False
        while self._showings and self._showings[0][0] + HOLD_SECONDS <= now:
            _, cluster = self._showings.popleft()
            self._shown[cluster].popleft()
            if not self._shown[cluster]:
                del self._shown[cluster]
        while self._ends and self._ends[0][0] <= now:
            until, key = heapq.heappop(self._ends)
            share = self._shares.get(key)
            if share is not None and share.promised and share.until == until:
                self.put(key, Share(share.targets, share.groups) if share.groups else None)
                gone = True
        return gone

    @property
    def promises(self) -> Mapping[str, Mapping[str, int]]:
        """By cluster, the resources (and "pods") that its summary cannot show yet. A cluster with none is absent."""
        return self._promised

    def unseen(self, cluster: str, since: float) -> Mapping[str, int]:
        """What an answer of that time has not counted: what is promised, and what was shown later."""
        promised, shown = self._promised.get(cluster, {}), self._shown.get(cluster)
        if not shown or shown[-1][0] < since:
            return promised
        unseen = dict(promised)
        for at, needs in reversed(shown):
            if at < since:
                break
            for resource, amount in needs.items():
                unseen[resource] = unseen.get(resource, 0) + amount
        return unseen

    @property
    def showing(self) -> Collection[str]:
        """The clusters that have shown something lately."""
        return self._shown.keys()

    def of_group(self, namespace: str, value: str, but: Key | None) -> Sequence[frozenset[str]]:
        """The clusters of each placed binding of an affinity group."""
        return self._of((namespace, value, False), but)

    def of_anti_group(self, namespace: str, value: str, but: Key | None) -> Sequence[frozenset[str]]:
        """The same of an anti-affinity group."""
        return self._of((namespace, value, True), but)

    def peers(self, groups: Iterable[Group]) -> Iterator[Key]:
        """The bindings of these groups."""
        for group in groups:
            yield from self._groups.get(group, ())

    def share(self, key: Key) -> Share | None:
        return self._shares.get(key)

    def _of(self, group: Group, but: Key | None) -> Sequence[frozenset[str]]:
        return [targets for key, targets in self._groups.get(group, {}).items() if key != but]

    def _take_back(self, key: Key, share: Share) -> None:
        for cluster, needs in share.promised:
            held = self._promised[cluster]
            for resource, amount in needs.items():
                left = held[resource] - amount
                if left:
                    held[resource] = left
                else:
                    del held[resource]
            if not held:
                del self._promised[cluster]
        for group in share.groups:
            keys = self._groups[group]
            del keys[key]
            if not keys:
                del self._groups[group]
