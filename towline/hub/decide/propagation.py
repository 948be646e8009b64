"""Propagation: from a template and the policies to its binding, claimed, shaped and scheduled in one plan.

The key is the template's. The decision also owns the end: of the template, of a binding that a user deleted, of a binding
whose template vanished; and the template's finalizer, which stays while any member may hold a copy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from towline.hub.decide import activation, bindings, blocking, policies
from towline.hub.decide.placing import place, without_terminating
from towline.hub.decide.plan import NOTHING, Delete, EventNote, Plan, Put, Snapshot
from towline.hub.decide.scheduling import View
from towline.kube import names
from towline.kube.objects import (
    Key,
    Object,
    finalizers_of,
    is_deleting,
    labels_of,
    revision_of,
    with_finalizer,
    without_finalizer,
)

Writes = list[Put | Delete]

SKIPPED_GROUPS = frozenset(
    f"{group}.karmada.io"
    for group in (
        "cluster",
        "policy",
        "work",
        "config",
        "networking",
        "autoscaling",
        "remedy",
        "apps",
        "search",
    )
) | {"events.k8s.io", "coordination.k8s.io", "towline.io"}
SKIPPED_NAMESPACES = re.compile(r"kube-.*")


def propagatable(key: Key) -> bool:
    """Whether objects like this are ever propagated: not Karmada's own, not events and leases, not in reserved
    namespaces."""
    if key.group in SKIPPED_GROUPS or (not key.group and key.resource == "events"):
        return False
    namespace = key.name if is_namespace(key) else key.namespace
    return not (names.is_reserved_namespace(namespace) or SKIPPED_NAMESPACES.fullmatch(namespace))


def is_namespace(key: Key) -> bool:
    return key.resource == "namespaces" and not key.group


@dataclass(frozen=True, slots=True)
class _Case:
    """What one decision is about."""

    snapshot: Snapshot
    key: Key
    template: Object
    binding_key: Key
    binding: Object | None
    view: View
    now: float


def decide(snapshot: Snapshot, key: Key, now: float, view: View | None = None) -> Plan:
    """Everything about the template at `key` and its binding. `view` is the fleet of this snapshot; it is made where it is
    not given."""
    if not propagatable(key):
        return NOTHING
    template = snapshot.get(key)
    if template is None:
        return _without_template(snapshot, key, now)
    binding_key = bindings.key_for(key.namespace, key.name, str(template.get("kind")))
    view = view or View.of(snapshot, now)
    case = _Case(snapshot, key, template, binding_key, snapshot.get(binding_key), view, now)
    if is_deleting(template):
        return _ending(case)
    if names.CLAIMED_BY in labels_of(template):
        return Plan(reasons={"skipped": f"claimed by {labels_of(template)[names.CLAIMED_BY]}"})
    matched = policies.match(snapshot, template)
    plan = (
        _governed(case, matched, matched.policy) if matched.policy is not None else _unclaimed(case, matched)
    )
    return replace(plan, reasons={"policies": list(matched.considered), **plan.reasons})


def _governed(case: _Case, matched: policies.Match, policy: Object) -> Plan:
    if case.binding is not None and not bindings.belongs_to(case.binding, case.template):
        return _foreign_binding(case, case.binding, policy)
    if matched.block is not None and matched.block.policy is policy:
        return _blocked(case, matched, policy)
    return _apply(case, matched, policy)


def _apply(case: _Case, matched: policies.Match, policy: Object) -> Plan:
    template, binding, claim = case.template, case.binding, policies.claim_by(policy)
    if binding is None and activation.waits(template, policy):
        return _lazy(case, claim)
    claimed = activation.with_record(_held(case.key, policies.with_claim(template, claim)), None)
    # The finalizer is written first: should only a prefix be carried out, no copy can outlive its template.
    writes = _changed(case.key, claimed, template)
    events = blocking.notes(template, binding, matched)
    if matched.preempted is not None:
        events.append(blocking.preempted(template, claim, matched.preempted))
    if binding is not None and is_deleting(binding):
        writes += bindings.tear_down(case.binding_key, binding, case.now)
        why = "the binding is being deleted; it comes back when no member holds a copy"
        return Plan(tuple(writes), tuple(events), reasons={"waiting": why})
    shaped = bindings.shape(case.snapshot, template, policy, claim, binding)
    if claimed is not template or binding is None or shaped.get("spec") != binding.get("spec"):
        events.append(EventNote(template, "Normal", "ApplyPolicySucceed", f"Apply {claim} succeed"))
    return _placed(case, blocking.with_block(shaped, matched, case.now), writes, events)


def _lazy(case: _Case, claim: policies.Claim) -> Plan:
    """The policy is lazy and came after the template: it claims it, and takes effect when the template changes."""
    template = case.template
    claimed = policies.with_claim(template, claim)
    claimed = activation.with_record(claimed, activation.content_stamp(template))
    why = f"{claim} is lazy: it takes effect when this object changes"
    events = [EventNote(template, "Normal", "LazyActivation", why)] if claimed is not template else []
    return Plan(tuple(_changed(case.key, claimed, template)), tuple(events), reasons={"waiting": why})


def _placed(case: _Case, shaped: Object, writes: Writes, events: list[EventNote]) -> Plan:
    """The plan so far, with `shaped` scheduled."""
    binding = case.binding
    placed, noted, why, outcome = place(case.binding_key, shaped, binding, case.view, case.now)
    if outcome is not None and outcome.asks:
        return Plan(reasons=why, asks=outcome.asks)
    events = events + [event for note in noted for event in (note, note.about(case.template))]
    if binding is None or placed != binding:
        writes = [*writes, Put(case.binding_key, placed, 0 if binding is None else revision_of(binding))]
    if bindings.targets(placed) and (binding is None or placed.get("spec") != binding.get("spec")):
        where = f"{placed['kind']}({_qualified(case.binding_key)})"
        synced = EventNote(placed, "Normal", "SyncWorkSucceed", f"Sync work of {where} successful.")
        events += [synced, synced.about(case.template)]
    if (told := _dispatching(placed)) != _dispatching(binding or {}):
        noted = [EventNote(placed, "Normal", "WorkDispatching", told)]
        events += [*noted, noted[0].about(case.template)]
    if outcome is None:
        return Plan(tuple(writes), tuple(events), reasons=why)
    return Plan(tuple(writes), tuple(events), reasons=why, waits=outcome.waits, details=tuple(outcome.traces))


def _blocked(case: _Case, matched: policies.Match, policy: Object) -> Plan:
    """`policy` governs the template and cannot take effect, as something that it depends on is missing: it claims nothing new, and what it
    made before stays as it is, scheduled as before. What is missing wakes the template when it comes."""
    template, binding, claim = case.template, case.binding, policies.claim_by(policy)
    mine = policies.claim_of(template if binding is None else binding) == claim
    if not mine or (binding is not None and is_deleting(binding)):
        plan = _unclaimed(case, matched)
    elif binding is None:
        plan = Plan(events=tuple(blocking.notes(template, None, matched)))
    else:
        claimed = _held(case.key, policies.with_claim(template, claim))
        events = blocking.notes(template, binding, matched)
        kept = blocking.with_block(binding, matched, case.now)
        plan = _placed(case, kept, _changed(case.key, claimed, template), events)
    return replace(plan, reasons={**plan.reasons, "waiting": matched.block.message if matched.block else ""})


def _unclaimed(case: _Case, matched: policies.Match) -> Plan:
    """No policy governs the template (any more), or only one that cannot take effect. As in Karmada an existing binding and its Works
    stay; only the claim goes, from binding and template. Unless the policy that let go said `onPolicyDelete: Remove`."""
    template, binding, now = case.template, case.binding, case.now
    writes: Writes = []
    events = blocking.notes(template, binding, matched)
    if binding is not None and not bindings.belongs_to(binding, template):
        binding = None
    if binding is not None:
        remover = None if matched.policy is not None else _remover(case.snapshot, template, binding)
        if is_deleting(binding):
            writes += _torn_down(case.binding_key, binding, now)
        elif remover is not None:
            message = f"{remover} let go with onPolicyDelete: Remove, and no other policy selects this"
            events.append(EventNote(template, "Normal", "RemovedWithPolicy", message))
            writes += _torn_down(case.binding_key, binding, now)
        else:
            free = blocking.with_block(policies.with_claim(binding, None), matched, now)
            writes += _changed(case.binding_key, without_terminating(free, case.view, binding), binding)
    gone = binding is None or any(isinstance(write, Delete) for write in writes)
    freed = activation.with_record(policies.with_claim(template, None), None)
    freed = _released(case.key, freed) if gone else _held(case.key, freed)
    writes += _changed(case.key, freed, template)
    return Plan(tuple(writes), tuple(events))


def _remover(snapshot: Snapshot, template: Object, binding: Object) -> policies.Claim | None:
    """The claim of a policy that takes along what it propagated. One that nobody can read any more takes nothing."""
    claim = policies.claim_of(template) or policies.claim_of(binding)
    policy = None if claim is None else snapshot.get(claim.key)
    if policy is None or policies.claim_by(policy) != claim or not policies.removes(policy):
        return None
    return claim


def _ending(case: _Case) -> Plan:
    """The template is being deleted: first its binding, then, when no member may hold a copy, its own finalizer."""
    key, template, binding = case.key, case.template, case.binding
    writes: Writes = []
    free = _let_go(case.snapshot, template)
    if binding is not None and bindings.belongs_to(binding, template):
        if free is template:
            writes += bindings.tear_down(case.binding_key, binding, case.now)
        else:
            writes += _torn_down(case.binding_key, binding, case.now)
        if not any(isinstance(write, Delete) for write in writes):
            writes += _changed(key, free, template)
            return Plan(tuple(writes), reasons={"waiting": _holders(binding)})
    released = _released(key, free)
    if released is not template:
        if finalizers_of(released):
            writes.append(Put(key, released, revision_of(template)))
        else:
            writes.append(Delete(key, revision_of(template)))
    return Plan(tuple(writes), reasons={"ending": "no member holds a copy"})


def _let_go(snapshot: Snapshot, template: Object) -> Object:
    """`template` without its claim when its policy goes too: that must not wait for the members."""
    claim = policies.claim_of(template)
    policy = None if claim is None else snapshot.get(claim.key)
    return template if policy is not None and not is_deleting(policy) else policies.with_claim(template, None)


def _without_template(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """No template: a binding that names it is an orphan (what garbage collection does elsewhere)."""
    kind = snapshot.kinds.stored(key.group, key.resource)
    if kind is None:
        return NOTHING
    binding_key = bindings.key_for(key.namespace, key.name, kind.kind)
    binding = snapshot.get(binding_key)
    if binding is None or bindings.template_key(snapshot.kinds, binding) != key:
        return NOTHING
    return Plan(tuple(_torn_down(binding_key, binding, now)), reasons={"orphan": "the template is gone"})


def _foreign_binding(case: _Case, binding: Object, policy: Object) -> Plan:
    """The binding's name is taken: by an earlier template of the same name, which is cleared away, or by another kind's
    template, which is never touched (the end of its binding wakes this one)."""
    if bindings.is_about(binding, case.template):
        why = "the binding of an earlier template of this name is being removed"
        torn = bindings.tear_down(case.binding_key, binding, case.now)
        return Plan(tuple(torn), reasons={"waiting": why})
    owner = bindings.controller_of(binding) or {}
    why = (
        f"binding {case.binding_key.name} belongs to {owner.get('kind')} {owner.get('name')} (uid {owner.get('uid')}); "
        "two templates whose bindings have the same name cannot be propagated together"
    )
    mine = policies.claim_of(case.template) == policies.claim_by(policy)
    freed = case.template if mine else policies.with_claim(case.template, None)
    events = blocking.failed(case.template, policy, why)
    return Plan(tuple(_changed(case.key, freed, case.template)), tuple(events), reasons={"waiting": why})


def _torn_down(key: Key, binding: Object, now: float) -> Writes:
    """The next step of a binding's end, without its claim: the end of its policy does not wait for the members."""
    free = policies.with_claim(binding, None)
    return bindings.tear_down(key, free, now) or _changed(key, free, binding)


