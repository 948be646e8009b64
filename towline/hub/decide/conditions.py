"""Conditions and times, as Kubernetes writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from towline.kube.objects import Object


def rfc3339(now: float) -> str:
    """Epoch seconds as Kubernetes' Time: whole seconds, UTC."""
    return datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def epoch(text: str | None) -> float | None:
    """The epoch seconds of an RFC 3339 time; None for what is none."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def condition(status: Mapping[str, Any] | None, kind: str) -> Mapping[str, Any] | None:
    """The condition of type `kind` in `status.conditions`."""
    for entry in (status or {}).get("conditions") or ():
        if entry.get("type") == kind:
            found: Mapping[str, Any] = entry
            return found
    return None


def with_condition(
    conditions: Sequence[Mapping[str, Any]] | None,
    kind: str,
    value: str,
    reason: str,
    message: str,
    now: float,
) -> list[Object]:
    """`conditions` with one set. lastTransitionTime moves only when the value does; order is kept, a new one goes last."""
    updated: list[Object] = []
    fresh: Object = {
        "type": kind,
        "status": value,
        "lastTransitionTime": rfc3339(now),
        "reason": reason,
        "message": message,
    }
    placed = False
    for entry in conditions or ():
        if entry.get("type") != kind:
            updated.append(dict(entry))
            continue
        placed = True
        if entry.get("status") == value and entry.get("lastTransitionTime"):
            fresh["lastTransitionTime"] = entry["lastTransitionTime"]
        updated.append(fresh)
    return updated if placed else [*updated, fresh]


def without_condition(status: Mapping[str, Any], kind: str) -> Object:
    """`status` without the condition of type `kind`."""
    left = [entry for entry in status.get("conditions") or () if entry.get("type") != kind]
    rest = {field: value for field, value in status.items() if field != "conditions"}
    return {**rest, "conditions": left} if left else rest


MESSAGE_LENGTH_MAX = 1024
"""What a message may be long that lists what it cannot bound."""


def with_obstacle(obj: Object, kind: str, obstacle: tuple[str, str] | None, now: float) -> Object:
    """`obj` whose condition `kind` is True with this reason and message, or absent where nothing is in the way. The same object when
    that is so already."""
    status = obj.get("status") or {}
    before = condition(status, kind)
    if obstacle is None:
        return obj if before is None else {**obj, "status": without_condition(status, kind)}
    if before is not None and (before.get("reason"), before.get("message")) == obstacle:
        return obj
    conditions = with_condition(status.get("conditions"), kind, "True", *obstacle, now)
    return {**obj, "status": {**status, "conditions": conditions}}
