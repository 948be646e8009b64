"""The controllers: each is a row that says what it decides and which changes concern which keys.

A new controller is a file in `hub/decide` and a row here. The functions of a row are pure: they read the world and answer keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from towline.hub.controllers import collecting, evicting, fleet, placed, returning
from towline.hub.controllers.turns import Turns
from towline.hub.controllers.waiting import helping
from towline.hub.decide import (
    aggregation,
    bindings,
    capacity,
    clusters,
    descheduling,
    detached,
    doubt,
    garbage,
    health,
    namespaces,
    policies,
    policy_deletion,
    propagation,
    rebalancing,
    remedies,
    roles,
    taint_policies,
    token_secrets,
    userworks,
)
from towline.hub.decide.doubt import FLEET, Doubt
from towline.hub.decide.moving import Holds
from towline.hub.decide.plan import NOTHING, Plan, Snapshot
from towline.hub.decide.scheduling.request import GROUP
from towline.hub.decide.token_secrets import Sign
from towline.hub.store.cache import Cache, Entry, WatchEvent
from towline.hub.store.fleet import Fleet
from towline.hub.store.view import FleetView
from towline.hub.store.works import CLUSTERS, NAMESPACES, WORKS, WorkTable
from towline.kube import names, tokens
from towline.kube.objects import Key, Object, namespace_of

CAPACITY_SECONDS = 5.0
"""The least time between two commits of what one cluster has room for."""


@dataclass(frozen=True, slots=True)
class World:
    """What decisions may read."""

    cache: Cache
    works: WorkTable
    fleet: Fleet
    placing: FleetView
    """The fleet as decisions see it."""
    sign: Sign | None = None
    """Signs ServiceAccounts' tokens; without it their Secrets stay empty."""
    ca_pem: Callable[[], bytes] = bytes
    turns: Turns[Key] = field(default_factory=lambda: Turns(evicting.EVICTIONS_A_SECOND))
    """Which binding is evicted next."""

    @property
    def snapshot(self) -> Snapshot:
        return self.cache.snapshot

    def doubt(self, now: float) -> Doubt | None:
        """Whether the hub believes its losses: to be asked before anything is done to a lost cluster."""
        return doubt.doubts(self.placing.standings, self.fleet.audible(now), now)

    def holds(self, binding: Key, now: float) -> Holds:
        """What holds moves of a binding back and is written nowhere."""
        found = self.doubt(now)
        doubted = found.clusters if found is not None else frozenset[str]()
        return Holds(doubted, self.fleet.settled_at, self.turns.left(binding, now))


def no_keys(*_: object) -> Iterable[Key]:
    return ()


@dataclass(frozen=True, slots=True)
class Controller:
    """One row. `decide(world, key, now)`; the other functions answer the keys that something concerns."""

    name: str
    decide: Callable[[World, Key, float], Plan]
    initial: Callable[[World], Iterable[Key]]
    """Every key, when the loop starts."""
    on_change: Callable[[World, WatchEvent], Iterable[Key]]
    on_report: Callable[[Key], Iterable[Key]] = no_keys
    """An agent reported on a Work of this owner (a binding, a stored Work, a Namespace), or overrides began or ceased to block it."""
    on_work: Callable[[World, str, Key], Iterable[Key]] = no_keys
    """This owner's Work in this cluster came, changed or went."""
    on_contact: Callable[[str], Iterable[Key]] = no_keys
    """This cluster's session or facts changed."""
    priority: Callable[[World, Key], int] = lambda world, key: 0
    """Of two keys that are equally urgent, the one of higher priority is decided first."""
    min_interval_seconds: float = 0.0
    """The least time from a decision that wrote something to the next on the same key."""
    whose: Callable[[World, Key], bool | None] | None = None
    """Of several hubs on one store, which decides on a key: this one (True), another (False), or, as for all keys of a row without
    it, the one that leads (None). For what needs the agents' own words, which only the hub has that holds their session."""


# --- propagation: keys are templates -------------------------------------------------------------------------


def _propagation_initial(world: World) -> Iterator[Key]:
    for group, resource in sorted(world.cache.counts()):
        if propagation.propagatable(Key(group, resource, "", "")):
            yield from (e.key for e in world.cache.list(group, resource) if propagation.propagatable(e.key))
    yield from _all_templates(world)


def _propagation_keys(world: World, event: WatchEvent) -> Iterator[Key]:
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


# --- policies: keys are policies -----------------------------------------------------------------------------


def _policies_initial(world: World) -> Iterator[Key]:
    for resource in (policies.POLICIES, policies.CLUSTER_POLICIES):
        yield from (entry.key for entry in world.cache.list(names.POLICY_GROUP, resource))


def _policies_keys(world: World, event: WatchEvent) -> Iterator[Key]:
    key = event.entry.key
    if policies.is_policy(key):
        yield key
    else:
        before = _claim(event.previous) if event.previous is not None else None
        if before is not None and (event.type == "DELETED" or _claim(event.entry) != before):
            yield before.key


