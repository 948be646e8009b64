"""A cluster in a dict with a clock that only the test moves: `settle` and nothing else."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

from towline.hub.decide.plan import Put
from towline.hub.sim.cluster import Cluster
from towline.hub.sim.round import Pace
from towline.hub.sim.supplies import node
from towline.hub.sim.workloads import affected, settle
from towline.kube.objects import Key, Meta, Object, encode, read_meta, with_metadata

PLURALS = {
    "Deployment": ("apps", "deployments"),
    "ReplicaSet": ("apps", "replicasets"),
    "StatefulSet": ("apps", "statefulsets"),
    "DaemonSet": ("apps", "daemonsets"),
    "Job": ("batch", "jobs"),
    "Pod": ("", "pods"),
    "Service": ("", "services"),
    "PersistentVolumeClaim": ("", "persistentvolumeclaims"),
    "Namespace": ("", "namespaces"),
    "ServiceAccount": ("", "serviceaccounts"),
    "ConfigMap": ("", "configmaps"),
    "Node": ("", "nodes"),
}


class Member:
    """`apply` and `delete` are what a client does; `run` lets the rules work; `pass_seconds` moves the clock."""

    def __init__(self, nodes: int = 2, **pace: float) -> None:
        self.objects: dict[Key, Object] = {}
        self.now = 1_700_000_000.0
        self.pace = Pace(**pace)
        self.cluster = Cluster(self.objects.get, self._scan)
        self.writes = 0
        self._dirty: dict[Key, None] = {}
        self._wakes: dict[Key, float] = {}
        self._revision = itertools.count(1)
        self._uids = itertools.count(1)
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})
        for index in range(nodes):
            amounts: dict[str, Any] = {"cpu": "4", "memory": "8Gi", "pods": 110, "version": "v1.32.0"}
            self.apply(node(index, "2023-11-14T22:13:20Z", region="r", zones=("a", "b"), **amounts))
        self.run()
        self.writes = 0

    def key(self, kind: str, name: str, namespace: str = "default") -> Key:
        group, resource = PLURALS[kind]
        return Key(group, resource, "" if kind in ("Namespace", "Node") else namespace, name)

    def get(self, kind: str, name: str, namespace: str = "default") -> Object | None:
        return self.objects.get(self.key(kind, name, namespace))

    def need(self, kind: str, name: str, namespace: str = "default") -> Object:
        found = self.get(kind, name, namespace)
        assert found is not None, f"{kind} {name} is missing"
        return found

    def all(self, kind: str) -> list[Object]:
        return list(self._scan(*PLURALS[kind]))

    def apply(self, obj: Object) -> Object:
        """Create or replace, keeping uid and status and counting generations like the API."""
        key = self.key(obj["kind"], obj["metadata"]["name"], obj["metadata"].get("namespace") or "default")
        before = self.objects.get(key)
        if key.namespace:
            obj = with_metadata(obj, namespace=key.namespace)
        if before is None:
            obj = with_metadata(obj, uid=self._uid(), generation=1, creationTimestamp="2023-11-14T22:13:20Z")
        else:
            grown = before["metadata"].get("generation", 1) + (before.get("spec") != obj.get("spec"))
            obj = {"status": before.get("status", {}), **obj}
            obj = with_metadata(obj, **{**before["metadata"], **obj["metadata"], "generation": grown})
        self._store(key, obj)
        return self.objects[key]

    def change(self, kind: str, name: str, **spec: Any) -> Object:
        obj = self.need(kind, name)
        return self.apply({**obj, "spec": {**obj["spec"], **spec}})

    def annotate(self, kind: str, name: str, **annotations: str) -> None:
        obj = self.need(kind, name)
        named = {f"sim.towline.io/{k.replace('_', '-')}": v for k, v in annotations.items() if v}
        self._store(self.key(kind, name), with_metadata(obj, annotations=named))

    def delete(self, kind: str, name: str, finalizer: str | None = None) -> None:
        key = self.key(kind, name)
        obj = self.objects[key]
        if finalizer or kind == "Namespace":
            finalizers = [finalizer] if finalizer else None
            self._store(
                key, with_metadata(obj, deletionTimestamp="2023-11-14T22:13:20Z", finalizers=finalizers)
            )
        else:
            self._store(key, None)

    def run(self) -> None:
        """Rounds until nothing is dirty; then nothing may be left to write (at rest no round writes)."""
        while self._dirty or any(at <= self.now for at in self._wakes.values()):
            due = [key for key, at in self._wakes.items() if at <= self.now]
            for key in due:
                del self._wakes[key]
            dirty, self._dirty = {**self._dirty, **dict.fromkeys(due)}, {}
            self._settle(dirty)
        before = self.writes
        self._settle(dict.fromkeys(self.objects))
        assert self.writes == before, "the rules are not at rest"

    def pass_seconds(self, seconds: float) -> None:
        """Moves the clock, stopping at every time that the rules asked for."""
        until = self.now + seconds
        self.run()
        while True:
            at = min(self._wakes.values(), default=until + 1)
            if at > until:
                break
            self.now = max(self.now, at)
            self.run()
        self.now = until
        self.run()

    def _settle(self, dirty: dict[Key, None]) -> None:
        step = settle(self.cluster, dirty, self.now, self._uid, self.pace)
        self._wakes.update(step.wakes)
        for write in step.writes:
            held = self.objects.get(write.key)
            assert (int(held["metadata"]["resourceVersion"]) if held else 0) == write.expected
            self.writes += 1
            self._store(write.key, write.object if isinstance(write, Put) else None)

    def _store(self, key: Key, obj: Object | None) -> None:
        before = self._meta(key)
        if obj is None:
            self.objects.pop(key, None)
        else:
            self.objects[key] = with_metadata(obj, resourceVersion=str(next(self._revision)))
        after = self._meta(key)
        self.cluster.observe(key, after)
        self._dirty.update(affected(self.cluster, key, before, after))

    def _meta(self, key: Key) -> Meta | None:
        obj = self.objects.get(key)
        return read_meta(encode(obj)) if obj is not None else None

    def _scan(self, group: str, resource: str) -> list[Object]:
        return [o for k, o in sorted(self.objects.items()) if (k.group, k.resource) == (group, resource)]

    def _uid(self) -> str:
        return hashlib.md5(str(next(self._uids)).encode(), usedforsecurity=False).hexdigest()


def template(image: str = "nginx:1", app: str = "web", **annotations: str) -> Object:
    named = {f"sim.towline.io/{k.replace('_', '-')}": v for k, v in annotations.items()}
    metadata: Object = {"labels": {"app": app}, **({"annotations": named} if named else {})}
    return {"metadata": metadata, "spec": {"containers": [{"name": "web", "image": image}]}}


def workload(kind: str, name: str = "web", *, pods: Object | None = None, **spec: Any) -> Object:
    version = "batch/v1" if kind == "Job" else "apps/v1"
    base: Object = {"template": pods or template(app=name)}
    if kind != "Job":
        base["selector"] = {"matchLabels": {"app": name}}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": {**base, **spec}}


def condition(obj: Object, type: str) -> tuple[str, str | None] | None:
    for row in (obj.get("status") or {}).get("conditions") or ():
        if row["type"] == type:
            return row["status"], row.get("reason")
    return None