def _changed(key: Key, new: Object, old: Object) -> Writes:
    return [] if new is old or new == old else [Put(key, new, revision_of(old))]


def _held(key: Key, template: Object) -> Object:
    # A Namespace's finalizer is the namespace decision's: members may hold it without any binding.
    return template if is_namespace(key) else with_finalizer(template, names.PROPAGATION_FINALIZER)


def _released(key: Key, template: Object) -> Object:
    if is_namespace(key) or names.PROPAGATION_FINALIZER not in finalizers_of(template):
        return template
    return without_finalizer(template, names.PROPAGATION_FINALIZER)


def _qualified(key: Key) -> str:
    return f"{key.namespace}/{key.name}" if key.namespace else key.name


def _dispatching(binding: Object) -> str:
    """What Karmada says of each Work when it is held back or let go; here it is said of all at once."""
    suspension = (binding.get("spec") or {}).get("suspension") or {}
    if suspension.get("dispatching"):
        return "Work dispatching is in a suspended state."
    clusters = (suspension.get("dispatchingOnClusters") or {}).get("clusterNames")
    if clusters:
        return f"Work dispatching is in a suspended state in {', '.join(clusters)}."
    return "Work is being dispatched to member clusters."


def _holders(binding: Object) -> str:
    holders = sorted({*bindings.observed(binding), *bindings.desired(binding)})
    return f"copies may exist in {', '.join(holders)}" if holders else "other finalizers are on the binding"
