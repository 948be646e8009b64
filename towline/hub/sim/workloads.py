"""The workload rules of a simulated member: which rule runs for which kind, and rounds of them.

Pure. `settle` is a function of the cluster's objects, the keys that changed and the time: it answers the writes
that bring everything which depends on those keys up to date, and when to look again. Settling twice writes nothing
the second time. What a real cluster does in kube-controller-manager, scheduler and kubelets is here only as far as
somebody outside could tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from towline.hub.decide.plan import Delete, Put
from towline.hub.sim.cluster import Cluster
from towline.hub.sim.collection import collect, is_closed, run_namespace
from towline.hub.sim.daemons import run_daemon_set
from towline.hub.sim.jobs import run_job
from towline.hub.sim.ordinals import run_stateful_set
from towline.hub.sim.pods import STEERING, run_pod
from towline.hub.sim.replicas import run_deployment, run_replica_set
from towline.hub.sim.round import Pace, Round
from towline.hub.sim.supplies import run_claim, run_service
from towline.kube.objects import Key, Meta, Object

RULES: Mapping[tuple[str, str], Callable[[Round, Key, Object], None]] = {
    ("apps", "deployments"): run_deployment,
    ("apps", "replicasets"): run_replica_set,
    ("apps", "statefulsets"): run_stateful_set,
    ("apps", "daemonsets"): run_daemon_set,
    ("batch", "jobs"): run_job,
    ("", "pods"): run_pod,
    ("", "services"): run_service,
    ("", "persistentvolumeclaims"): run_claim,
    ("", "namespaces"): run_namespace,
}

_NAMED_AFTER = {("apps", "replicasets"): ("apps", "deployments"), ("", "pods"): ("apps", "statefulsets")}
"""What is named `<owner>-<suffix>` without chance, and so can meet its predecessor."""

RUNS_PER_KEY_MAX = 200
"""A rule that runs this often per changed key in one round does not converge, which is a bug of the rules."""


class Step(NamedTuple):
    """What a round wants: writes in the order to commit them in, and times (epoch seconds) to look at keys again."""

    writes: list[Put | Delete]
    wakes: dict[Key, float]


def settle(
    cluster: Cluster, dirty: Iterable[Key], now: float, new_uid: Callable[[], str], pace: Pace
) -> Step:
    """Runs the rules of `dirty` and of everything that they touch, until nothing changes."""
    round = Round(cluster, now, new_uid, pace)
    round.touched = dict.fromkeys(dirty)
    runs = 0
    first = len(round.touched)
    while round.touched:
        key = next(iter(round.touched))
        del round.touched[key]
        runs += 1
        if runs > RUNS_PER_KEY_MAX * (first + round.changed_count):
            raise RuntimeError(f"the rules do not come to rest, last at {key}")
        obj = round.get(key)
        if obj is None or collect(round, key, obj):
            continue
        rule = RULES.get((key.group, key.resource))
        if rule is not None and not is_closed(round, key):
            rule(round, key, obj)
    return Step(round.writes(), round.wakes)


def affected(cluster: Cluster, key: Key, before: Meta | None, after: Meta | None) -> dict[Key, None]:
    """The keys whose rules a change of `key` concerns: its own, its owners', and those that depend on it.

    Called after `cluster.observe` saw the change. `before` and `after` are its metadata, None for absent."""
    keys: dict[Key, None] = {}
    if after is not None:
        keys[key] = None
    for meta in (before, after):
        for owner in (meta.ownerReferences or ()) if meta else ():
            at = cluster.key_of(owner.uid)
            if at is not None:
                keys[at] = None
    if before is not None and (after is None or after.uid != before.uid):
        keys.update(dict.fromkeys(cluster.children(before.uid)))
    if before is not None and after is not None and _inherited(before) != _inherited(after):
        _add_descendants(cluster, after.uid, keys)
    if key.resource == "nodes" and key.group == "":
        keys.update((obj_key, None) for obj_key in _daemon_sets(cluster))
        keys.update(dict.fromkeys(cluster.unscheduled))
        if after is None:
            keys.update(dict.fromkeys(cluster.pods_on(key.name)))
    if key.resource == "pods" and key.group == "" and cluster.unscheduled:
        keys.update(dict.fromkeys(cluster.unscheduled))  # room may have come free
    if after is None and (key.group, key.resource) in _NAMED_AFTER:
        heir = _NAMED_AFTER[key.group, key.resource]  # who may have waited for the name to be free
        keys[Key(*heir, key.namespace, key.name.rpartition("-")[0])] = None
    if key.resource == "serviceaccounts" and after is None:
        keys[Key("", "namespaces", "", key.namespace)] = None
    return keys


def _inherited(meta: Meta) -> list[str | None]:
    """What an object's descendants go by: its own steering, and who its owners are."""
    annotations = meta.annotations or {}
    return [*(annotations.get(name) for name in STEERING), *(o.uid for o in meta.ownerReferences or ())]


def _add_descendants(cluster: Cluster, uid: str, keys: dict[Key, None]) -> None:
    for child in cluster.children(uid):
        if child not in keys:
            keys[child] = None
            at = cluster.uid_of(child)
            if at:
                _add_descendants(cluster, at, keys)


def _daemon_sets(cluster: Cluster) -> list[Key]:
    found = cluster.scan("apps", "daemonsets")
    return [Key("apps", "daemonsets", obj["metadata"]["namespace"], obj["metadata"]["name"]) for obj in found]
