"""Groups of clusters (regions, zones, ...): their scores, and the combination of them to use (Karmada 3.4 b)."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from towline.hub.decide.scheduling.selection.ranked import Ranked
from towline.hub.decide.scheduling.selection.spread import Limits

COMBINATION_STEPS = 10_000
"""How much work the exact search for the best combination may be; beyond it `choose` approximates."""

_UNIT = 1000
"""What a cluster with room, or a replica's room, weighs against a point of score."""


class Need(NamedTuple):
    """What the chosen clusters must have room for: `replicas` together if `divided`, else in each (which is not enforced)."""

    replicas: int
    divided: bool


class Group(NamedTuple):
    name: str
    score: int
    clusters: Sequence[Ranked]
    """In their order."""

    @property
    def value(self) -> int:
        return len(self.clusters)

    def data(self) -> dict[str, Any]:
        return {"name": self.name, "score": self.score, "clusters": self.value}


def groups_of(
    index: int, limits: Limits, ranked: Iterable[Ranked], need: Need, clusters: Limits
) -> list[Group]:
    """The groups of a level, scored, in the order in which combinations of them are looked at: few clusters first."""
    members: dict[str, list[Ranked]] = {}
    for cluster in ranked:
        for name in cluster.groups[index]:
            if name in members:
                members[name].append(cluster)
            else:
                members[name] = [cluster]
    groups = [
        Group(name, _score(held, need, limits.fewest, clusters.fewest), held)
        for name, held in members.items()
    ]
    return sorted(groups, key=lambda group: (group.value, -group.score, group.name))


def _score(ranked: Sequence[Ranked], need: Need, fewest_groups: int, fewest_clusters: int) -> int:
    """Duplicated: how many clusters have room for all, then their mean score. Divided: the room for the group's share of
    the replicas, then the mean score of the first clusters that provide it."""
    if not need.divided:
        valid = [-cluster.minus_score for cluster in ranked if -cluster.minus_room >= need.replicas]
        return _UNIT * len(valid) + sum(valid) // len(valid) if valid else 0
    share = -(-need.replicas // fewest_groups)
    fewest = max(fewest_clusters, fewest_groups)
    room = points = 0
    for count, cluster in enumerate(ranked, 1):
        room -= cluster.minus_room
        points -= cluster.minus_score
        if count >= fewest and room >= share:
            break
    if room < share:
        return _UNIT * room + points // len(ranked)
    return _UNIT * share + points // count


def by_score(group: Group) -> tuple[int, int, str]:
    return (-group.score, -group.value, group.name)


def choose(groups: Sequence[Group], limits: Limits, fewest_clusters: int) -> list[Group] | None:
    """The best combination within `limits` that holds `fewest_clusters` clusters, None when there is none.

    Combinations are looked at as Karmada does: in the order of `groups`, none that starts with a shorter one that would
    do. The best has the largest sum of scores, then of clusters, then comes first; if its best groups alone are one of
    the combinations looked at, those are taken. Karmada's search takes time exponential in the number of groups; this is
    linear in groups x groups taken x clusters wanted, and above COMBINATION_STEPS (hundreds of groups, or large minima)
    the best groups are taken, exchanged from the last backwards for the largest until they hold enough clusters.
    """
    fewest, most = limits.fewest, min(limits.most, len(groups))
    if fewest > most:
        return None
    if fewest_clusters <= fewest:  # every combination of `fewest` will do
        return sorted(groups, key=by_score)[:fewest]
    # One that is longer than `fewest` did not hold enough clusters before its last group, and each holds one or more.
    most = min(most, max(fewest, fewest_clusters))
    if len(groups) * most * fewest_clusters > COMBINATION_STEPS:
        return _approximate(groups, fewest, most, fewest_clusters)
    best = _best(groups, fewest, most, fewest_clusters)
    if best is None:
        return None
    best.sort(key=lambda group: -group.score)
    return next(
        (
            best[:count]
            for count in range(fewest, len(best))
            if _is_looked_at(best[:count], fewest, fewest_clusters)
        ),
        best,
    )


def _is_looked_at(combination: Sequence[Group], fewest: int, fewest_clusters: int) -> bool:
    """Enough, and not without its last group: the one with the most clusters."""
    values = [group.value for group in combination]
    return sum(values) >= fewest_clusters and (
        len(values) == fewest or sum(values) - max(values) < fewest_clusters
    )


_Option = tuple[int, int, Any]
"""Sum of scores, sum of clusters, and the groups as a chain (group, rest of the chain)."""


def _best(groups: Sequence[Group], fewest: int, most: int, wanted: int) -> list[Group] | None:
    """From the last group to the first: the best way to complete a combination that has `taken` groups and holds `held`
    clusters (`wanted` stands for all above) with the groups from there on."""
    done: _Option = (0, 0, None)
    table: list[list[_Option | None]] = [
        [done if taken >= fewest and held == wanted else None for held in range(wanted + 1)]
        for taken in range(most + 1)
    ]
    for index in reversed(range(len(groups))):
        group = groups[index]
        for taken in range(
            min(most, index + 1)
        ):  # row `taken + 1` still is that of the groups after this one
            row, after = table[taken], table[taken + 1]
            for held in range(wanted if taken >= fewest else wanted + 1):
                rest = after[min(held + group.value, wanted)]
                if rest is None:
                    continue
                score, value, best = rest[0] + group.score, rest[1] + group.value, row[held]
                # On a tie the combination with the earlier group comes first.
                if best is None or (score, value) >= (best[0], best[1]):
                    row[held] = (score, value, (group, rest[2]))
    option = table[0][0]
    if option is None:
        return None
    chain, chosen = option[2], []
    while chain is not None:
        chosen.append(chain[0])
        chain = chain[1]
    return chosen


def _approximate(groups: Sequence[Group], fewest: int, most: int, wanted: int) -> list[Group] | None:
    largest = sorted(groups, key=lambda group: (-group.value, -group.score, group.name))
    held = count = 0
    while count < fewest or held < wanted:
        if count == most:
            return None
        held += largest[count].value
        count += 1
    ordered = sorted(groups, key=by_score)
    chosen = ordered[:count]
    held = sum(group.value for group in chosen)
    spare = [(-group.value, rank) for rank, group in enumerate(ordered) if rank >= count]
    heapq.heapify(spare)
    for rank in reversed(range(count)):
        if held >= wanted or not spare:
            break
        if (value := -spare[0][0]) > chosen[rank].value:
            held += value - chosen[rank].value
            _, other = heapq.heapreplace(spare, (-chosen[rank].value, rank))
            chosen[rank] = ordered[other]
    return chosen
