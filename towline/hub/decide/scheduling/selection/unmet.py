"""Why spread constraints cannot be met: the words of Karmada where it has them, then which constraint and what numbers."""

from __future__ import annotations

from collections.abc import Sequence

from towline.hub.decide.scheduling.request import Unschedulable
from towline.hub.decide.scheduling.selection.groups import Group, Need
from towline.hub.decide.scheduling.selection.ranked import Ranked, room_of
from towline.hub.decide.scheduling.selection.spread import NO_BOUND, Level, Limits, Spread


def check_limits(spread: Spread) -> None:
    for name, limits in [(level.by, level.limits) for level in spread.levels] + [
        ("cluster", spread.clusters)
    ]:
        if limits.fewest > limits.most:
            raise Unschedulable(
                f"the spread constraint by {name} cannot be met: minGroups {limits.fewest} is above maxGroups {limits.most}"
            )


def check_counts(spread: Spread, ranked: Sequence[Ranked]) -> None:
    """What no choice can mend, in the words of Karmada where it has them."""
    for index, level in enumerate(spread.levels):
        names = {name for c in ranked for name in c.groups[index]}
        if len(names) < level.limits.fewest:
            raise Unschedulable(too_few(level.plural, len(names), level.limits))
        if level.by != "zone" and level.limits.fewest > spread.clusters.most:
            raise Unschedulable(
                f"the spread constraints cannot all be met: {level.limits.fewest} {level.plural} need as many clusters, "
                f"and the cluster constraint's maxGroups is {spread.clusters.most}"
            )
    if len(ranked) < spread.clusters.fewest:
        raise Unschedulable(f"{_FEW_CLUSTERS}: {len(ranked)} feasible, minGroups {spread.clusters.fewest}")


_FEW_CLUSTERS = "the number of clusters is less than the cluster spreadConstraint.MinGroups"


def too_few(plural: str, feasible: int, limits: Limits) -> str:
    return (
        f"the number of feasible {plural} is less than spreadConstraint.MinGroups: "
        f"{feasible} feasible, minGroups {limits.fewest}"
    )


def too_few_clusters(spread: Spread, level: Level, groups: Sequence[Group]) -> str:
    count = min(level.limits.most, len(groups))
    most = sum(sorted((group.value for group in groups), reverse=True)[:count])
    return (
        f"{_FEW_CLUSTERS}: at most {count} {level.plural} hold at most {most} clusters, "
        f"minGroups {spread.clusters.fewest}"
    )


def no_room(chosen: Sequence[Ranked], need: Need, they_have: str) -> str:
    return (
        f"no enough resource when selecting {len(chosen)} clusters: "
        f"{they_have} room for {room_of(chosen)} of {need.replicas} replicas"
    )


def cannot_be_met(spread: Spread, ranked: Sequence[Ranked], complete: bool) -> str:
    wanted = [(level.plural, level.limits) for level in spread.levels] + [("clusters", spread.clusters)]
    bounds = ", ".join(
        f"{limits.fewest} to {limits.most} {plural}"
        if limits.most < NO_BOUND
        else f"{limits.fewest} or more {plural}"
        for plural, limits in wanted
    )
    tried = "no choice" if complete else "none of the choices that were tried"
    return f"the spread constraints cannot all be met: {tried} among {len(ranked)} feasible clusters has {bounds}"
