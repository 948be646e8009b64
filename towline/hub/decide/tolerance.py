"""How long a placement tolerates what is wrong with a cluster that holds a copy (Karmada 2.9).

A cluster is left because of its NoExecute taints, and because it is not ready or not reachable. The latter two are NoSchedule taints; to a
policy that asks for failover they count as NoExecute since the condition Ready turned, tolerated for five minutes unless it says
otherwise, as Kubernetes does with nodes. One that turns from the one into the other has no more time for it than the longer of the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from towline.hub.decide.conditions import condition, epoch, rfc3339
from towline.hub.decide.taints import of_health
from towline.kube.names import TAINT_DRAIN, TAINT_NOT_READY, TAINT_UNREACHABLE
from towline.kube.objects import Object
from towline.kube.taints import Taint, tolerates

LOST_SECONDS = 300.0
"""How long it is tolerated that a cluster is lost, unless a toleration says otherwise."""
_LOST = {"False": (TAINT_NOT_READY, "is not ready"), "Unknown": (TAINT_UNREACHABLE, "is unreachable")}
_KEYS_OF_LOSS = (TAINT_NOT_READY, TAINT_UNREACHABLE)


class Leave(NamedTuple):
    """When a copy is to leave a cluster."""

    at: float
    """Epoch seconds."""
    why: str
    """For people: "is unreachable since …"."""
    wished: bool = False
    """Somebody wants the cluster without this copy. Otherwise only a copy elsewhere is wanted, and leaving without one helps nobody."""
    at_once: bool = False
    """Whatever the hub thinks of its own hearing: an operator drains the cluster."""


class Trouble(NamedTuple):
    """A reason to leave a cluster."""

    taint: Taint
    """Always NoExecute."""
    since: float | None
    why: str
    lost: bool = False
    """It follows from Ready: nobody can say how copies there do."""
    unwell_since: float | None = None
    """Of one that is lost: since when the cluster is not ready or not reachable, whichever it was at first. None: no taint says it."""


def troubles_of(cluster: Object) -> tuple[Trouble, ...]:
    """What is wrong with a cluster."""
    return tuple(_troubles(cluster))


def leaves(spec: Mapping[str, Any], troubles: Iterable[Trouble]) -> list[Leave]:
    """When, and why, the binding with this `spec` leaves a cluster with these troubles. Those that are tolerated for ever are left out.

    A taint that nothing tolerates counts at once; otherwise the first toleration that matches it says how long. Without
    `failover.cluster` only draining makes a copy leave: Karmada evicts nothing by default either."""
    tolerations = (spec.get("placement") or {}).get("clusterTolerations") or ()
    return [
        Leave(at, trouble.why, trouble.taint.key not in _KEYS_OF_LOSS, trouble.taint.key == TAINT_DRAIN)
        for trouble in troubles
        if trouble.taint.key == TAINT_DRAIN or fails_over(spec)
        if (at := _tolerated_until(trouble, tolerations)) is not None
    ]


def fails_over(spec: Mapping[str, Any]) -> bool:
    """Whether a policy's or binding's `spec` asks for cluster failover."""
    return (spec.get("failover") or {}).get("cluster") is not None


def welcomes(tolerations: Iterable[Mapping[str, Any]], taint: Taint, *, failing_over: bool) -> bool:
    """Whether a copy may come to a cluster with `taint`: not if it had to leave again at once or after a time.

    `taint` repels (kube.taints). Where nothing is evicted, a toleration for a time is as good as any (Karmada 3.2)."""
    tolerations = list(tolerations)
    evicts = taint.effect == "NoExecute" and (failing_over or taint.key == TAINT_DRAIN)
    evicts = evicts or (failing_over and taint.key in _KEYS_OF_LOSS)
    if not tolerates(tolerations, taint):
        return False
    found = _matching(tolerations, taint._replace(effect="NoExecute")) if evicts else {}
    return found is not None and _seconds_of(found) is None


def _matching(tolerations: Iterable[Mapping[str, Any]], taint: Taint) -> Mapping[str, Any] | None:
    """The toleration that counts for `taint`: of several the first, as in Kubernetes."""
    return next((toleration for toleration in tolerations if tolerates((toleration,), taint)), None)


def _troubles(cluster: Object) -> Iterator[Trouble]:
    for taint in (cluster.get("spec") or {}).get("taints") or ():
        if taint.get("effect") == "NoExecute":
            known = Taint(str(taint.get("key") or ""), str(taint.get("value") or ""), "NoExecute")
            why = "is being drained" if known.key == TAINT_DRAIN else f"has the taint {{{known}}}"
            yield Trouble(known, epoch(taint.get("timeAdded")), why)
    ready = condition(cluster.get("status"), "Ready") or {}
    if ready.get("status") in _LOST:
        key, why = _LOST[ready["status"]]
        since = epoch(ready.get("lastTransitionTime"))
        told = f"{why} since {rfc3339(since)}" if since is not None else why
        times = [at for taint in of_health(cluster) if (at := epoch(taint.get("timeAdded"))) is not None]
        unwell_since = min(times, default=None)
        yield Trouble(Taint(key, "", "NoExecute"), since, told, lost=True, unwell_since=unwell_since)


def _tolerated_until(trouble: Trouble, tolerations: Iterable[Mapping[str, Any]]) -> float | None:
    """None: for ever, also where nobody knows since when."""
    if trouble.lost:
        return _lost_until(trouble, tolerations)
    if (found := _matching(tolerations, trouble.taint)) is None:
        return trouble.since or 0.0
    seconds = _seconds_of(found)
    return None if seconds is None or trouble.since is None else trouble.since + seconds


def _lost_until(trouble: Trouble, tolerations: Iterable[Mapping[str, Any]]) -> float | None:
    """One that goes to and fro between not ready and not reachable is left as well, once it was either for longer than each is tolerated."""
    tolerated = {key: _loss_tolerated(key, tolerations) for key in _KEYS_OF_LOSS}
    seconds = tolerated[trouble.taint.key]
    if seconds is None or trouble.since is None:
        return None
    finite = [each for each in tolerated.values() if each is not None]
    if len(finite) < len(tolerated) or trouble.unwell_since is None:
        return trouble.since + seconds
    return min(trouble.since + seconds, trouble.unwell_since + max(finite))


def _loss_tolerated(key: str, tolerations: Iterable[Mapping[str, Any]]) -> float | None:
    found = _matching(tolerations, Taint(key, "", "NoExecute"))
    return LOST_SECONDS if found is None else _seconds_of(found)


def _seconds_of(toleration: Mapping[str, Any]) -> float | None:
    """None: for ever. Less than nothing is nothing."""
    seconds = toleration.get("tolerationSeconds")
    return None if seconds is None else max(0.0, float(seconds))
