"""A hub's objects in a dict: a Snapshot for decisions, with the few rules of the API that they rely on.

For tables, properties and the simulation: no store, no cache, no time of its own.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from towline.hub.decide import policies
from towline.hub.decide.conditions import rfc3339
from towline.hub.decide.plan import INDEXED_LABELS, UNCOLLECTED, Delete, Plan, Put
from towline.kube import builtin, karmada
from towline.kube.kinds import KindTable
from towline.kube.objects import (
    Key,
    Object,
    copy,
    finalizers_of,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
    revision_of,
    with_metadata,
)

KINDS = KindTable.of([*builtin.kinds(), *karmada.kinds()])


class Conflicted(Exception):
    """A plan was decided on something older than what is there."""


class World:
    """Implements `decide.plan.Snapshot`. `now` is a number that the test moves."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.kinds = KINDS
        self.revision = 0
        self.now = now
        self.objects: dict[Key, Object] = {}
        self.commits = 0
        self._uids = 0

    # --- Snapshot --------------------------------------------------------------------------------------------

    def get(self, key: Key) -> Object | None:
        return self.objects.get(key)

    def list(self, group: str, resource: str, namespace: str | None = None) -> Sequence[Object]:
        return [
            self.objects[key]
            for key in sorted(self.objects)
            if key[:2] == (group, resource) and namespace in (None, key.namespace)
        ]

    def labelled(self, label: str, value: str) -> Sequence[Key]:
        assert label in INDEXED_LABELS
        return [key for key in sorted(self.objects) if labels_of(self.objects[key]).get(label) == value]

    def dependents(self, uid: str) -> Sequence[Key]:
        owners = {k: o["metadata"].get("ownerReferences") or () for k, o in self.objects.items()}
        return [
            key
            for key in sorted(owners)
            if key[:2] not in UNCOLLECTED and any(ref.get("uid") == uid for ref in owners[key])
        ]

    def selecting(self, template: Object) -> Sequence[Key]:
        wanted = policies.selections_for(template)
        return [
            key
            for key in sorted(self.objects)
            if policies.is_policy(key) and policies.selections(self.objects[key]) & wanted
        ]

    # --- what users do ---------------------------------------------------------------------------------------

    def key(self, obj: Object) -> Key:
        kind = self.kinds.of_object(obj)
        assert kind is not None, f"unknown kind {obj.get('apiVersion')} {obj.get('kind')}"
        return kind.key_of(obj)

    def put(self, obj: Object) -> Key:
        """Create or replace as the API does: admission's defaults, identity and generation kept."""
        key = self.key(obj)
        kind = self.kinds.of_object(obj)
        assert kind is not None
        old = self.objects.get(key)
        obj = copy(obj)
        if kind.strategy.default is not None:
            obj = kind.strategy.default(obj, old, rfc3339(self.now), self.new_uid())
        metadata: dict[str, Any] = dict(obj["metadata"])
        before = (old or {}).get("metadata") or {}
        metadata["uid"] = before.get("uid") or self.new_uid()
        metadata["creationTimestamp"] = before.get("creationTimestamp") or rfc3339(self.now)
        if old is not None and "status" in old and "status" not in obj:
            obj["status"] = old["status"]
        if kind.generation:
            same = old is not None and all(
                old.get(f) == obj.get(f) for f in {*old, *obj} - {"metadata", "status"}
            )
            metadata["generation"] = before.get("generation", 0) + (0 if same else 1)
        if old is not None:
            metadata = {**before, **metadata}
        self._store(key, {**obj, "metadata": metadata})
        return key

    def edit(self, key: Key, change: Callable[[Object], None]) -> None:
        obj = copy(self.objects[key])
        change(obj)
        self.put(obj)

    def delete(self, key: Key) -> None:
        """As the API: an object with finalizers is only marked."""
        obj = self.objects[key]
        if not finalizers_of(obj):
            self._drop(key)
        elif not is_deleting(obj):
            self._store(key, with_metadata(obj, deletionTimestamp=rfc3339(self.now)))

    def new_uid(self) -> str:
        self._uids += 1
        return f"00000000-0000-4000-8000-{self._uids:012d}"

    # --- what the loop does ----------------------------------------------------------------------------------

    def apply(self, plan: Plan) -> None:
        """Carry a plan's writes out, atomically. Raises Conflicted."""
        if not plan.writes:
            return
        keys = [write.key for write in plan.writes]
        assert len(set(keys)) == len(keys), f"a plan writes a row twice: {keys}"
        for write in plan.writes:
            present = self.objects.get(write.key)
            if (0 if present is None else revision_of(present)) != write.expected:
                raise Conflicted(str(write.key))
        self.commits += 1
        for write in plan.writes:
            if isinstance(write, Delete):
                self._drop(write.key)
            else:
                self._store(write.key, self._filled(write))

    def settle(
        self, decide: Callable[..., Plan], key: Key, *args: Any, limit: int = 10
    ) -> builtins.list[Plan]:
        """Decide and apply until a plan has no writes. Answers the plans; the last is the one at rest."""
        plans = []
        for _ in range(limit):
            plan = decide(self, key, self.now, *args)
            plans.append(plan)
            if not plan.writes:
                return plans
            self.apply(plan)
        raise AssertionError(f"{key} does not come to rest: {plans[-1]}")

    def _filled(self, write: Put) -> Object:
        obj = write.object
        if write.expected == 0:
            metadata = obj["metadata"]
            obj = with_metadata(
                obj,
                uid=metadata.get("uid") or self.new_uid(),
                creationTimestamp=metadata.get("creationTimestamp") or rfc3339(self.now),
            )
        return obj

    def _store(self, key: Key, obj: Object) -> None:
        assert key.group == "towline.io" or key == self.key(obj), (
            f"{key} is not the key of {obj['kind']} {namespace_of(obj)}/{name_of(obj)}"
        )
        self.revision += 1
        self.objects[key] = with_metadata(copy(obj), resourceVersion=str(self.revision))

    def _drop(self, key: Key) -> None:
        self.revision += 1
        del self.objects[key]


