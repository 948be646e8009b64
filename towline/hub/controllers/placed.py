"""Which templates a change of a Cluster concerns, and which of them go first.

Read from the cache's bytes with decoders that skip all else: parsing a hundred thousand bindings because a label changed would stop
the hub for seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import msgspec
import orjson

from towline.hub.decide import bindings, policies, wakes
from towline.hub.decide.propagation import propagatable
from towline.hub.decide.scheduling.request import strategy_of
from towline.hub.store.cache import Cache, Entry, WatchEvent
from towline.kube import names
from towline.kube.kinds import KindTable
from towline.kube.objects import Key, Object


def concerned(cache: Cache, event: WatchEvent) -> Iterator[Key]:
    """The templates whose placing this change of a Cluster may change although nothing waits for it (Karmada 3.0).

    Those that follow the clusters and whose affinity means the cluster as it was or as it is; and those with a copy in it when
    it leaves. What is divided keeps its clusters otherwise, and how much room there is counts only for what waits."""
    before, after = event.previous, None if event.type == "DELETED" else event.entry
    gained: set[tuple[str, str]] | None = None
    if before is not None and after is not None and not _stands_elsewhere(before, after):
        gained = _gained(cache.snapshot.kinds, before, after)
        if not gained:
            return
    states = [entry.object for entry in (before, after) if entry is not None]
    for template in dict.fromkeys(_following(cache, lambda placement: any(map(_meant(placement), states)))):
        if gained is None or template[:2] in gained:
            yield template
    if after is None or after.meta.deletionTimestamp:
        yield from _holding(cache, event.entry.key.name)


def priority(cache: Cache, key: Key) -> int:
    """How early the template at `key` is decided: as its binding says, or, before it has one, its policy's PriorityClass."""
    template = cache.get(key)
    if template is None:
        return 0
    kind = _kind_decoder.decode(template.value).kind
    binding = cache.get(bindings.key_for(key.namespace, key.name, kind))
    if binding is not None:
        wish = (
            _binding_decoder.decode(binding.value).spec.schedulePriority if _WISH in binding.value else None
        )
        return wish.priority if wish else 0
    if not cache.list(*policies.PRIORITY_CLASSES):
        return 0
    selecting = map(cache.get, cache.selecting(template.object))
    if not any(policy is not None and _WISH in policy.value for policy in selecting):
        return 0
    policy = policies.match(cache.snapshot, template.object).policy or {}
    rule = (policy.get("spec") or {}).get("schedulePriority") or {}
    found = cache.snapshot.get(policies.priority_class_key(rule)) or {}
    return int(found.get("value") or 0)


_POLICIES = ((policies.POLICIES, names.POLICY_ID), (policies.CLUSTER_POLICIES, names.CLUSTER_POLICY_ID))
_WISH = b'"schedulePriority"'


def _stands_elsewhere(before: Entry, after: Entry) -> bool:
    """Whether labels or spec changed, or the cluster began to leave."""
    past, present = before.meta, after.meta
    return (past.uid, past.labels, past.generation, past.deletionTimestamp) != (
        present.uid,
        present.labels,
        present.generation,
        present.deletionTimestamp,
    )


def _gained(kinds: KindTable, before: Entry, after: Entry) -> set[tuple[str, str]]:
    """The resources (group, plural) that a cluster serves now in a version that it did not serve before."""
    past, present = (_cluster_decoder.decode(entry.value).status for entry in (before, after))
    if past.apiEnablements == present.apiEnablements:
        return set()
    found = (kinds.named(*api) for api in wakes.gained_apis(before.object, after.object))
    return {kind.resource for kind in found if kind is not None}


