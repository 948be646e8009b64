"""Aggregation: what agents report becomes the binding's status and the template's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from towline.hub.decide.bindings import belongs_to, desired, observed, targets, template_key
from towline.hub.decide.conditions import condition, rfc3339, with_condition
from towline.hub.decide.overrides import is_blocked, with_block
from towline.hub.decide.plan import NOTHING, Delete, EventNote, Plan, Put, Snapshot
from towline.hub.decide.wire import Blocked, Phase, WorkReport
from towline.kube import interpreter
from towline.kube.objects import Key, Object, is_deleting, name_of, namespace_of, revision_of

FULLY_APPLIED = "FullyApplied"
NOTHING_BLOCKED: Mapping[str, Blocked] = {}


def decide(
    snapshot: Snapshot,
    key: Key,
    now: float,
    reports: Mapping[str, WorkReport],
    blocked: Mapping[str, Blocked] = NOTHING_BLOCKED,
) -> Plan:
    """The binding at `key` with `reports` (by cluster, those not stored yet) merged in, and its template's status. `blocked`
    are the clusters that are not sent the template now, and why.

    An entry is dropped when its cluster reported the removal, or is no cluster any more (nobody could answer)."""
    binding = snapshot.get(key)
    if binding is None:
        return NOTHING
    entries = _entries(snapshot, binding, reports, blocked, now)
    updated = _with_entries(binding, entries, now)
    writes: list[Put | Delete] = []
    events: list[EventNote] = []
    if updated != binding:
        writes.append(Put(key, updated, revision_of(binding)))
        before = condition(binding.get("status"), FULLY_APPLIED) or {}
        after = condition(updated.get("status"), FULLY_APPLIED) or {}
        if before.get("status") != after.get("status"):
            where = f"{binding['kind']}({_qualified(binding)})"
            message = f"Update {where} with AggregatedStatus successfully."
            events.append(EventNote(binding, "Normal", "AggregateStatusSucceed", message))
    at = template_key(snapshot.kinds, binding)
    template = snapshot.get(at) if at else None
    if at is None or template is None or not belongs_to(binding, template) or is_deleting(binding):
        return Plan(tuple(writes), tuple(events))
    events += _applied_events(template, observed(binding), entries)
    try:
        merged = _aggregated(template, entries, desired(binding))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        # What members report is shaped by them: one odd status must not stop the binding's own.
        message = f"cannot aggregate: {type(error).__name__}: {error}"
        events.append(EventNote(template, "Warning", "AggregateStatusFailed", message))
        return Plan(tuple(writes), tuple(events))
    if merged is not template:
        writes.append(Put(at, merged, revision_of(template)))
        if "status" not in template:
            message = "Update Resource with AggregatedStatus successfully."
            events.append(EventNote(template, "Normal", "AggregateStatusSucceed", message))
    return Plan(tuple(writes), tuple(events))


def _aggregated(
    template: Object, entries: Mapping[str, Mapping[str, Any]], wanted: Mapping[str, int]
) -> Object:
    """`template` with the members' statuses merged into its own; itself when that changes nothing."""
    items = [entry for name, entry in entries.items() if name in wanted]
    if "status" not in template and not any("status" in item for item in items):
        return template  # nothing came back yet
    merged = interpreter.aggregate(template, items)
    if merged is None or merged.get("status") == template.get("status"):
        return template
    return {**template, "status": merged.get("status")}


def _applied_events(
    template: Object, before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]
) -> list[EventNote]:
    """A member took the template, or refuses it: users look at the template for that."""
    events: list[EventNote] = []
    for cluster, entry in after.items():
        known = before.get(cluster) or {}
        told = (entry.get("applied"), entry.get("appliedMessage"))
        if (
            "applied" not in entry
            or is_blocked(entry)
            or told == (known.get("applied"), known.get("appliedMessage"))
        ):
            continue
        if entry["applied"]:
            message = f"Successfully applied resource({_qualified(template)}) to cluster {cluster}"
            events.append(EventNote(template, "Normal", "SyncSucceed", message))
        else:
            message = (
                f"Failed to create or update resource({_qualified(template)}) in member cluster({cluster}): "
                f"{entry.get('appliedMessage')}"
            )
            events.append(EventNote(template, "Warning", "SyncFailed", message))
    return events


