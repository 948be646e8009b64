"""What failed over, from where to where: kept on the binding until it has returned or is not to return any more.

Only what a policy wants back is kept (`failover.cluster.failback.mode: Return`). An eviction task knows it too, but ends when the replacement
is there. Amounts are shares: replicas, or 1 where a copy has none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from towline.hub.decide.bindings import targets
from towline.hub.decide.conditions import epoch, rfc3339
from towline.hub.decide.placing import divides
from towline.kube.names import FAILBACK, MOVED_FROM
from towline.kube.objects import Object, annotations_of, labels_of, with_metadata

WAITING, RETURNING = "waiting", "returning"
"""Values of the label FAILBACK."""
PRODUCER = "Failback"
"""Of the tasks by which stand-ins leave."""
ORIGINS_MAX = 16
"""Clusters that one binding remembers; the oldest are forgotten first."""


class Origin(NamedTuple):
    """A cluster that a binding is to return to."""

    cluster: str
    share: int
    """How much of the binding it had."""
    stand_ins: Mapping[str, int]
    """Who has that since, and how much of it each."""
    at: float
    """When it moved, in epoch seconds."""


def rule_of(spec: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The `failback` of a binding's or policy's `spec`; None where what moved stays."""
    failback = ((spec.get("failover") or {}).get("cluster") or {}).get("failback") or {}
    return failback if failback.get("mode") == "Return" else None


