"""Propagation: from a template and the policies to its binding, claimed, shaped and scheduled in one plan.

The key is the template's. The decision also owns the end: of the template, of a binding that a user deleted, of a binding
whose template vanished; and the template's finalizer, which stays while any member may hold a copy.
"""

from __future__ import annotations

import re
from typing import Any

from towline.hub.decide import bindings, policies
from towline.hub.decide.bindings import Refused
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


def decide(snapshot: Snapshot, key: Key, now: float, view: View | None = None) -> Plan:
    """Everything about the template at `key` and its binding. `view` is the fleet of this snapshot; it is made where it is
    not given."""
    if not propagatable(key):
        return NOTHING
    template = snapshot.get(key)
    if template is None:
        return _without_template(snapshot, key, now)
    binding_key = bindings.key_for(key.namespace, key.name, str(template.get("kind")))
    binding = snapshot.get(binding_key)
    if is_deleting(template):
        return _ending(key, template, binding_key, binding, now)
    if names.CLAIMED_BY in labels_of(template):
        return Plan(reasons={"skipped": f"claimed by {labels_of(template)[names.CLAIMED_BY]}"})
    view = view or View.of(snapshot, now)
    matched = policies.match(snapshot, template)
    reasons: dict[str, Any] = {"policies": list(matched.considered)}
    if matched.policy is None:
        return _unclaimed(snapshot, key, template, binding_key, binding, view, reasons, now)
    claim = policies.claim_by(matched.policy)
    try:
        _require_overrides(snapshot, matched.policy)
        if binding is not None and not bindings.belongs_to(binding, template):
            return _foreign_binding(snapshot, template, claim, binding_key, binding, reasons, now)
        return _apply(snapshot, key, template, matched.policy, binding_key, binding, view, reasons, now)
    except Refused as refusal:
        return _refused(template, claim, str(refusal), reasons)


def _apply(
    snapshot: Snapshot,
    key: Key,
    template: Object,
    policy: Object,
    binding_key: Key,
    binding: Object | None,
    view: View,
    reasons: dict[str, Any],
    now: float,
) -> Plan:
    claim = policies.claim_by(policy)
    claimed = _held(key, policies.with_claim(template, claim))
    # The finalizer is written first: should only a prefix be carried out, no copy can outlive its template.
    writes: Writes = [] if claimed is template else [Put(key, claimed, revision_of(template))]
    if binding is not None and is_deleting(binding):
        reasons["waiting"] = "the binding is being deleted; it comes back when no member holds a copy"
        return Plan((*writes, *bindings.tear_down(binding_key, binding, now)), reasons=reasons)
    shaped = bindings.shape(snapshot, template, policy, claim, binding)
    placed, noted, why, outcome = place(binding_key, shaped, binding, view, now)
    reasons.update(why)
    events = [event for note in noted for event in (note, _about(note, template))]
    if binding is None or placed != binding:
        writes.append(Put(binding_key, placed, 0 if binding is None else revision_of(binding)))
    if bindings.targets(placed) and (binding is None or placed.get("spec") != binding.get("spec")):
        where = f"{placed['kind']}({_qualified(binding_key)})"
        synced = EventNote(placed, "Normal", "SyncWorkSucceed", f"Sync work of {where} successful.")
        events += [synced, _about(synced, template)]
    if claimed is not template or binding is None or shaped.get("spec") != binding.get("spec"):
        events.insert(0, EventNote(template, "Normal", "ApplyPolicySucceed", f"Apply {claim} succeed"))
    if outcome is None:
        return Plan(tuple(writes), tuple(events), reasons=reasons)
    return Plan(
        tuple(writes), tuple(events), reasons=reasons, waits=outcome.waits, details=tuple(outcome.traces)
    )


def _unclaimed(
    snapshot: Snapshot,
    key: Key,
    template: Object,
    binding_key: Key,
    binding: Object | None,
    view: View,
    reasons: dict[str, Any],
    now: float,
) -> Plan:
    """No policy governs the template (any more). As in Karmada an existing binding and its Works stay; only the claim
    goes, from binding and template."""
    writes: Writes = []
    if binding is not None and not bindings.belongs_to(binding, template):
        binding = None
    if binding is not None and is_deleting(binding):
        writes += bindings.tear_down(binding_key, binding, now)
    elif binding is not None:
        kept = without_terminating(policies.with_claim(binding, None), view, binding)
        if kept is not binding:
            writes.append(Put(binding_key, kept, revision_of(binding)))
    gone = binding is None or any(isinstance(write, Delete) for write in writes)
    freed = policies.with_claim(template, None)
    freed = _released(key, freed) if gone else _held(key, freed)
    if freed is not template:
        writes.append(Put(key, freed, revision_of(template)))
    return Plan(tuple(writes), reasons=reasons)