# --- objects -------------------------------------------------------------------------------------------------


def deployment(
    name: str = "web",
    namespace: str = "shop",
    replicas: int = 3,
    labels: Mapping[str, str] | None = None,
    requests: Mapping[str, str] | None = None,
) -> Object:
    container: Object = {"name": "main", "image": "nginx:1"}
    if requests:
        container["resources"] = {"requests": dict(requests)}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, **({"labels": dict(labels)} if labels else {})},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
        },
    }


def configmap(name: str = "settings", namespace: str = "shop", **data: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def cluster_role(name: str = "reader") -> Object:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": [],
    }


def namespace(name: str = "shop", labels: Mapping[str, str] | None = None) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": dict(labels or {})},
        "spec": {"finalizers": ["kubernetes"]},
    }


def _apis() -> list[Object]:
    """status.apiEnablements of a cluster that serves all that the hub does."""
    served: dict[str, list[Object]] = {}
    for kind in [*builtin.kinds(), *karmada.kinds()]:
        served.setdefault(kind.api_version, []).append({"name": kind.plural, "kind": kind.kind})
    return [{"groupVersion": version, "resources": served[version]} for version in sorted(served)]


APIS = _apis()
READY: Object = {
    "type": "Ready",
    "status": "True",
    "lastTransitionTime": "1970-01-01T00:00:00Z",
    "reason": "ClusterReady",
    "message": "cluster is healthy and ready to accept workloads",
}


def cluster(
    name: str, labels: Mapping[str, str] | None = None, finalizers: Sequence[str] = (), **spec: Any
) -> Object:
    """A cluster that is ready and serves every kind."""
    metadata: Object = {"name": name, "labels": dict(labels or {})}
    if finalizers:
        metadata["finalizers"] = list(finalizers)
    return {
        "apiVersion": "cluster.karmada.io/v1alpha1",
        "kind": "Cluster",
        "metadata": metadata,
        "spec": {"syncMode": "Pull", **spec},
        "status": {"apiEnablements": APIS, "conditions": [READY]},
    }


def selector(obj: Object, **more: Any) -> Object:
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], **more}


def policy(
    name: str = "all",
    selectors: Iterable[Object] = (),
    placement: Object | None = None,
    namespace: str | None = "shop",
    **spec: Any,
) -> Object:
    """A PropagationPolicy, or with `namespace=None` a ClusterPropagationPolicy."""
    metadata: Object = {"name": name, **({"namespace": namespace} if namespace else {})}
    body: Object = {"resourceSelectors": list(selectors), **spec}
    if placement is not None:
        body["placement"] = placement
    return {
        "apiVersion": "policy.karmada.io/v1alpha1",
        "kind": "PropagationPolicy" if namespace else "ClusterPropagationPolicy",
        "metadata": metadata,
        "spec": body,
    }