def origins_of(binding: Object) -> list[Origin]:
    """What the binding remembers. What cannot be read is not remembered: nothing depends on it but a wish."""
    text = annotations_of(binding).get(MOVED_FROM, "[]")
    try:
        return [
            Origin(
                str(row["cluster"]),
                max(1, int(row["share"])),
                {str(name): max(1, int(share)) for name, share in row["standIns"].items()},
                epoch(row["at"]) or 0.0,
            )
            for row in orjson.loads(text)
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def with_origins(binding: Object, origins: Sequence[Origin]) -> Object:
    """`binding` that remembers these, and says in its label what it waits for. The same object when nothing changes."""
    rows = [
        {"cluster": o.cluster, "share": o.share, "standIns": dict(sorted(o.stand_ins.items())), "at": rfc3339(o.at)}
        for o in origins[-ORIGINS_MAX:]
    ]  # fmt: skip
    text = orjson.dumps(rows).decode() if rows else None
    mark = RETURNING if returning_tasks(binding) else WAITING if rows else None
    annotations, labels = annotations_of(binding), labels_of(binding)
    if (annotations.get(MOVED_FROM), labels.get(FAILBACK)) == (text, mark):
        return binding
    return with_metadata(
        binding, annotations=_with(annotations, MOVED_FROM, text), labels=_with(labels, FAILBACK, mark)
    )


def _with(table: Mapping[str, str], name: str, value: str | None) -> dict[str, str]:
    rest = {field: text for field, text in table.items() if field != name}
    return rest if value is None else {**rest, name: value}


def returning_tasks(binding: Object) -> list[Mapping[str, Any]]:
    """The tasks by which copies leave for one that returns."""
    tasks = (binding.get("spec") or {}).get("gracefulEvictionTasks") or ()
    return [task for task in tasks if task.get("producer") == PRODUCER]


def is_return(task: Mapping[str, Any]) -> bool:
    """Whether a copy leaves for one that returns, and stays until that is healthy."""
    return task.get("producer") == PRODUCER and task.get("purgeMode") != "Directly"


def taken_back(binding: Object) -> Object:
    """`binding` as if nothing of it were on its way back: who leaves for a copy that returns has again what it had, and the one that
    returns gives it up. The same object when nothing is. Where it goes is not decided here, so its status is not touched."""
    leaving = [task for task in returning_tasks(binding) if is_return(task)]
    if not leaving:
        return binding
    spec, now = binding["spec"], targets(binding)
    had = {str(task["fromCluster"]): int(task.get("replicas") or 0) for task in leaving}
    before = {name for task in leaving for name in task.get("clustersBeforeFailover") or ()}
    restored = {**now, **had}
    if divides(spec):
        surplus = sum(restored.values()) - sum(now.values())
        for home in [*sorted(now.keys() - before), *(origin.cluster for origin in origins_of(binding))]:
            part = min(surplus, restored.get(home, 0))
            surplus -= part
            restored[home] = restored.get(home, 0) - part
        restored = {name: count for name, count in restored.items() if count}
    else:
        restored = {name: count for name, count in restored.items() if name in before}
    left = [task for task in spec["gracefulEvictionTasks"] if task not in leaving]
    return {**binding, "spec": {**spec, "clusters": as_clusters(restored), "gracefulEvictionTasks": left}}


def as_clusters(shares: Mapping[str, int]) -> list[Object]:
    """`spec.clusters` with these replicas."""
    return [
        {"name": name, "replicas": count} if count else {"name": name}
        for name, count in sorted(shares.items())
    ]


def after_eviction(
    before: Object, after: Object, gone: Collection[str], wanted_back: Collection[str], now: float
) -> Object:
    """`after`, which is `before` without the copies in `gone` and with their replacements, remembers what of them is to return: the
    clusters `wanted_back`, for what was their own. A stand-in that is left hands on what it stood in for. Who is home and leaves is no
    more to return than any other, unless it only was on its way, and who stood in for it does so again."""
    held, new = targets(before), targets(after)
    back = {task["fromCluster"] for task in returning_tasks(before) if is_return(task)} & new.keys()
    origins = [
        o
        for o in origins_of(before)
        if o.cluster not in gone or not is_home(o, before) or back & o.stand_ins.keys()
    ]
    gained = {name: share(n) - held.get(name, 0) for name, n in new.items() if n > held.get(name, -1)}
    pool = _Pool(gained, divided=sum(map(share, new.values())) >= sum(map(share, held.values())))
    fresh: list[Origin] = []
    for cluster in sorted(gone):
        borrowed = sum(origin.stand_ins.get(cluster, 0) for origin in origins)
        origins = [_handed_on(origin, cluster, pool) for origin in origins]
        own = share(held.get(cluster, 0)) - borrowed
        if cluster in wanted_back and own > 0 and (stand_ins := pool.take(own)):
            fresh.append(Origin(cluster, own, stand_ins, now))
    known = {o.cluster: o for o in origins if o.stand_ins and not is_home(o, after)}
    for origin in fresh:
        older = known.pop(origin.cluster, None)  # it had come home in part, or was on its way
        known[origin.cluster] = origin if older is None else _together(origin, older, new)
    return with_origins(after, list(known.values()))


def is_home(origin: Origin, binding: Object) -> bool:
    there = targets(binding)
    return origin.cluster in there and (there[origin.cluster] >= origin.share or not divides(binding["spec"]))


def _together(origin: Origin, older: Origin, there: Mapping[str, int]) -> Origin:
    """What left one cluster now and before, as far as it is `there`."""
    stand_ins = {
        name: min(older.stand_ins.get(name, 0) + origin.stand_ins.get(name, 0), share(there[name]))
        for name in {*older.stand_ins, *origin.stand_ins} & there.keys()
    }
    return origin._replace(share=max(older.share, origin.share), stand_ins=stand_ins)


def _handed_on(origin: Origin, stand_in: str, pool: _Pool) -> Origin:
    """`origin` when a stand-in is left: others have its part now, or it is home."""
    part = origin.stand_ins.get(stand_in)
    if part is None:
        return origin
    taken = pool.take(part)
    joined = {
        name: origin.stand_ins.get(name, 0) + taken.get(name, 0) for name in {*origin.stand_ins, *taken}
    }
    for name in (origin.cluster, stand_in):
        joined.pop(name, None)
    return origin._replace(stand_ins=joined)


def share(replicas: int) -> int:
    return max(1, replicas)


class _Pool:
    """What the replacements got: dealt out where replicas are divided, else each is all of it."""

    def __init__(self, gained: Mapping[str, int], *, divided: bool) -> None:
        self._left = dict(gained)
        self._divided = divided

    def take(self, need: int) -> dict[str, int]:
        if not self._divided:
            return dict(self._left)
        taken: dict[str, int] = {}
        for name in sorted(self._left):
            if part := min(self._left[name], need):
                taken[name] = part
                self._left[name] -= part
                need -= part
        return taken