def _ending(key: Key, template: Object, binding_key: Key, binding: Object | None, now: float) -> Plan:
    """The template is being deleted: first its binding, then, when no member may hold a copy, its own finalizer."""
    writes: Writes = []
    if binding is not None and bindings.belongs_to(binding, template):
        writes += bindings.tear_down(binding_key, binding, now)
        if not any(isinstance(write, Delete) for write in writes):
            return Plan(tuple(writes), reasons={"waiting": _holders(binding)})
    released = _released(key, template)
    if released is not template:
        if finalizers_of(released):
            writes.append(Put(key, released, revision_of(template)))
        else:
            writes.append(Delete(key, revision_of(template)))
    return Plan(tuple(writes), reasons={"ending": "no member holds a copy"})


def _without_template(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """No template: a binding that names it is an orphan (what garbage collection does elsewhere)."""
    kind = snapshot.kinds.stored(key.group, key.resource)
    if kind is None:
        return NOTHING
    binding_key = bindings.key_for(key.namespace, key.name, kind.kind)
    binding = snapshot.get(binding_key)
    if binding is None or bindings.template_key(snapshot.kinds, binding) != key:
        return NOTHING
    return Plan(
        tuple(bindings.tear_down(binding_key, binding, now)), reasons={"orphan": "the template is gone"}
    )


def _foreign_binding(
    snapshot: Snapshot,
    template: Object,
    claim: policies.Claim,
    binding_key: Key,
    binding: Object,
    reasons: dict[str, Any],
    now: float,
) -> Plan:
    """The binding's name is taken: by an earlier template of the same name, which is cleared away, or by another kind's
    template, which is never touched."""
    if bindings.is_about(binding, template):
        reasons["waiting"] = "the binding of an earlier template of this name is being removed"
        return Plan(tuple(bindings.tear_down(binding_key, binding, now)), reasons=reasons)
    owner = bindings.controller_of(binding) or {}
    message = (
        f"binding {binding_key.name} belongs to {owner.get('kind')} {owner.get('name')} (uid {owner.get('uid')}); "
        "two templates whose bindings have the same name cannot be propagated together"
    )
    return _refused(template, claim, message, reasons)


def _refused(template: Object, claim: policies.Claim, why: str, reasons: dict[str, Any]) -> Plan:
    event = EventNote(template, "Warning", "ApplyPolicyFailed", f"Apply {claim} failed: {why}")
    return Plan(events=(event,), reasons={**reasons, "waiting": why}, error=why)


def _require_overrides(snapshot: Snapshot, policy: Object) -> None:
    """dependentOverrides must exist before the policy takes effect."""
    namespace = policy["metadata"].get("namespace") or ""
    resource = "overridepolicies" if namespace else "clusteroverridepolicies"
    wanted = (policy.get("spec") or {}).get("dependentOverrides") or ()
    missing = [n for n in wanted if snapshot.get(Key(names.POLICY_GROUP, resource, namespace, n)) is None]
    if missing:
        raise Refused(f"waiting for dependent overrides: {', '.join(missing)}")


def _held(key: Key, template: Object) -> Object:
    # A Namespace's finalizer is the namespace decision's: members may hold it without any binding.
    return template if is_namespace(key) else with_finalizer(template, names.PROPAGATION_FINALIZER)


def _released(key: Key, template: Object) -> Object:
    if is_namespace(key) or names.PROPAGATION_FINALIZER not in finalizers_of(template):
        return template
    return without_finalizer(template, names.PROPAGATION_FINALIZER)


def _qualified(key: Key) -> str:
    return f"{key.namespace}/{key.name}" if key.namespace else key.name


def _about(note: EventNote, template: Object) -> EventNote:
    return EventNote(template, note.type, note.reason, note.message)


def _holders(binding: Object) -> str:
    holders = sorted({*bindings.observed(binding), *bindings.desired(binding)})
    return f"copies may exist in {', '.join(holders)}" if holders else "other finalizers are on the binding"
