"""Drift in words: which field manager holds now what a Work's manifest sets and we no longer own.

Pure. Reads Kubernetes' managedFields (fieldsV1) of a live object.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from towline.kube.objects import Object, content_hash

FIELD_MANAGER = "towline"


def own_entry(obj: Mapping[str, Any]) -> dict[str, Any] | None:
    """Our managedFields entry: manager towline, operation Apply, the main resource."""
    for entry in _entries(obj):
        if (
            entry.get("manager") == FIELD_MANAGER
            and entry.get("operation") == "Apply"
            and not entry.get("subresource")
        ):
            return entry
    return None


def entry_hash(obj: Mapping[str, Any]) -> bytes:
    """Hash of our managedFields entry: the set of fields that are ours. Its time does not count. b"" without one."""
    entry = own_entry(obj)
    if entry is None:
        return b""
    return content_hash([entry.get("apiVersion"), entry.get("fieldsV1")])


def in_words(body: Object, live: Object) -> str:
    """Who changed what of `body` in `live`: `changed: .spec.replicas by kubectl-edit; put back`."""
    holders = lost_fields(body, live)
    if holders:
        told = "; ".join(f"{_some(paths)} by {manager}" for manager, paths in holders.items())
        return f"changed: {told}; put back"
    latest = _latest_manager(live)
    return f"fields removed, last changed by {latest}; put back" if latest else "fields removed; put back"


def lost_fields(body: Object, live: Object) -> dict[str, list[str]]:
    """Field manager -> paths that `body` sets, that manager holds in `live` and our entry does not."""
    own = (own_entry(live) or {}).get("fieldsV1") or {}
    found: dict[str, list[str]] = {}
    for entry in _entries(live):
        if entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply":
            continue
        for path in _held(entry.get("fieldsV1") or {}, own, body, ""):
            found.setdefault(str(entry.get("manager") or "unknown"), []).append(path)
    return found


def _held(fields: Mapping[str, Any], own: Mapping[str, Any], value: Any, path: str) -> Iterator[str]:
    """Leaf paths of a fieldsV1 tree that exist in `value` and not in `own`. Its keys are `f:<field>`,
    `k:<json keys>` (list item), `v:<json value>` (set member), `i:<index>` and `.` (the node itself)."""
    for step, below in fields.items():
        if step == ".":
            continue
        known, inner, shown = _descend(step, value)
        if not known:
            continue
        ours = own.get(step)
        leaf = not any(key != "." for key in below)
        if leaf and ours is None:
            yield path + shown
        elif not leaf:
            yield from _held(below, ours or {}, inner, path + shown)


def _descend(step: str, value: Any) -> tuple[bool, Any, str]:
    tag, _, rest = step.partition(":")
    if tag == "f" and isinstance(value, dict) and rest in value:
        return True, value[rest], f".{rest}" if rest.isidentifier() else f"[{rest}]"
    if tag in ("k", "v") and isinstance(value, list):
        try:
            wanted = orjson.loads(rest)
        except orjson.JSONDecodeError:
            return False, None, ""
        for item in value:
            if tag == "v" and item == wanted:
                return True, item, f"[{rest}]"
            if tag == "k" and isinstance(item, dict) and _has_keys(item, wanted):
                return True, item, "[" + ",".join(f"{k}={v}" for k, v in wanted.items()) + "]"
    return False, None, ""


def _has_keys(item: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    # A key that the manifest leaves out has its default (ports' protocol is TCP), which we do not know here.
    return all(item.get(key, value) == value for key, value in wanted.items())


def _entries(obj: Mapping[str, Any]) -> list[dict[str, Any]]:
    return (obj.get("metadata") or {}).get("managedFields") or []


def _latest_manager(obj: Mapping[str, Any]) -> str:
    others = [e for e in _entries(obj) if e.get("manager") != FIELD_MANAGER and not e.get("subresource")]
    return str(max(others, key=lambda e: str(e.get("time") or "")).get("manager") or "") if others else ""


def _some(paths: list[str]) -> str:
    return ", ".join(paths[:5]) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
