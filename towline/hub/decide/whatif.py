"""What if: the decisions of now beside the same decisions with hypothetical objects. Nothing is written anywhere.

Both worlds are asked for the same templates in the same order, and each sees what it decided before, as the hub does: room
that one template takes is not there for the next. Agents are not asked: what they said already counts, else what Clusters say. What is to
leave a cluster has left it, in its turn and when its time was over; whether the hub would believe a loss is told apart (`held`). What differs
between the two is what the change causes; what the hub would do anyway happens in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from towline.hub.decide import bindings, eviction, policies, propagation
from towline.hub.decide.conditions import condition
from towline.hub.decide.departures import departures
from towline.hub.decide.doubt import doubts, standing_of
from towline.hub.decide.plan import UNCOLLECTED, Plan, Put, Snapshot
from towline.hub.decide.scheduling import View
from towline.hub.decide.scheduling.assigned import share_of
from towline.hub.decide.standing import PLACED, Standing, binding_after, listed, standing
from towline.hub.decide.taint_policies import POLICIES as TAINT_POLICIES
from towline.hub.decide.taint_policies import wishes_for
from towline.hub.decide.taints import with_wishes
from towline.kube import interpreter, names
from towline.kube.kinds import KindTable
from towline.kube.objects import Key, Object, is_deleting, labels_of, name_of, namespace_of

Changes = Mapping[Key, Object | None]
"""Objects as they would be; None for those that would be gone."""
MOVES_MAX = 100
"""How many moves of one template are listed among many; all are counted."""
EVICTIONS_MAX = 8
"""How many steps of eviction one template is followed for; two are usual."""
_CLUSTERS = (names.CLUSTER_GROUP, "clusters")


class Overlay:
    """A Snapshot with changes over another one, which it shares everything else with."""

    def __init__(self, base: Snapshot, changes: Changes) -> None:
        self._base = base
        self._changed: dict[tuple[str, str], dict[Key, Object | None]] = {}
        for key, obj in changes.items():
            self.put(key, obj)

    def put(self, key: Key, obj: Object | None) -> None:
        self._changed.setdefault(key[:2], {})[key] = obj

    @property
    def kinds(self) -> KindTable:
        return self._base.kinds

    @property
    def revision(self) -> int:
        return self._base.revision

    def get(self, key: Key) -> Object | None:
        changed = self._changed.get(key[:2])
        return changed[key] if changed and key in changed else self._base.get(key)

    def list(self, group: str, resource: str, namespace: str | None = None) -> Sequence[Object]:
        found = self._base.list(group, resource, namespace)
        changed = self._changed.get((group, resource))
        if not changed:
            return found
        merged: dict[Key, Object | None] = {
            Key(group, resource, namespace_of(obj), name_of(obj)): obj for obj in found
        }
        merged |= {key: obj for key, obj in changed.items() if namespace in (None, key.namespace)}
        return [obj for _, obj in sorted(merged.items()) if obj is not None]

    def labelled(self, label: str, value: str) -> Sequence[Key]:
        return self._with(
            self._base.labelled(label, value), lambda key, obj: labels_of(obj).get(label) == value
        )

    def dependents(self, uid: str) -> Sequence[Key]:
        return self._with(
            self._base.dependents(uid),
            lambda key, obj: (
                key[:2] not in UNCOLLECTED
                and any(ref.get("uid") == uid for ref in obj["metadata"].get("ownerReferences") or ())
            ),
        )

    def selecting(self, template: Object) -> Sequence[Key]:
        wanted = policies.selections_for(template)
        return self._with(
            self._base.selecting(template),
            lambda key, obj: policies.is_policy(key) and bool(policies.selections(obj) & wanted),
        )

    def _with(self, found: Sequence[Key], holds: Any) -> Sequence[Key]:
        changed = {key: obj for of_resource in self._changed.values() for key, obj in of_resource.items()}
        kept = [key for key in found if key not in changed]
        return sorted([*kept, *(k for k, obj in changed.items() if obj is not None and holds(k, obj))])


class Forecast(NamedTuple):
    """What becomes of one template: `now` without the changes, `then` with them. `stored` are its present targets."""

    template: Key
    now: Standing
    then: Standing
    stored: Mapping[str, int]

    @property
    def moves(self) -> bool:
        return self.now.targets != self.then.targets

    @property
    def differs(self) -> bool:
        """Whether it moves, or stands otherwise where it is."""
        return self.moves or self.now.state != self.then.state

    @property
    def fails(self) -> bool:
        """Whether the changes are what keeps it from being placed."""
        return self.now.state == PLACED and self.then.state != PLACED

    @property
    def pending(self) -> str:
        """What the hub is about to do without any change; empty when nothing."""
        if self.now.targets == self.stored:
            return ""
        before, after = listed(self.stored) or "no cluster", listed(self.now.targets) or "no cluster"
        return f"Even without the changes it goes from {before} to {after}."

    def data(self, *, whole: bool = True) -> dict[str, Any]:
        """As JSON. Not `whole`: without the targets that stay, and of the moves the first MOVES_MAX."""
        before, after = self.now.targets, self.then.targets
        changed = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
        found: dict[str, Any] = {"now": self.now.data(targets=whole), "then": self.then.data(targets=whole)}
        if changed:
            shown = changed if whole else changed[:MOVES_MAX]
            found |= {"movesCount": len(changed), "moves": [_move(name, before, after) for name in shown]}
        return {**found, "pending": self.pending} if self.pending else found


def _move(name: str, before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, Any]:
    """No `before` or no `after` where there is no copy."""
    move: dict[str, Any] = {"cluster": name}
    for field, targets in (("before", before), ("after", after)):
        if name in targets:
            move[field] = targets[name]
    return move


def forecast(
    snapshot: Snapshot,
    view: View,
    templates: Sequence[Key],
    changes: Changes,
    now: float,
    replicas: int | None = None,
) -> Iterator[Forecast]:
    """One template after the other; whoever asks may pause in between. `replicas` are what each of them would ask for."""
    present, changed = _World(snapshot, view, {}), _World(snapshot, view, changes)
    for key in templates:
        if replicas is not None:
            changed.scale(key, replicas)
        stored = _stored(snapshot, key)
        yield Forecast(key, present.decide(key, now), changed.decide(key, now), stored)


def held(snapshot: Snapshot, changes: Changes, now: float) -> str:
    """Why the hub would not believe what `changes` lose, and evict nothing from there at first; empty if it would."""
    fleet = Overlay(snapshot, changes).list(*_CLUSTERS)
    doubt = doubts([standing_of(cluster) for cluster in fleet], None, now)
    if doubt is None:
        return ""
    names = [key.name for key in changes if key[:2] == _CLUSTERS and key.name in doubt.clusters]
    if not names:
        return ""
    return (
        f"{doubt.lost} of {doubt.of} clusters would be lost within a minute: the hub would take itself for cut off, and evict nothing "
        f"from {listed(dict.fromkeys(names, 0))} until most are back, or `towline release CLUSTER --evictions` says that one is lost. "
        "What is forecast comes after that."
    )


def concerned(snapshot: Snapshot, changes: Changes, namespace: str | None) -> Iterator[Key]:
    """The templates of a namespace (None: of the hub) that changes may move: those with a binding, and those that a changed
    policy selects."""
    seen: set[Key] = set()
    for resource in (
        (bindings.BINDINGS, bindings.CLUSTER_BINDINGS) if namespace is None else (bindings.BINDINGS,)
    ):
        for binding in snapshot.list(names.WORK_GROUP, resource, namespace):
            key = bindings.template_key(snapshot.kinds, binding)
            if key is not None and key not in seen:
                seen.add(key)
                yield key
    for at, policy in changes.items():
        if policy is not None and policies.is_policy(at):
            for key in _selected(snapshot, policy, namespace):
                if key not in seen:
                    seen.add(key)
                    yield key


def _selected(snapshot: Snapshot, policy: Object, namespace: str | None) -> Iterator[Key]:
    wanted = namespace or namespace_of(policy) or None
    for selector in (policy.get("spec") or {}).get("resourceSelectors") or ():
        kind = snapshot.kinds.named(str(selector.get("apiVersion")), str(selector.get("kind")))
        if kind is None or (namespace is not None and not kind.namespaced):
            continue
        for template in snapshot.list(*kind.resource, wanted if kind.namespaced else None):
            key = kind.key_of(template)
            if propagation.propagatable(key) and policies.specificity(policy, template):
                yield key


def with_assumed_apis(snapshot: Snapshot, cluster: Object) -> Object:
    """A hypothetical Cluster that says nothing of its APIs is taken to serve what the others do: who writes one down thinks
    of labels and room."""
    status = cluster.get("status") or {}
    if status.get("apiEnablements"):
        return cluster
    for other in snapshot.list(*_CLUSTERS):
        if found := (other.get("status") or {}).get("apiEnablements"):
            return {**cluster, "status": {**status, "apiEnablements": found}}
    return cluster


def with_policy_taints(snapshot: Snapshot, cluster: Object, now: float) -> Object:
    """A hypothetical Cluster with the taints that ClusterTaintPolicies would give it or take."""
    return with_wishes(cluster, wishes_for(cluster, snapshot.list(*TAINT_POLICIES)), now)


class _World:
    """One of the two: a snapshot that takes in what is decided on it, and its view."""

    def __init__(self, snapshot: Snapshot, view: View, changes: Changes) -> None:
        self._objects = Overlay(snapshot, changes)
        clusters = {key.name: obj for key, obj in changes.items() if key[:2] == _CLUSTERS}
        members = view.members.with_changed(clusters) if clusters else view.members
        self._view = replace(view.as_heard(), members=members, assigned=view.assigned.copy())

    def scale(self, key: Key, replicas: int) -> None:
        template = self._objects.get(key)
        if template is not None:
            self._objects.put(key, interpreter.revise_replicas(template, replicas))

    def decide(self, key: Key, now: float) -> Standing:
        template = self._objects.get(key)
        plan = propagation.decide(self._objects, key, now, self._view)
        self._carry_out(plan, now)
        if template is None:
            return standing(plan, key, None, None)
        at = bindings.key_for(key.namespace, key.name, str(template.get("kind")))
        stands = standing(plan, key, template, binding_after(plan, at, self._objects.get(at)))
        return self._evicted(at, now, stands)

    def _evicted(self, at: Key, now: float, stands: Standing) -> Standing:
        """Where it stands when all that is to leave has left, as if its time was over; with what keeps it as its state."""
        binding = self._objects.get(at)
        if binding is None or is_deleting(binding):
            return stands
        times = [departure.at for departure in departures(binding, self._view.members, now)]
        if not times and condition(binding.get("status"), eviction.BLOCKED) is None:
            return stands
        later = max([now, *times])
        for _ in range(EVICTIONS_MAX):
            plan = eviction.decide(self._objects, at, later, self._view)
            if not plan.writes:
                break
            self._carry_out(plan, later)
        left = self._objects.get(at) or {}
        stands = stands._replace(targets=bindings.targets(left))
        found = condition(left.get("status"), eviction.BLOCKED)
        if found is None or stands.state != PLACED:
            return stands
        return stands._replace(state=str(found["reason"]), message=str(found["message"]))

    def _carry_out(self, plan: Plan, now: float) -> None:
        for write in plan.writes:
            written = write.object if isinstance(write, Put) else None
            self._objects.put(write.key, written)
            if bindings.is_binding(write.key):
                share = None if written is None else share_of(written, now)
                self._view.assigned.put(write.key, share)


def _stored(snapshot: Snapshot, key: Key) -> Mapping[str, int]:
    template = snapshot.get(key)
    if template is None:
        return {}
    binding = snapshot.get(bindings.key_for(key.namespace, key.name, str(template.get("kind"))))
    return {} if binding is None or is_deleting(binding) else bindings.targets(binding)
