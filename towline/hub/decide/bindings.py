"""Bindings: how one is named, shaped from template and policy, read, and taken down. RB and CRB differ only in their key."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from towline.hub.decide import activation
from towline.hub.decide.conditions import rfc3339
from towline.hub.decide.plan import Delete, EventNote, Put, Snapshot
from towline.hub.decide.policies import Claim, priority_class_key, with_claim
from towline.kube import interpreter, names
from towline.kube.kinds import KindTable
from towline.kube.objects import (
    Key,
    Object,
    finalizers_of,
    generation_of,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
    revision_of,
    uid_of,
    with_finalizer,
    with_labels,
    with_metadata,
    without_finalizer,
)

BINDINGS = "resourcebindings"
CLUSTER_BINDINGS = "clusterresourcebindings"
DEFAULT_SCHEDULER = "default-scheduler"


# --- finding -------------------------------------------------------------------------------------------------


def key_for(namespace: str, name: str, kind: str) -> Key:
    """The binding's key for a template."""
    resource = BINDINGS if namespace else CLUSTER_BINDINGS
    return Key(names.WORK_GROUP, resource, namespace, names.binding_name(name, kind))


def is_binding(key: Key) -> bool:
    return key.group == names.WORK_GROUP and key.resource in (BINDINGS, CLUSTER_BINDINGS)


def all_bindings(snapshot: Snapshot) -> Iterable[Object]:
    yield from snapshot.list(names.WORK_GROUP, BINDINGS)
    yield from snapshot.list(names.WORK_GROUP, CLUSTER_BINDINGS)


def template_key(kinds: KindTable, binding: Object) -> Key | None:
    """The key of the template that `binding` is for; None when its kind is not known (any more)."""
    ref = (binding.get("spec") or {}).get("resource") or {}
    kind = kinds.named(str(ref.get("apiVersion") or ""), str(ref.get("kind") or ""))
    return kind.key(str(ref.get("namespace") or ""), str(ref.get("name") or "")) if kind else None


def with_template(snapshot: Snapshot, binding: Object, note: EventNote) -> list[EventNote]:
    """What is told about `binding`, and the same about its template, where users look."""
    at = template_key(snapshot.kinds, binding)
    template = snapshot.get(at) if at else None
    return [note] if template is None else [note, note.about(template)]


def controller_of(obj: Object) -> Mapping[str, Any] | None:
    for reference in (obj.get("metadata") or {}).get("ownerReferences") or ():
        if reference.get("controller"):
            found: Mapping[str, Any] = reference
            return found
    return None


def belongs_to(binding: Object, template: Object) -> bool:
    """Whether `binding` is this very template's: owned by its uid, or owned by nobody and about it."""
    owner = controller_of(binding)
    if owner is not None:
        return owner.get("uid") == uid_of(template)
    return is_about(binding, template)


def is_about(binding: Object, template: Object) -> bool:
    """Whether `binding` names `template`, of whatever uid."""
    ref = (binding.get("spec") or {}).get("resource") or {}
    group = str(ref.get("apiVersion") or "").rpartition("/")[0]
    return (group, ref.get("kind"), ref.get("namespace") or "", ref.get("name")) == (
        str(template.get("apiVersion")).rpartition("/")[0],
        template.get("kind"),
        namespace_of(template),
        name_of(template),
    )


# --- reading -------------------------------------------------------------------------------------------------


def desired(binding: Object) -> dict[str, int]:
    """Replicas by cluster that shall hold a copy: targets, then clusters that dependants need, then those still being
    evicted from. A target with a task keeps until it ends what it gives up. Empty while the binding is being deleted."""
    if is_deleting(binding):
        return {}
    spec = binding.get("spec") or {}
    wanted = targets(binding)
    for dependant in spec.get("requiredBy") or ():
        for cluster in dependant.get("clusters") or ():
            wanted.setdefault(cluster["name"], int(cluster.get("replicas") or 0))
    for task in spec.get("gracefulEvictionTasks") or ():
        if task.get("purgeMode") != "Directly":
            cluster, replicas = task["fromCluster"], int(task.get("replicas") or 0)
            wanted[cluster] = max(wanted.get(cluster, 0), replicas)
    return wanted


def targets(binding: Object) -> dict[str, int]:
    """The scheduling result: replicas by cluster."""
    clusters = (binding.get("spec") or {}).get("clusters") or ()
    return {cluster["name"]: int(cluster.get("replicas") or 0) for cluster in clusters}