def _following(cache: Cache, concerns: Callable[[bytes], bool]) -> Iterator[Key]:
    """The templates whose result follows the clusters, of the placements that this `concerns`."""
    for resource, label in _POLICIES:
        for entry in cache.list(names.POLICY_GROUP, resource):
            rule = _policy_decoder.decode(entry.value).spec
            placement = bytes(rule.placement)
            if not rule.lags and not concerns(placement):
                continue
            held = cache.labelled(label, (entry.meta.labels or {}).get(label) or entry.meta.uid)
            if not rule.lags and not _divides(placement):
                yield from filter(propagatable, held)
                continue
            for found in (cache.get(key) for key in held if bindings.is_binding(key)):
                spec = _binding_decoder.decode(found.value).spec if found is not None else None
                if spec is not None and spec.follows and concerns(bytes(spec.placement)):
                    yield from spec.resource.keys(cache.snapshot.kinds)


def _holding(cache: Cache, cluster: str) -> Iterator[Key]:
    """The templates of the bindings that have `cluster` as a target."""
    name = orjson.dumps(cluster)
    for resource in (bindings.BINDINGS, bindings.CLUSTER_BINDINGS):
        for entry in cache.list(names.WORK_GROUP, resource):
            if name not in entry.value:
                continue
            spec = _binding_decoder.decode(entry.value).spec
            if any(target.name == cluster for target in spec.clusters or ()):
                yield from spec.resource.keys(cache.snapshot.kinds)


@lru_cache(maxsize=1024)
def _parsed(placement: bytes) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (orjson.loads(placement) if placement else None) or {}
    return found


@lru_cache(maxsize=1024)
def _divides(placement: bytes) -> bool:
    return strategy_of(_parsed(placement)) != "Duplicated"


@lru_cache(maxsize=1024)
def _meant(placement: bytes) -> Callable[[Object], bool]:
    return wakes.meant(_parsed(placement))


# --- what is read of an object -------------------------------------------------------------------------------


class _Kind(msgspec.Struct):
    kind: str = ""


class _Resource(msgspec.Struct):
    apiVersion: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""

    def keys(self, kinds: KindTable) -> Iterator[Key]:
        """The template's key, unless its kind is not known (any more)."""
        kind = kinds.named(self.apiVersion, self.kind)
        if kind is not None:
            yield kind.key(self.namespace, self.name)


class _Target(msgspec.Struct):
    name: str = ""


class _Priority(msgspec.Struct):
    priority: int = 0


class _BindingSpec(msgspec.Struct):
    resource: _Resource = msgspec.field(default_factory=_Resource)
    replicas: int | None = None
    replicaRequirements: dict[str, Any] | None = None
    components: list[Any] | None = None
    clusters: list[_Target] | None = None
    schedulePriority: _Priority | None = None

    placement: msgspec.Raw = msgspec.Raw()

    @property
    def follows(self) -> bool:
        """Whether nothing is divided: no workload, or Duplicated."""
        fields = ("replicas", "replicaRequirements", "components")
        workload = bindings.is_workload({field: getattr(self, field) for field in fields})
        return not workload or not _divides(bytes(self.placement))


class _Binding(msgspec.Struct):
    spec: _BindingSpec = msgspec.field(default_factory=_BindingSpec)


class _PolicySpec(msgspec.Struct):
    activationPreference: str | None = None
    dependentOverrides: list[str] | None = None
    schedulePriority: Any = None
    placement: msgspec.Raw = msgspec.Raw()

    @property
    def lags(self) -> bool:
        """Whether its bindings may have been placed by an earlier version of it: it is lazy, or waits for something."""
        return self.activationPreference == "Lazy" or bool(self.dependentOverrides or self.schedulePriority)


class _Policy(msgspec.Struct):
    spec: _PolicySpec = msgspec.field(default_factory=_PolicySpec)


class _ClusterStatus(msgspec.Struct):
    apiEnablements: msgspec.Raw = msgspec.Raw()


class _Cluster(msgspec.Struct):
    status: _ClusterStatus = msgspec.field(default_factory=_ClusterStatus)


_kind_decoder = msgspec.json.Decoder(_Kind)
_binding_decoder = msgspec.json.Decoder(_Binding)
_policy_decoder = msgspec.json.Decoder(_Policy)
_cluster_decoder = msgspec.json.Decoder(_Cluster)
