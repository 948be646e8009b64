"""What of a binding moves, is to move or is to return, when, and what each waits for: for people (`towline explain`)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from towline.hub.decide import failback, lately
from towline.hub.decide.conditions import condition, rfc3339
from towline.hub.decide.departures import UNTOLERATED, Departure, by_cluster, departures
from towline.hub.decide.eviction import BLOCKED, PURGE_UNCONFIRMED
from towline.hub.decide.graceful import Task, grace_end, purging, tasks_of
from towline.hub.decide.origins import Origin, is_return, returning_tasks
from towline.hub.decide.plan import Snapshot
from towline.hub.decide.scheduling import View
from towline.kube.objects import Object

LEAVES, TO_LEAVE, TO_RETURN, FULL, FAILED = "Leaves", "ToLeave", "ToReturn", "Full", "Failed"
"""The states of a move."""

Move = dict[str, Any]
"""`cluster`, `state`, `why` for people; `at` (RFC 3339), when it happens or ends by itself."""


class Holds(NamedTuple):
    """What holds moves back and is written nowhere."""

    doubted: Collection[str] = ()
    """Clusters that seem lost, and the hub does not believe it (`doubt`)."""
    settled_at: float = 0.0
    """When agents have had the time to come back to a hub that just started, in epoch seconds."""
    turn_seconds: float | None = None
    """Until it is this binding's turn to be evicted; None: it stands in no queue; infinite: nobody is evicted."""


def moves(snapshot: Snapshot, binding: Object, view: View, now: float, holds: Holds) -> list[Move]:
    """What is on its way first, then what is to leave, what is to return, and where nothing goes for a while."""
    return [
        *(_leaves(binding, task) for task in tasks_of(binding)),
        *_to_leave(binding, view, now, holds),
        *_to_return(snapshot, binding, view, now, holds),
        *_avoided(binding, now),
    ]


def _move(cluster: str, state: str, why: str, at: float | None = None) -> Move:
    timed = {} if at is None or at == float("inf") else {"at": rfc3339(at)}
    return {"cluster": cluster, "state": state, **timed, "why": why}


# --- on its way ----------------------------------------------------------------------------------------------


def _leaves(binding: Object, task: Task) -> Move:
    cluster = str(task.get("fromCluster") or "")
    why = f"{task['message']}; " if task.get("message") else ""
    if task.get("suppressDeletion"):
        return _move(cluster, LEAVES, f"{why}the copy is kept until the task's suppressDeletion is false")
    if task.get("purgeMode") == "Directly":
        if cluster in purging(binding):
            found = condition(binding.get("status"), BLOCKED) or {}
            waits = (
                found["message"]
                if found.get("reason") == PURGE_UNCONFIRMED
                else "the replacement starts when the copy is gone"
            )
            return _move(cluster, LEAVES, why + waits)
        return _move(cluster, LEAVES, f"{why}the copy is gone or has stopped, and the replacement starts")
    if is_return(task):
        return _move(cluster, LEAVES, f"{why}the copy is kept until the one that returned is healthy")
    told = (
        "the copy is kept until the replacement is healthy, or its grace is over and the replacement is there"
    )
    return _move(cluster, LEAVES, why + told, grace_end(task))


# --- to leave ------------------------------------------------------------------------------------------------


def _to_leave(binding: Object, view: View, now: float, holds: Holds) -> Iterator[Move]:
    found = list(departures(binding, view.members, 0.0))
    due = by_cluster(departure for departure in found if departure.at <= now)
    waiting = {departure.cluster for departure in due}
    later = by_cluster(departure for departure in found if departure.cluster not in waiting)
    for departure in (*due, *later):
        why, at = _held(binding, departure, now, holds)
        yield _move(departure.cluster, TO_LEAVE, why, at)


def _held(binding: Object, departure: Departure, now: float, holds: Holds) -> tuple[str, float | None]:
    """Why it is to leave and has not left, and until when that lasts if anybody knows."""
    why = f"it {departure.why}"
    if departure.cluster in holds.doubted and not departure.at_once:
        release = f"`towline release {departure.cluster} --evictions` says that it is lost"
        return (
            f"{why}; this hub does not believe it, because most clusters were lost at once: {release}",
            None,
        )
    settled_at = 0.0 if departure.at_once else holds.settled_at
    if now < departure.at:
        return why, max(departure.at, settled_at)
    if now < settled_at:
        return f"{why}; this hub just started, and gives its agents time to come back", settled_at
    found = condition(binding.get("status"), BLOCKED)
    if found is not None:
        return f"it cannot ({found['reason']}): {found['message']}", None
    if departure.reason != UNTOLERATED or not holds.turn_seconds:
        return why, now
    if holds.turn_seconds == float("inf"):
        return f"{why}; this hub evicts nothing (--resource-eviction-rate 0)", None
    return f"{why}; others are evicted first (--resource-eviction-rate)", now + holds.turn_seconds


# --- to return, and where nothing goes -----------------------------------------------------------------------


def _to_return(snapshot: Snapshot, binding: Object, view: View, now: float, holds: Holds) -> Iterator[Move]:
    if returning_tasks(binding):
        return  # it is on its way: who leaves for it says so
    found = condition(binding.get("status"), failback.BLOCKED)
    for origin, at in failback.returns(snapshot, binding, view, now, holds.settled_at):
        yield _move(origin.cluster, TO_RETURN, _waits(origin, at, now, found, holds.settled_at), at)


def _waits(
    origin: Origin, at: float, now: float, blocked: Mapping[str, Any] | None, settled_at: float
) -> str:
    left = f"it was left at {rfc3339(origin.at)}"
    if at == float("inf"):
        return f"{left}, and is not well yet"
    if now < at == settled_at:
        return f"{left}; this hub just started, and gives its agents time to come back"
    if at > now:
        return f"{left}, and has to be well for some time (failback.stabilizationSeconds)"
    if blocked is not None:
        return f"it cannot ({blocked['reason']}): {blocked['message']}"
    return f"{left}; only so many return at a time (failback.maxConcurrent), the most urgent first"


def _avoided(binding: Object, now: float) -> Iterator[Move]:
    for cluster, until in sorted(lately.until(binding, lately.DESCHEDULED, now).items()):
        yield _move(
            cluster, FULL, "replicas found no node there; it gets more only if there is no other place", until
        )
    for cluster, until in sorted(lately.until(binding, lately.FAILED, now).items()):
        yield _move(
            cluster, FAILED, "the application failed there; it does not fail over to it before", until
        )