def observed(binding: Object) -> dict[str, Mapping[str, Any]]:
    """The aggregatedStatus entries by cluster: who may hold a copy."""
    entries = (binding.get("status") or {}).get("aggregatedStatus") or ()
    return {entry["clusterName"]: entry for entry in entries if entry.get("clusterName")}


def status_in(binding: Object, cluster: str) -> Any:
    """What the copy in `cluster` showed last; None: nothing is known of one."""
    return (observed(binding).get(cluster) or {}).get("status")


def with_observed(binding: Object, clusters: Iterable[str]) -> Object:
    """`binding` with an aggregatedStatus entry for each of `clusters`: removal is state, so a cluster must be written down
    as a possible holder before anything is sent to it."""
    known = observed(binding)
    missing = sorted(set(clusters) - known.keys())
    if not missing:
        return binding
    entries = [*known.values(), *({"clusterName": name} for name in missing)]
    entries.sort(key=lambda entry: str(entry["clusterName"]))
    return {**binding, "status": {**(binding.get("status") or {}), "aggregatedStatus": entries}}


def foreign_scheduler(spec: Mapping[str, Any]) -> str | None:
    """Who else is to schedule a binding; None: it is ours."""
    scheduler = str(spec.get("schedulerName") or DEFAULT_SCHEDULER)
    return None if scheduler == DEFAULT_SCHEDULER else scheduler


def is_workload(spec: Mapping[str, Any]) -> bool:
    """Whether a binding is for something that has replicas, none included: what is scaled to zero is divided still."""
    return bool(spec.get("replicas") is not None or spec.get("replicaRequirements") or spec.get("components"))


class Demand(NamedTuple):
    """What a workload asks for: `replicas` with `requirements` each, or sets of several `components`."""

    replicas: int
    requirements: Mapping[str, Any] | None
    components: tuple[Mapping[str, Any], ...]


def demand(spec: Mapping[str, Any]) -> Demand:
    """A single component is as if its replicas and their requirements were the workload's own (Karmada 3.5)."""
    replicas, requirements = int(spec.get("replicas") or 0), spec.get("replicaRequirements")
    components = tuple(spec.get("components") or ())
    if len(components) != 1:
        return Demand(replicas, requirements, components)
    only = components[0]
    return Demand(
        replicas or int(only.get("replicas") or 0), requirements or only.get("replicaRequirements"), ()
    )


# --- shaping -------------------------------------------------------------------------------------------------


def shape(
    snapshot: Snapshot, template: Object, policy: Object, claim: Claim, existing: Object | None
) -> Object:
    """The binding that `policy` makes of `template`, before scheduling. An existing one keeps what is not the policy's:
    targets, requiredBy, eviction tasks, the suspension of scheduling."""
    kind, namespace, name = str(template["kind"]), namespace_of(template), name_of(template)
    key = key_for(namespace, name, kind)
    binding = existing or _blank(key)
    stamp = activation.content_stamp(template) if activation.is_lazy(policy) else None
    seen = activation.recorded(binding)
    binding = _with_identity(binding, key, template, claim)
    if stamp is not None and existing is not None and stamp == seen:
        return binding
    fields = _from_template(template)
    if stamp is None or existing is None or seen is not None:
        fields |= _from_policy(snapshot, template, policy, binding.get("spec") or {})
    # Otherwise the policy is lazy since just now: what it says counts from the template's next change.
    return {**activation.with_record(binding, stamp), "spec": _spec(binding.get("spec") or {}, fields)}


def _blank(key: Key) -> Object:
    kind = "ResourceBinding" if key.namespace else "ClusterResourceBinding"
    metadata = {"name": key.name, "namespace": key.namespace} if key.namespace else {"name": key.name}
    return {"apiVersion": f"{names.WORK_GROUP}/v1alpha2", "kind": kind, "metadata": metadata, "spec": {}}


def _with_identity(binding: Object, key: Key, template: Object, claim: Claim) -> Object:
    """Owner, finalizer, permanent id and claim."""
    id_label = names.BINDING_ID if key.namespace else names.CLUSTER_BINDING_ID
    if not labels_of(binding).get(id_label):
        binding = with_labels(binding, {id_label: derived_uuid("binding", uid_of(template), str(key))})
    binding = with_claim(with_finalizer(binding, finalizer_of(key)), claim)
    owner = {
        "apiVersion": template["apiVersion"],
        "kind": template["kind"],
        "name": name_of(template),
        "uid": uid_of(template),
        "controller": True,
        "blockOwnerDeletion": True,
    }
    others = [o for o in binding["metadata"].get("ownerReferences") or () if not o.get("controller")]
    if binding["metadata"].get("ownerReferences") != [owner, *others]:
        binding = with_metadata(binding, ownerReferences=[owner, *others])
    return binding