def _claim(entry: Entry) -> policies.Claim | None:
    labels = entry.meta.labels
    if not labels or (names.POLICY_ID not in labels and names.CLUSTER_POLICY_ID not in labels):
        return None
    return policies.claim_of({"metadata": {"labels": labels, "annotations": entry.meta.annotations}})


# --- aggregation: keys are bindings --------------------------------------------------------------------------


def _bindings_initial(world: World) -> Iterator[Key]:
    for resource in (bindings.BINDINGS, bindings.CLUSTER_BINDINGS):
        yield from (entry.key for entry in world.cache.list(names.WORK_GROUP, resource))


def _aggregation_keys(world: World, event: WatchEvent) -> Iterator[Key]:
    if bindings.is_binding(event.entry.key):
        yield event.entry.key
    elif event.entry.key[:2] == CLUSTERS and event.type == "DELETED":
        yield from _bindings_initial(world)


# --- stored Works, Namespaces, Clusters ----------------------------------------------------------------------


def _listed(resource: tuple[str, str]) -> Callable[[World], Iterator[Key]]:
    return lambda world: (entry.key for entry in world.cache.list(*resource))


def _userworks_keys(world: World, event: WatchEvent) -> Iterator[Key]:
    key = event.entry.key
    if key[:2] == WORKS:
        yield key
    elif key[:2] == CLUSTERS and event.type == "DELETED":
        yield from (e.key for e in world.cache.list(*WORKS, names.execution_namespace(key.name)))


def _namespaces_keys(world: World, event: WatchEvent) -> Iterator[Key]:
    key = event.entry.key
    if key[:2] == NAMESPACES:
        yield key
    elif key.namespace:
        # Contents matter only to a namespace that waits for them to go.
        namespace = world.cache.get(Key("", "namespaces", "", key.namespace))
        if namespace is not None and namespace.meta.deletionTimestamp is not None:
            yield namespace.key


def _cluster_named(cluster: str) -> Iterable[Key]:
    return (Key(*CLUSTERS, "", cluster),)


def _of_session(world: World, cluster: Key) -> bool | None:
    return world.fleet.whose(cluster.name)


def _of_reports(world: World, owner: Key) -> bool | None:
    """Reports are where they came in, until they are stored; all else about their owner is the leader's."""
    return True if world.works.reports_of(owner) else None


def _is(resource: tuple[str, str]) -> Callable[[Key], Iterable[Key]]:
    return lambda owner: (owner,) if owner[:2] == resource else ()


def _stored_report(world: World, key: Key, now: float) -> Plan:
    return userworks.decide(world.snapshot, key, now, next(iter(world.works.reports_of(key).values()), None))


def _roles_keys(world: World, event: WatchEvent) -> Iterator[Key]:
    if event.entry.key[:2] == roles.CLUSTER_ROLES:
        for entry in world.cache.list(*roles.CLUSTER_ROLES):
            if entry.object.get("aggregationRule"):
                yield entry.key


def _token_secrets_decide(world: World, key: Key, now: float) -> Plan:
    if world.sign is None:
        return NOTHING
    return token_secrets.decide(world.snapshot, key, now, world.sign, world.ca_pem())


def _token_secrets_initial(world: World) -> Iterator[Key]:
    for entry in world.cache.list(*tokens.SECRETS):
        if tokens.ACCOUNT_NAME in (entry.meta.annotations or {}):
            yield entry.key


def _token_secrets_keys(world: World, event: WatchEvent) -> Iterator[Key]:
    key = event.entry.key
    if key[:2] == tokens.SECRETS:
        if tokens.ACCOUNT_NAME in (event.entry.meta.annotations or {}):
            yield key
    elif key[:2] == tokens.ACCOUNTS and event.type != "MODIFIED":
        for entry in world.cache.list(*tokens.SECRETS, key.namespace):
            if (entry.meta.annotations or {}).get(tokens.ACCOUNT_NAME) == key.name:
                yield entry.key


