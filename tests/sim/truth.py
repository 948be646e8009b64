"""What users want, read from the store alone, and how far the members are from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from tests.sim.member import Member
from towline.agent.desired import Ref
from towline.hub.decide.detached import DETACHED
from towline.hub.store.contract import Row
from towline.hub.store.memory import MemoryStore
from towline.hub.store.works import CLUSTERS
from towline.kube import names
from towline.kube.amounts import quantity
from towline.kube.objects import Key, Object, decode, is_deleting, parse_path, stamp
from towline.kube.taints import Taint, repelling, tolerates

SHOP = "shop"
DRAINED = Taint(names.TAINT_DRAIN, "", "NoExecute")
OVERRIDES = ("o1", "o2")
"""Override policies that there may be; each writes its version into an annotation of its name."""


@dataclass
class Truth:
    """What is in the store, read at one instant."""

    templates: dict[tuple[str, str], Object] = field(default_factory=dict)
    """(kind, name) -> template, of those that are not on their way out."""
    policies: dict[str, Object] = field(default_factory=dict)
    overrides: dict[str, Object] = field(default_factory=dict)
    bindings: dict[str, Object] = field(default_factory=dict)
    clusters: dict[str, Object] = field(default_factory=dict)
    namespaces: set[str] = field(default_factory=set)
    left: dict[str, bool] = field(default_factory=dict)
    """Clusters whose agents are to be told that they left, and whether they keep what they have."""

    @classmethod
    def of(cls, store: MemoryStore) -> Truth:
        truth = cls()
        for row in store._rows.values():
            key, obj = _parsed(row)
            if (
                key.resource in ("configmaps", "deployments")
                and key.namespace == SHOP
                and not is_deleting(obj)
            ):
                truth.templates[obj["kind"], key.name] = obj
            elif key.resource == "propagationpolicies" and not is_deleting(obj):
                truth.policies[key.name] = obj
            elif key.resource == "overridepolicies":
                truth.overrides[key.name] = obj
            elif key.resource == "resourcebindings":
                truth.bindings[key.name] = obj
            elif key[:2] == CLUSTERS:
                truth.clusters[key.name] = obj
            elif key[:2] == DETACHED:
                truth.left[obj["spec"]["cluster"]] = obj["spec"]["keep_workloads"]
            elif key.resource == "namespaces":
                truth.namespaces.add(key.name)
        return truth

    def placed(self, name: str) -> set[str]:
        """The clusters that the policy of template `name` chooses among those that there are."""
        policy = self.policies.get(name)
        if policy is None:
            return set()
        placement = policy["spec"]["placement"]
        chosen = (
            placement["clusterAffinity"]["clusterNames"] if "clusterAffinity" in placement else self.clusters
        )
        # Who gets none of few replicas, and which of several groups is taken, is the hub's choice.
        if "replicaScheduling" in placement or "clusterAffinities" in placement:
            targets = (
                self.bindings.get(names.binding_name(name, "Deployment"), {}).get("spec", {}).get("clusters")
            )
            chosen = [target["name"] for target in targets or () if target["name"] in chosen]
        kept = tolerates(placement.get("clusterTolerations"), DRAINED)
        return {
            c for c in chosen
            if c in self.clusters and not is_deleting(self.clusters[c]) and (kept or not self.is_drained(c))
        }  # fmt: skip

    def is_drained(self, cluster: str) -> bool:
        return DRAINED in repelling(self.clusters[cluster]["spec"].get("taints"))

    def meant(self, placement: Object) -> list[str]:
        """The clusters that may be chosen."""
        affinity = placement.get("clusterAffinity") or {}
        return affinity.get("clusterNames") or list(self.clusters)

    def wanted(self) -> Iterator[tuple[str, Ref]]:
        for kind, name in self.templates:
            api_version = "apps/v1" if kind == "Deployment" else "v1"
            for cluster in self.placed(name):
                yield cluster, Ref(api_version, kind, SHOP, name)

    def mended(self) -> Iterator[Object]:
        """What users write in the end: nothing is suspended, every override can be carried out, templates are as they should be."""
        for policy in self.policies.values():
            if policy["spec"].get("suspension"):
                yield {**policy, "spec": {**policy["spec"], "suspension": None}}
        for policy in self.overrides.values():
            yield {**policy, "spec": {"overrideRules": policy["spec"]["overrideRules"][:1]}}
        for template in self.templates.values():
            yield {field: value for field, value in template.items() if field != "status"}

    def notes(self, cluster: str) -> dict[str, str]:
        """The annotations that override policies write in a cluster, of those rules that can be carried out."""
        found: dict[str, str] = {}
        for policy in self.overrides.values():
            rule = policy["spec"]["overrideRules"][0]
            if cluster in rule["targetCluster"]["clusterNames"]:
                found |= rule["overriders"]["annotationsOverrider"][0]["value"]
        return found

    def known(self, cluster: str, ref: Ref) -> bool:
        """Whether the hub, from its store alone, would still find this object in this cluster."""
        if ref.kind == "Namespace":
            return ref.name in self.namespaces and cluster in self.clusters
        binding = self.bindings.get(names.binding_name(ref.name, ref.kind))
        if binding is None:
            return False
        desired = {target["name"] for target in binding["spec"].get("clusters") or ()}
        observed = {
            item["clusterName"] for item in (binding.get("status") or {}).get("aggregatedStatus") or ()
        }
        return cluster in desired | observed


def overriding(name: str, version: int, clusters: Iterable[str], broken: Iterable[str]) -> Object:
    """An override policy that writes its version in `clusters`, and cannot be carried out in those that are `broken`."""
    note = {"annotationsOverrider": [{"operator": "add", "value": {name: str(version)}}]}
    absent = {"plaintext": [{"path": "/absent", "operator": "remove"}]}
    rules = [
        {"targetCluster": {"clusterNames": sorted(chosen)}, "overriders": overriders}
        for chosen, overriders in ((clusters, note), (broken, absent))
        if chosen
    ]
    metadata = {"name": name, "namespace": SHOP}
    kind = {"apiVersion": "policy.karmada.io/v1alpha1", "kind": "OverridePolicy"}
    return {**kind, "metadata": metadata, "spec": {"overrideRules": rules}}


@lru_cache(maxsize=4096)
def _parsed(row: Row) -> tuple[Key, Object]:
    return parse_path(row.key), decode(stamp(row.value, row.revision))


def differences(truth: Truth, members: Mapping[str, Member]) -> Iterator[str]:
    """What keeps the system from being as users want it, in words; nothing when it is."""
    for cluster, member in members.items():
        wanted = {ref for at, ref in truth.wanted() if at == cluster}
        if cluster == "member2":
            wanted.discard(Ref("v1", "ConfigMap", SHOP, "conflict"))
        ours = {ref for ref in member.managed() if ref.kind != "Namespace"}
        if wanted != ours:
            yield f"{cluster} lacks {sorted(wanted - ours)} and has {sorted(ours - wanted)}"
        for ref in wanted & ours:
            yield from _wrong_content(truth, members, cluster, ref)
    for kind, name in truth.templates:
        yield from _wrong_status(truth, members, kind, name)
    for name, binding in truth.bindings.items():
        of = binding["spec"]["resource"]
        if (of["kind"], of["name"]) not in truth.templates:
            yield f"{name} is still there, and its template is not"
    for cluster, obj in truth.clusters.items():
        if is_deleting(obj):
            yield f"{cluster} is still being detached"
        yield from _wrong_summary(cluster, obj, members[cluster])


def _wrong_summary(cluster: str, obj: Object, member: Member) -> Iterator[str]:
    summary = (obj.get("status") or {}).get("resourceSummary") or {}
    counted = (summary.get("allocated") or {}).get("pods")
    if counted != quantity("pods", len(member.objects)):
        yield f"{cluster} has {len(member.objects)} pods, its Cluster says {counted}"
    grades = [model["grade"] for model in obj["spec"].get("resourceModels") or ()]
    graded = [row["grade"] for row in summary.get("allocatableModelings") or ()]
    if graded != grades:
        yield f"{cluster} counts nodes of the grades {graded} instead of {grades}"


def _wrong_content(truth: Truth, members: Mapping[str, Member], cluster: str, ref: Ref) -> Iterator[str]:
    template, live = truth.templates[ref.kind, ref.name], members[cluster].objects[ref]
    notes = {k: v for k, v in live["metadata"]["annotations"].items() if k in OVERRIDES}
    if notes != truth.notes(cluster):
        yield f"{cluster} {ref.name}: overridden by {notes} instead of {truth.notes(cluster)}"
    if ref.kind == "ConfigMap":
        if any(live["data"].get(k) != v for k, v in template["data"].items()):
            yield f"{cluster} {ref.name}: {live['data']} instead of {template['data']}"
        return
    policy = truth.policies[ref.name]
    binding = truth.bindings.get(names.binding_name(ref.name, ref.kind), {})
    share = {t["name"]: t.get("replicas") for t in binding.get("spec", {}).get("clusters") or ()}
    expected = template["spec"]["replicas"]
    if "replicaScheduling" in policy["spec"]["placement"]:
        expected = share.get(cluster)
    if live["spec"]["replicas"] != expected:
        yield f"{cluster} {ref.name}: {live['spec']['replicas']} replicas instead of {expected}"


def _wrong_status(truth: Truth, members: Mapping[str, Member], kind: str, name: str) -> Iterator[str]:
    placed = truth.placed(name)
    binding = truth.bindings.get(names.binding_name(name, kind))
    if binding is None:
        if placed:
            yield f"{name} has no binding"
        return
    items = {item["clusterName"]: item for item in binding.get("status", {}).get("aggregatedStatus") or ()}
    desired = {target["name"] for target in binding["spec"].get("clusters") or ()}
    policy = truth.policies.get(name, {})
    placement = policy["spec"]["placement"]
    if "replicaScheduling" in placement and any(
        c in truth.clusters and not is_deleting(truth.clusters[c]) for c in truth.meant(placement)
    ):
        shares = {target["name"]: target["replicas"] for target in binding["spec"].get("clusters") or ()}
        if sum(shares.values()) != truth.templates[kind, name]["spec"]["replicas"]:
            yield f"{name}: {shares} is not what is wanted"
    if set(items) != desired:
        yield f"{name}: observed {sorted(items)}, desired {sorted(desired)}"
    for cluster, item in items.items():
        conflict = (name, cluster) == ("conflict", "member2")
        if bool(item.get("applied")) is conflict:
            yield f"{name} in {cluster}: applied is {item.get('applied')}"
    if kind == "Deployment" and desired:
        live = [members[c].objects.get(Ref("apps/v1", kind, SHOP, name)) for c in sorted(desired)]
        ready = sum((obj or {}).get("status", {}).get("readyReplicas", 0) for obj in live)
        shown = (truth.templates[kind, name].get("status") or {}).get("readyReplicas", 0)
        if shown != ready:
            yield f"{name}: the template says {shown} ready, the members {ready}"