def finalizer_of(key: Key) -> str:
    return names.BINDING_FINALIZER if key.namespace else names.CLUSTER_BINDING_FINALIZER


def derived_uuid(*parts: str) -> str:
    """A UUID that is the same for the same parts: ids that a decision makes need no entropy."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


def _from_template(template: Object) -> Object:
    workload = interpreter.replicas(template)
    count, requirements = workload if workload is not None else (None, None)
    return {
        "resource": _reference(template),
        "replicas": count,
        "replicaRequirements": requirements or None,
    }


def _from_policy(snapshot: Snapshot, template: Object, policy: Object, old: Mapping[str, Any]) -> Object:
    rule = policy.get("spec") or {}
    return {
        "propagateDeps": rule.get("propagateDeps") or None,
        "placement": rule.get("placement") or {},
        "schedulerName": rule.get("schedulerName") or DEFAULT_SCHEDULER,
        "failover": rule.get("failover"),
        "conflictResolution": rule.get("conflictResolution") or "Abort",
        "suspension": _suspension(rule, old),
        "preserveResourcesOnDeletion": rule.get("preserveResourcesOnDeletion"),
        "schedulePriority": _schedule_priority(snapshot, rule),
        "workloadAffinityGroups": _affinity_groups(template, rule),
    }


def _spec(old: Mapping[str, Any], fields: Mapping[str, Any]) -> Object:
    """`old` with `fields`; those that are None go."""
    spec: Object = {k: v for k, v in {**old, **fields}.items() if v is not None}
    seen = old.get("resource") or {}
    if {**seen, "resourceVersion": ""} == {**spec["resource"], "resourceVersion": ""} and all(
        spec.get(field) == old.get(field) for field in fields if field != "resource"
    ):
        # Nothing that the binding carries changed: a new resourceVersion alone is not worth a commit.
        spec["resource"] = seen
    return spec


def _reference(template: Object) -> Object:
    reference = {"apiVersion": template["apiVersion"], "kind": template["kind"]}
    if namespace_of(template):
        reference["namespace"] = namespace_of(template)
    reference["name"] = name_of(template)
    reference["uid"] = uid_of(template)
    reference["resourceVersion"] = str(revision_of(template))
    return reference


def _suspension(rule: Mapping[str, Any], old: Mapping[str, Any]) -> Object | None:
    suspension: Object = dict(rule.get("suspension") or {})
    scheduling = (old.get("suspension") or {}).get("scheduling")
    if scheduling is not None:
        suspension["scheduling"] = scheduling
    return suspension or None


def _schedule_priority(snapshot: Snapshot, rule: Mapping[str, Any]) -> Object | None:
    wish = rule.get("schedulePriority")
    found = snapshot.get(priority_class_key(wish)) if wish else None
    return None if found is None else {"priority": int(found.get("value") or 0)}


def _affinity_groups(template: Object, rule: Mapping[str, Any]) -> Object | None:
    if not namespace_of(template):
        return None
    wish = (rule.get("placement") or {}).get("workloadAffinity") or {}
    groups = {}
    for source, field in (("affinity", "affinityGroup"), ("antiAffinity", "antiAffinityGroup")):
        label = (wish.get(source) or {}).get("groupByLabelKey")
        if label and label in labels_of(template):
            groups[field] = f"{label}={labels_of(template)[label]}"
    return groups or None


# --- taking down ---------------------------------------------------------------------------------------------


def tear_down(key: Key, binding: Object, now: float) -> list[Put | Delete]:
    """The next step of a binding's end: mark it deleted, wait until no member may hold a copy (no step), let the row go."""
    holders = {*observed(binding), *desired(binding)}
    foreign = [finalizer for finalizer in finalizers_of(binding) if finalizer != finalizer_of(key)]
    if not holders and not foreign:
        return [Delete(key, revision_of(binding))]
    if not is_deleting(binding):
        marked = with_metadata(
            with_observed(binding, holders),
            deletionTimestamp=rfc3339(now),
            deletionGracePeriodSeconds=0,
            generation=generation_of(binding) + 1,
        )
        return [Put(key, marked, revision_of(binding))]
    if holders or finalizer_of(key) not in finalizers_of(binding):
        return []
    return [Put(key, without_finalizer(binding, finalizer_of(key)), revision_of(binding))]
