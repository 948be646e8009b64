"""Which templates a change concerns: those whose propagation is to be decided again."""

from __future__ import annotations

from collections.abc import Iterator

from towline.hub.controllers import placed
from towline.hub.controllers.waiting import helping
from towline.hub.controllers.world import World
from towline.hub.decide import bindings, policies, propagation
from towline.hub.decide.scheduling.request import GROUP
from towline.hub.store.cache import WatchEvent
from towline.hub.store.works import CLUSTERS
from towline.kube import names
from towline.kube.objects import Key, Object, namespace_of


def everything(world: World) -> Iterator[Key]:
    """What can be propagated, and the templates of bindings, which may be gone."""
    for group, resource in sorted(world.cache.counts()):
        if propagation.propagatable(Key(group, resource, "", "")):
            yield from (e.key for e in world.cache.list(group, resource) if propagation.propagatable(e.key))
    yield from _all_templates(world)


def concerned(world: World, event: WatchEvent) -> Iterator[Key]:
    """A template itself, and those that a change of a binding, a policy, what policies depend on or a Cluster may decide otherwise."""
    key = event.entry.key
    if bindings.is_binding(key):
        yield from _template_of(world, event.entry.object)
        yield from _companions(world, event)
        if event.type == "DELETED":
            yield from _namesakes(world, key)
    elif policies.is_policy(key):
        yield from _governed(world, event)
    elif key[:2] in _DEPENDED_ON:
        yield from _dependent(world, event)
    elif key[:2] == CLUSTERS:
        yield from placed.concerned(world.cache, event)
    elif propagation.propagatable(key):
        yield key
        if key[:2] == policies.PRIORITY_CLASSES:
            yield from _dependent(world, event)


def _all_templates(world: World) -> Iterator[Key]:
    for binding in bindings.all_bindings(world.snapshot):
        yield from _template_of(world, binding)


def _template_of(world: World, binding: Object | None) -> Iterator[Key]:
    template = bindings.template_key(world.snapshot.kinds, binding) if binding is not None else None
    if template is not None:
        yield template


def _companions(world: World, event: WatchEvent) -> Iterator[Key]:
    """The templates that share a workload group with a binding, when that moved, came or went."""
    entries = [entry for entry in (event.previous, event.entry) if entry is not None]
    if any(_GROUPS in entry.value for entry in entries) and GROUP in helping(event):
        for companion in world.placing.companions(*(entry.object for entry in entries)):
            yield from _template_of(world, world.snapshot.get(companion))


_GROUPS = b'"workloadAffinityGroups"'
"""Few bindings have it: the others need not be parsed."""


def _governed(world: World, event: WatchEvent) -> Iterator[Key]:
    """The templates that a changed policy claims or selects (before or after)."""
    label = names.POLICY_ID if event.entry.key.namespace else names.CLUSTER_POLICY_ID
    for held in world.snapshot.labelled(label, policies.claim_by(event.entry.object).id):
        if propagation.propagatable(held):
            yield held
    yield from _selected(world, event.entry.object)
    before = event.previous.object if event.previous is not None else None
    if before is not None and policies.selectors_of(before) != policies.selectors_of(event.entry.object):
        yield from _selected(world, before)


_DEPENDED_ON = {
    (names.POLICY_GROUP, "overridepolicies"): policies.POLICIES,
    (names.POLICY_GROUP, "clusteroverridepolicies"): policies.CLUSTER_POLICIES,
}


def _dependent(world: World, event: WatchEvent) -> Iterator[Key]:
    """The templates of the policies that an override, or a PriorityClass, lets take effect or not."""
    key = event.entry.key
    if (
        event.type == "MODIFIED"
        and event.previous is not None
        and event.previous.meta.uid == event.entry.meta.uid
    ):
        return  # neither what an override says nor a class's description counts, and a class's value cannot change
    resources = (
        [_DEPENDED_ON[key[:2]]] if key[:2] in _DEPENDED_ON else [policies.POLICIES, policies.CLUSTER_POLICIES]
    )
    for resource in resources:
        for policy in world.snapshot.list(names.POLICY_GROUP, resource, key.namespace or None):
            if key in policies.dependencies(policy):
                yield from _selected(world, policy)


def _namesakes(world: World, binding: Key) -> Iterator[Key]:
    """The templates that wait for the name of a binding that is gone."""
    for kind in world.snapshot.kinds:
        suffix = f"-{kind.kind.lower()}"
        if kind.namespaced != bool(binding.namespace) or not binding.name.endswith(suffix):
            continue
        if kind.name_style == "path":  # only such names may hold what a binding's name spells otherwise
            at = [entry.key for entry in world.cache.list(*kind.resource, binding.namespace or None)]
        else:
            at = [kind.key(binding.namespace, binding.name.removesuffix(suffix))]
        for key in at:
            if bindings.key_for(key.namespace, key.name, kind.kind) == binding and propagation.propagatable(
                key
            ):
                yield key


def _selected(world: World, policy: Object) -> Iterator[Key]:
    for selector in policies.selectors_of(policy):
        kind = world.snapshot.kinds.named(str(selector.get("apiVersion")), str(selector.get("kind")))
        if kind is None:
            continue
        namespace = namespace_of(policy) or selector.get("namespace") or None
        if kind.namespaced and namespace and selector.get("name"):
            yield kind.key(namespace, selector["name"])
            continue
        for entry in world.cache.list(*kind.resource, namespace if kind.namespaced else None):
            if propagation.propagatable(entry.key) and policies.specificity(policy, entry.object):
                yield entry.key