CONTROLLERS: tuple[Controller, ...] = (
    Controller(
        name="propagation",
        decide=lambda world, key, now: propagation.decide(
            world.snapshot, key, now, world.placing.at(now, key)
        ),
        initial=_propagation_initial,
        on_change=_propagation_keys,
        priority=lambda world, key: placed.priority(world.cache, key),
    ),
    Controller(
        name="policies",
        decide=lambda world, key, now: policy_deletion.decide(world.snapshot, key, now),
        initial=_policies_initial,
        on_change=_policies_keys,
    ),
    Controller(
        name="rebalancing",
        decide=lambda world, key, now: rebalancing.decide(world.snapshot, key, now),
        initial=_listed(rebalancing.REBALANCERS),
        on_change=lambda world, event: _is(rebalancing.REBALANCERS)(event.entry.key),
    ),
    Controller(
        name="aggregation",
        decide=lambda world, key, now: aggregation.decide(
            world.snapshot, key, now, world.works.reports_of(key), world.works.blocked(key)
        ),
        initial=_bindings_initial,
        on_change=_aggregation_keys,
        on_report=lambda owner: (owner,) if bindings.is_binding(owner) else (),
        whose=_of_reports,
        min_interval_seconds=0.25,
    ),
    Controller(
        name="eviction",
        decide=lambda world, key, now: evicting.decide(
            world.snapshot, key, now, world.placing.at(now, key), world.fleet, world.doubt, world.turns
        ),
        initial=_bindings_initial,
        on_change=lambda world, event: evicting.concerned(world.works, world.placing.members, event),
    ),
    Controller(
        name="failback",
        decide=lambda world, key, now: returning.decide(
            world.snapshot, now, world.placing.at(now, key), world.fleet
        ),
        initial=lambda world: (returning.FLEET,),
        on_change=lambda world, event: returning.concerned(event),
        min_interval_seconds=0.25,
    ),
    Controller(
        name="userworks",
        decide=_stored_report,
        initial=_listed(WORKS),
        on_change=_userworks_keys,
        on_report=_is(WORKS),
        whose=_of_reports,
        min_interval_seconds=0.25,
    ),
    Controller(
        name="garbage",
        decide=lambda world, key, now: garbage.decide(world.snapshot, key, now),
        initial=lambda world: collecting.everything(world.cache),
        on_change=lambda world, event: collecting.concerned(world.cache, event),
    ),
    Controller(
        name="namespaces",
        decide=lambda world, key, now: namespaces.decide(world.snapshot, key, now, world.works.holders(key)),
        initial=_listed(NAMESPACES),
        on_change=_namespaces_keys,
        on_work=lambda world, cluster, owner: _is(NAMESPACES)(owner),
    ),
    Controller(
        name="copies",
        decide=lambda world, key, now: namespaces.noted(world.snapshot, key, world.works.let_go(key)),
        initial=lambda world: (),
        on_change=_namespaces_keys,
        on_report=_is(NAMESPACES),
        whose=lambda world, key: bool(world.works.let_go(key)),
        min_interval_seconds=0.25,
    ),
    Controller(
        name="clusters",
        decide=lambda world, key, now: clusters.decide(
            world.snapshot, key, now, len(world.works.works_of(key.name))
        ),
        initial=_listed(CLUSTERS),
        on_change=lambda world, event: fleet.meant(event),
        on_work=lambda world, cluster, owner: fleet.leaving(world.cache, cluster),
        on_contact=_cluster_named,
        whose=lambda world, key: _of_session(world, key) if fleet.leaving(world.cache, key.name) else None,
    ),
    Controller(
        name="detached",
        decide=lambda world, key, now: detached.decide(world.snapshot, key, now),
        initial=_listed(detached.DETACHED),
        on_change=lambda world, event: _is(detached.DETACHED)(event.entry.key),
    ),
    Controller(
        name="health",
        decide=lambda world, key, now: health.decide(
            world.snapshot, key, now, world.fleet.contact(key.name), world.fleet.started, world.fleet.limits
        ),
        initial=_listed(CLUSTERS),
        on_change=lambda world, event: _is(CLUSTERS)(event.entry.key),
        on_contact=_cluster_named,
        whose=_of_session,
    ),
    Controller(
        name="doubt",
        decide=lambda world, key, now: doubt.decide(world.snapshot, key, now, world.placing.standings),
        initial=lambda world: (FLEET,),
        on_change=lambda world, event: fleet.doubted(event),
    ),
    Controller(
        name="taintpolicies",
        decide=lambda world, key, now: taint_policies.decide(
            world.snapshot, key, now, lambda: world.doubt(now)
        ),
        initial=_listed(CLUSTERS),
        on_change=lambda world, event: fleet.tainted(world.cache, event),
    ),
    Controller(
        name="capacity",
        decide=lambda world, key, now: capacity.decide(world.snapshot, key, fleet.counted(world.fleet, key)),
        initial=_listed(CLUSTERS),
        on_change=lambda world, event: _is(CLUSTERS)(event.entry.key),
        on_contact=_cluster_named,
        whose=_of_session,
        min_interval_seconds=CAPACITY_SECONDS,
    ),
    Controller(
        name="descheduling",
        decide=lambda world, key, now: descheduling.decide(
            world.snapshot, key, now, fleet.stuck(world.fleet, key)
        ),
        initial=_listed(CLUSTERS),
        on_change=no_keys,
        on_contact=_cluster_named,
        whose=_of_session,
        min_interval_seconds=CAPACITY_SECONDS,
    ),
    Controller(
        name="remedies",
        decide=lambda world, key, now: remedies.decide(world.snapshot, key, now),
        initial=_listed(CLUSTERS),
        on_change=lambda world, event: fleet.remedied(world.cache, event),
    ),
    Controller(
        name="roles",
        decide=lambda world, key, now: roles.decide(world.snapshot, key, now),
        initial=_listed(roles.CLUSTER_ROLES),
        on_change=_roles_keys,
    ),
    Controller(
        name="tokensecrets",
        decide=_token_secrets_decide,
        initial=_token_secrets_initial,
        on_change=_token_secrets_keys,
    ),
)
