"""The controllers: each is a row that says what it decides and which changes concern which keys.

A new controller is a file in `hub/decide` and a row here. The functions of a row are pure: they read the world and answer keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from towline.hub.controllers import collecting, evicting, fleet, placed, returning, templates
from towline.hub.controllers.world import Controller, World, no_keys
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
from towline.hub.decide.doubt import FLEET
from towline.hub.decide.plan import NOTHING, Plan
from towline.hub.store.cache import Entry, WatchEvent
from towline.hub.store.works import CLUSTERS, NAMESPACES, WORKS
from towline.kube import names, tokens
from towline.kube.objects import Key

CAPACITY_SECONDS = 5.0
"""The least time between two commits of what one cluster has room for."""


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
        initial=templates.everything,
        on_change=templates.concerned,
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
            world.snapshot, key, now, len(world.works.works_of(key.name)), _of_session(world, key) is not None
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
