"""Works that users wrote themselves: their finalizer, their status, their end (Karmada 1.5, 2.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from towline.hub.decide.conditions import condition, with_condition
from towline.hub.decide.plan import NOTHING, Delete, EventNote, Plan, Put, Snapshot
from towline.hub.decide.wire import Phase, WorkReport
from towline.kube import names
from towline.kube.objects import (
    Key,
    Object,
    finalizers_of,
    group_version,
    is_deleting,
    revision_of,
    with_finalizer,
    without_finalizer,
)

APPLIED_MESSAGE = "Manifest has been successfully applied"
DISPATCHING = ("True", "Dispatching", "Work is being dispatched to member clusters.")
SUSPENDED = ("False", "SuspendDispatching", "Work dispatching is in a suspended state.")


def decide(snapshot: Snapshot, key: Key, now: float, report: WorkReport | None) -> Plan:
    """The stored Work at `key`, with the agent's latest report where one is not stored yet.

    It is sent only once it has its finalizer, so it can never go without the member being told."""
    work = snapshot.get(key)
    cluster = names.cluster_of_execution_namespace(key.namespace)
    if work is None or cluster is None:
        return NOTHING
    member = snapshot.get(Key(names.CLUSTER_GROUP, "clusters", "", cluster))
    if is_deleting(work):
        removed = report is not None and report.phase == Phase.REMOVED
        if names.EXECUTION_FINALIZER not in finalizers_of(work) or (member is not None and not removed):
            return Plan(reasons={"waiting": f"cluster {cluster} has not reported the removal"})
        left = without_finalizer(work, names.EXECUTION_FINALIZER)
        if finalizers_of(left):
            return Plan(writes=(Put(key, left, revision_of(work)),))
        return Plan(writes=(Delete(key, revision_of(work)),))
    held = with_finalizer(work, names.EXECUTION_FINALIZER)
    status: dict[str, Any] = dict(work.get("status") or {})
    events: list[EventNote] = []
    suspended = bool((work.get("spec") or {}).get("suspendDispatching"))
    dispatching = SUSPENDED if suspended else DISPATCHING
    if _says(status, "Dispatching") != dispatching:
        status["conditions"] = with_condition(status.get("conditions"), "Dispatching", *dispatching, now)
        events.append(EventNote(work, "Normal", "WorkDispatching", dispatching[2]))
    if report is not None and report.phase in (Phase.APPLIED, Phase.FAILED):
        applied = applied_condition(report.phase == Phase.APPLIED, report.message)
        if _says(status, "Applied") != applied:
            status["conditions"] = with_condition(status.get("conditions"), "Applied", *applied, now)
            events.append(_applied_event(work, key, cluster, report))
        if report.phase == Phase.APPLIED:
            status["manifestStatuses"] = manifest_statuses(report)
            if not report.statuses:
                del status["manifestStatuses"]
    if status != (work.get("status") or {}):
        held = {**held, "status": status}
    if held is work:
        return NOTHING
    return Plan((Put(key, held, revision_of(work)),), tuple(events))


def applied_condition(applied: bool, message: str) -> tuple[str, str, str]:
    """Status, reason and message of a Work's Applied condition."""
    if applied:
        return "True", "AppliedSuccessful", APPLIED_MESSAGE
    return "False", "AppliedFailed", message


def manifest_statuses(report: WorkReport) -> list[Object]:
    listed: list[Object] = []
    for held in report.statuses:
        group, version = group_version(held.api_version)
        identifier: Object = {
            "ordinal": held.ordinal,
            "group": group,
            "version": version,
            "kind": held.kind,
            "resource": held.resource,
            "namespace": held.namespace,
            "name": held.name,
        }
        entry: Object = {
            "identifier": {k: v for k, v in identifier.items() if v != ""},
            "health": held.health,
        }
        if held.status:
            entry["status"] = orjson.loads(held.status)
        listed.append(entry)
    return listed


def _applied_event(work: Object, key: Key, cluster: str, report: WorkReport) -> EventNote:
    name = f"{key.namespace}/{key.name}"
    if report.phase == Phase.APPLIED:
        return EventNote(
            work, "Normal", "SyncSucceed", f"Sync work({name}) to cluster({cluster}) successful."
        )
    message = f"Failed to sync work({name}) to cluster({cluster}), err: {report.message}"
    return EventNote(work, "Warning", "SyncFailed", message)


def _says(status: Mapping[str, Any], kind: str) -> tuple[str | None, str, str]:
    found = condition(status, kind) or {}
    return found.get("status"), str(found.get("reason") or ""), str(found.get("message") or "")
