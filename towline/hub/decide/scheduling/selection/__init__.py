"""Selection: which of the clusters that may be targets are, by the placement's spread constraints (Karmada 3.4).

Without constraints, and with static weights, all are. Only by cluster: the first by rank (overflow tier, score, room, name), as
many as `maxGroups` allows; if a divided workload does not fit, the last are exchanged for the roomiest of the others.

One rule for all other constraints, in any combination; for region and cluster it is Karmada's. The levels go from coarse to
fine: provider, region, zone, labels.
1. Of the first level take the best combination of groups (`groups.choose`).
2. Of each further level, among the clusters of the groups taken: for each group of the level above its best group, then the
   best of the others up to `minGroups`, and on until they hold the clusters that are wanted.
3. Clusters: of each group taken its first by rank, the finest level first, then the others by rank up to `maxGroups`.
4. If a divided workload does not fit: exchange clusters as above, as far as every constraint still holds.
5. If a constraint is not met, or there still is not enough room: search among all groups (`fallback.search`).
6. What is not divided is selected again at every change, and present targets score more: the selection is repeated with the
   scores that follow from it until it stays. At rest nothing moves.
A cluster of several zones is in each of them and counts for all of them; one without a constraint's property is never taken.

Where this differs from Karmada: `maxGroups` 0 or unset is no bound; constraints by zone, provider and label work; the cluster
constraint's maximum holds also when it is below the number of groups; steps 4 and 5, where Karmada hands out clusters
without room and then fails; step 6, where it moves at its next scheduling; a target that holds a set of components has room for it.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Sequence, Set
from operator import attrgetter
from typing import Any

from towline.hub.decide.scheduling.request import (
    DYNAMIC,
    Candidate,
    Request,
    Selection,
    Unschedulable,
    constraints_of,
    strategy_of,
)
from towline.hub.decide.scheduling.scores import LOCALITY
from towline.hub.decide.scheduling.selection.fallback import search
from towline.hub.decide.scheduling.selection.groups import Group, Need, by_score, choose, groups_of
from towline.hub.decide.scheduling.selection.ranked import Ranked, by_room, ranked_of, room_of
from towline.hub.decide.scheduling.selection.spread import NO_BOUND, Limits, Spread, spread_of
from towline.hub.decide.scheduling.selection.unmet import (
    cannot_be_met,
    check_counts,
    check_limits,
    no_room,
    too_few,
    too_few_clusters,
)
from towline.hub.decide.scheduling.selection.usage import Usage

__all__ = ["select"]

EXCHANGE_STEPS = 10_000
"""How many exchanges of one cluster for another are weighed before the search takes over."""

TOLD_MAX = 100
"""How many groups of a level, and how many exchanges, the reasons name."""

SETTLE_ROUNDS = 8
"""How often a selection is made again to see whether it stays; nearly always once."""

_IGNORED = {"ignored": "static weights do not heed spread constraints"}


def select(request: Request, candidates: Sequence[Candidate]) -> Selection:
    """The candidates to use; which they are does not depend on the order of `candidates`.

    The reasons are `ignored` (why), or `constraints`: of each its limits, how many groups there are and are used, and the groups
    with score and clusters; and which clusters were `exchanged`, or why other groups were `searched`. Raises Unschedulable when
    the constraints cannot be met, or not with room for a divided workload."""
    constraints = constraints_of(request)
    if not constraints:
        return Selection(candidates, _IGNORED if request.placement.get("spreadConstraints") else {})
    spread = spread_of(constraints)
    check_limits(spread)
    need, room = _need(request, spread)
    if not spread.levels:
        return _by_cluster(need, spread.clusters, candidates, room)
    ranked = ranked_of(candidates, spread.levels, room)
    chosen, reasons = _by_groups(need, spread, ranked)
    if not need.divided or not request.workload:
        chosen, reasons = _settled(need, spread, ranked, chosen, reasons, request.current.keys())
    return Selection([cluster.candidate for cluster in chosen], reasons)


def _need(request: Request, spread: Spread) -> tuple[Need, Callable[[Candidate], int]]:
    """What must fit, and what fits in a cluster. Several components that must share one cluster are one set; a target has
    room for the set that it holds."""
    divided = strategy_of(request.placement) in DYNAMIC
    if request.components and spread.clusters == Limits(1, 1):
        held = request.current
        return Need(1, divided), lambda candidate: candidate.allocatable + (candidate.name in held)
    return Need(request.replicas, divided), attrgetter("available")


# --- by cluster only -----------------------------------------------------------------------------------------


def _by_cluster(
    need: Need, limits: Limits, candidates: Sequence[Candidate], room: Callable[[Candidate], int]
) -> Selection:
    if len(candidates) < limits.fewest:
        raise Unschedulable(too_few("clusters", len(candidates), limits))
    count = min(limits.most, len(candidates))
    told = [_told("cluster", limits) | {"feasible": len(candidates), "chosen": count}]
    if count == len(candidates) and not need.divided:
        return Selection(candidates, {"constraints": told})
    ranked = ranked_of(candidates, (), room)
    chosen = ranked[:count]
    exchanged = _exchange(chosen, ranked[count:], need, Usage(()))
    if _is_short(chosen, need):
        raise Unschedulable(no_room(chosen, need, "the roomiest have"))
    return Selection([cluster.candidate for cluster in chosen], {"constraints": told, **exchanged})


def _is_short(chosen: Sequence[Ranked], need: Need) -> bool:
    return need.divided and room_of(chosen) < need.replicas


def _exchange(chosen: list[Ranked], others: Sequence[Ranked], need: Need, usage: Usage) -> dict[str, Any]:
    """While there is not enough room, from the last chosen backwards, exchange it for the other with the most room, if
    that has more and the constraints hold with it. Changes `chosen` and `usage`; the result is for the reasons."""
    if not _is_short(chosen, need) or not others:
        return {}
    room = room_of(chosen)
    spare = sorted(others, key=by_room)
    exchanged: list[dict[str, str]] = []
    steps = 0
    for position in reversed(range(len(chosen))):
        if room >= need.replicas or steps > EXCHANGE_STEPS:
            break
        old = chosen[position]
        for index, new in enumerate(spare):
            steps += 1
            if new.minus_room >= old.minus_room:
                break
            if usage.exchange(old, new):
                del spare[index]
                insort(spare, old, key=by_room)
                chosen[position] = new
                room += old.minus_room - new.minus_room
                exchanged.append({"out": old.name, "in": new.name})
                break
    return {"exchanged": exchanged[:TOLD_MAX]} if exchanged else {}


# --- by groups -----------------------------------------------------------------------------------------------


def _by_groups(
    need: Need, spread: Spread, ranked: Sequence[Ranked]
) -> tuple[Sequence[Ranked], dict[str, Any]]:
    """The clusters chosen, and the reasons."""
    check_counts(spread, ranked)
    taken, pool, told = _take_groups(need, spread, ranked)
    usage = Usage(spread.levels)
    chosen, others = _take_clusters(spread, taken, pool, usage)
    more: dict[str, Any] = {}
    holds = usage.holds() and len(chosen) >= spread.clusters.fewest
    if holds:
        more = _exchange(chosen, others, need, usage)
    if not holds or _is_short(chosen, need):
        chosen = _searched(need, spread, ranked, chosen if holds else None)
        failed = "have enough room" if holds else "meet every constraint"
        more = {"searched": f"the best groups do not {failed}"}
    for index, shown in enumerate(told):
        names = {name for c in chosen for name in c.groups[index]}
        shown["chosen"] = len(names)
        for group in shown["groups"]:
            group["chosen"] = group["name"] in names
    told.append(_told("cluster", spread.clusters) | {"feasible": len(ranked), "chosen": len(chosen)})
    return chosen, {"constraints": told, **more}


_Taken = list[list[Group]]
"""The groups taken, for each level. Shorter than the levels when they cannot be met this way."""


def _take_groups(
    need: Need, spread: Spread, ranked: Sequence[Ranked]
) -> tuple[_Taken, Sequence[Ranked], list[dict[str, Any]]]:
    """Steps 1 and 2: the groups, the clusters that are in one of each level, and what to tell of each level."""
    pool = ranked
    taken: _Taken = []
    told: list[dict[str, Any]] = []
    for index, level in enumerate(spread.levels):
        groups = groups_of(index, level.limits, pool, need, spread.clusters)
        shown = [group.data() for group in sorted(groups, key=by_score)[:TOLD_MAX]]
        told.append(_told(level.by, level.limits) | {"feasible": len(groups), "groups": shown})
        if len(taken) < index:
            continue
        best = _cover_groups(spread, index, groups, taken) if taken else None
        if not taken and (best := choose(groups, level.limits, spread.clusters.fewest)) is None:
            raise Unschedulable(too_few_clusters(spread, level, groups))
        if best is not None:
            taken.append(best)
            names = {group.name for group in best}
            pool = [c for c in pool if not names.isdisjoint(c.groups[index])]
    return taken, pool, told


def _cover_groups(spread: Spread, index: int, groups: Sequence[Group], taken: _Taken) -> list[Group] | None:
    """Groups of a level such that each group taken so far is used, then the best until there are enough. None: too many."""
    ordered = sorted(groups, key=by_score)
    best: dict[str, Group] = {}
    for above, uppers in enumerate(taken):
        within = {g.name: {name for c in g.clusters for name in c.groups[above]} for g in ordered}
        for group in uppers:
            if not any(group.name in within[name] for name in best):
                cover = next(g for g in ordered if group.name in within[g.name])
                best[cover.name] = cover
    limits = spread.levels[index].limits
    held = {c.name for group in best.values() for c in group.clusters}
    for group in ordered:
        if len(best) >= limits.fewest and len(held) >= spread.clusters.fewest:
            break
        best[group.name] = group
        held.update(c.name for c in group.clusters)
    return list(best.values()) if len(best) <= limits.most else None


def _take_clusters(
    spread: Spread, taken: _Taken, pool: Sequence[Ranked], usage: Usage
) -> tuple[list[Ranked], list[Ranked]]:
    """Step 3: the clusters chosen, and the others of the groups taken. None when that cannot be done."""
    if len(taken) < len(spread.levels):
        return [], []
    within = {c.name for c in pool}
    chosen: dict[str, Ranked] = {}
    for index in reversed(range(len(taken))):
        for group in taken[index]:
            if group.name not in usage.counts[index]:
                for cluster in group.clusters:
                    if cluster.name in within and usage.add(cluster):
                        chosen[cluster.name] = cluster
                        break
    if len(chosen) > spread.clusters.most:  # more groups to cover than clusters allowed
        return [], []
    others = []
    for cluster in pool:
        if cluster.name not in chosen:
            if len(chosen) < spread.clusters.most and usage.add(cluster):
                chosen[cluster.name] = cluster
            else:
                others.append(cluster)
    return list(chosen.values()), others


def _searched(
    need: Need, spread: Spread, ranked: Sequence[Ranked], short: Sequence[Ranked] | None
) -> list[Ranked]:
    """Step 5. `short` is a choice that meets the constraints and has too little room, if one is known."""
    found = search(spread, ranked, need)
    if found.chosen is not None:
        return found.chosen
    choices = [choice for choice in (short, found.short) if choice]
    if not choices and need.divided:
        choices = [search(spread, ranked, need._replace(replicas=0)).chosen or []]
    best = max(choices, key=room_of, default=[])
    if best:
        raise Unschedulable(no_room(best, need, "the best choice found has"))
    raise Unschedulable(cannot_be_met(spread, ranked, found.complete))


def _settled(
    need: Need,
    spread: Spread,
    ranked: Sequence[Ranked],
    chosen: Sequence[Ranked],
    reasons: dict[str, Any],
    present: Set[str],
) -> tuple[Sequence[Ranked], dict[str, Any]]:
    """Step 6: the choice that is made again once its clusters are the present targets, and have the points of one."""
    if "searched" not in reasons and _surely_stays(spread, ranked, chosen, present):
        return chosen, reasons
    present = frozenset(c.name for c in ranked if c.name in present)
    seen: dict[frozenset[str], tuple[Sequence[Ranked], dict[str, Any]]] = {}
    names = frozenset(c.name for c in chosen)
    while names not in seen and len(seen) < SETTLE_ROUNDS:
        seen[names] = (chosen, reasons)
        if names == present:
            break
        ranked = sorted(_pointed(c, names, present) for c in ranked)
        present = names
        try:
            chosen, reasons = _by_groups(need, spread, ranked)
        except Unschedulable:  # the search was cut short; what was found before it stands
            break
        names = frozenset(c.name for c in chosen)
    if names not in seen:
        return chosen, reasons
    order = list(seen)  # of several that lead to each other always the same one
    return seen[min(order[order.index(names) :], key=sorted)]


def _surely_stays(
    spread: Spread, ranked: Sequence[Ranked], chosen: Sequence[Ranked], present: Set[str]
) -> bool:
    """Whether points can only confirm the choice: it is that of the best groups of one level (each cluster in one), these
    lose no target, and all others gain none. So it is for most wishes, and spares the second look."""
    level = spread.levels[0]
    if len(spread.levels) > 1 or level.by == "zone" or spread.clusters.fewest > level.limits.fewest:
        return False
    names = {c.name for c in chosen}
    used = {c.groups[0][0] for c in chosen}
    return not any(c.name in present and c.groups[0][0] in used and c.name not in names for c in ranked)


def _pointed(cluster: Ranked, targets: Set[str], before: Set[str]) -> Ranked:
    gains = (cluster.name in targets) - (cluster.name in before)
    return cluster._replace(minus_score=cluster.minus_score - LOCALITY * gains) if gains else cluster


def _told(by: str, limits: Limits) -> dict[str, Any]:
    most = {} if limits.most == NO_BOUND else {"maxGroups": limits.most}
    return {"by": by, "minGroups": limits.fewest, **most}