def _qualified(obj: Object) -> str:
    return f"{namespace_of(obj)}/{name_of(obj)}" if namespace_of(obj) else name_of(obj)


def _entries(
    snapshot: Snapshot,
    binding: Object,
    reports: Mapping[str, WorkReport],
    blocked: Mapping[str, Blocked],
    now: float,
) -> dict[str, Mapping[str, Any]]:
    wanted = desired(binding)
    entries = dict(observed(binding))
    for cluster in wanted.keys() - entries.keys():
        entries[cluster] = {"clusterName": cluster}
    for cluster in list(entries):
        report = reports.get(cluster)
        if report is not None and report.phase == Phase.REMOVED:
            if cluster not in wanted:
                del entries[cluster]
        elif report is not None and cluster in wanted:
            entries[cluster] = _timed(entry_of(cluster, report), entries[cluster], now)
        elif (
            cluster not in wanted and snapshot.get(Key("cluster.karmada.io", "clusters", "", cluster)) is None
        ):
            del entries[cluster]
    for cluster in wanted:
        entries[cluster] = with_block(entries[cluster], blocked.get(cluster))
    return dict(sorted(entries.items()))


def _timed(entry: Object, before: Mapping[str, Any], now: float) -> Object:
    """`entry` with the time since which it is Unhealthy: what application failover counts from, also after a restart."""
    if entry.get("health") != "Unhealthy":
        return entry
    return {**entry, "unhealthySince": before.get("unhealthySince") or rfc3339(now)}


def entry_of(cluster: str, report: WorkReport) -> Object:
    """An aggregatedStatus entry (Karmada 1.4) from a report; without one it is only the cluster's name."""
    entry: Object = {"clusterName": cluster}
    if report.phase == Phase.APPLIED:
        entry["applied"] = True
        if report.message:
            entry["appliedMessage"] = report.message
        if report.statuses:
            first = report.statuses[0]
            entry["health"] = first.health or "Unknown"
            if first.status:
                entry["status"] = orjson.loads(first.status)
    elif report.phase == Phase.FAILED:
        entry |= {"applied": False, "appliedMessage": report.message, "health": "Unknown"}
    return entry


def _with_entries(binding: Object, entries: Mapping[str, Mapping[str, Any]], now: float) -> Object:
    status: dict[str, Any] = dict(binding.get("status") or {})
    listed = list(entries.values())
    if listed != (status.get("aggregatedStatus") or []):
        status["aggregatedStatus"] = listed
        if not listed:
            del status["aggregatedStatus"]
    changed = binding if status == (binding.get("status") or {}) else {**binding, "status": status}
    return with_fully_applied(changed, now)


def with_fully_applied(binding: Object, now: float) -> Object:
    """The FullyApplied condition as targets and entries have it. Tombstones do not count, and nothing is said before the first
    report. Whoever changes targets or entries calls this, so that the condition never needs a commit of its own."""
    entries, wanted = observed(binding), targets(binding)
    status = binding.get("status") or {}
    present = condition(status, FULLY_APPLIED)
    if present is None and not any("applied" in entry for entry in entries.values()):
        return binding
    full = bool(wanted) and all((entries.get(name) or {}).get("applied") for name in wanted)
    value, reason, message = _FULL if full else _NOT_FULL
    if present is not None and (present.get("status"), present.get("reason")) == (value, reason):
        return binding
    conditions = with_condition(status.get("conditions"), FULLY_APPLIED, value, reason, message, now)
    return {**binding, "status": {**status, "conditions": conditions}}


_FULL = ("True", "FullyAppliedSuccess", "All works have been successfully applied")
_NOT_FULL = (
    "False",
    "FullyAppliedFailed",
    "Failed to apply all works, see status.aggregatedStatus for details",
)
