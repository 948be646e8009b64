"""The scale subresource: a `Scale` over the paths that a kind names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from towline.hub.api import claims, patching, status, writes
from towline.hub.api.engine import Engine
from towline.hub.api.patching import Patch
from towline.hub.api.versions import current
from towline.hub.api.writes import Changed, Options
from towline.kube import jsonpath, selectors
from towline.kube.kinds import Kind, Scale
from towline.kube.objects import Key, Object, decode
from towline.kube.schemas import FieldError, Schema

API_VERSION = "autoscaling/v1"
REPLICAS_MAX = 2**31 - 1

_SCHEMA = Schema.of(
    {
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "spec": {"type": "object", "properties": {"replicas": {"type": "integer", "format": "int32"}}},
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
)
KIND = Kind("autoscaling", "v1", "Scale", "scales", True, _SCHEMA)


async def get(engine: Engine, kind: Kind, key: Key) -> bytes:
    entry = engine.source(kind).get(key)
    if entry is None:
        raise status.not_found(kind, key.name)
    return orjson.dumps(scale_of(kind, current(kind, entry).object))


async def update(
    engine: Engine, kind: Kind, key: Key, sent: Object, options: Options
) -> tuple[bytes, tuple[str, ...]]:
    named = _checked(key, sent)
    return await _change(engine, kind, key, "update", lambda _: sent, options, named)


async def patch(
    engine: Engine, kind: Kind, key: Key, patch: Patch, options: Options
) -> tuple[bytes, tuple[str, ...]]:
    if patch.type == "apply":
        return await _apply(engine, kind, key, patch.content, options)

    def changed(current: Object) -> Object:
        sent = patching.patched(KIND, current, patch, key.name)
        named = _checked(key, sent)
        if named and named != int(current["metadata"]["resourceVersion"]):
            raise status.conflict(kind, key.name)
        return sent

    return await _change(engine, kind, key, "patch", changed, options, 0)


async def _apply(
    engine: Engine, kind: Kind, key: Key, sent: Any, options: Options
) -> tuple[bytes, tuple[str, ...]]:
    """Server-side apply of a Scale: of the object, it sets the one field that a Scale has."""
    if not isinstance(sent, dict) or not sent.get("apiVersion") or not sent.get("kind"):
        raise status.bad_request("an applied configuration is an object that names its apiVersion and kind")
    named = _checked(key, sent)
    path = jsonpath.fields_of(_paths(kind).spec_replicas)
    applied = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": key.name}}
    applied = _with_value(applied, path, _replicas(key, sent))

    def change(old: Object) -> Changed:
        claims.check_identity(kind, key, old, {"metadata": sent.get("metadata") or {}})
        merged = patching.merge_applied(engine, kind, old, applied, options, "scale")
        if merged is old:
            return Changed(old, ())
        return writes.next_object(engine, kind, old, merged, options, "scale", unknown=())

    written = await writes.change_stored(engine, kind, key, "patch", change, options, named, "scale")
    return orjson.dumps(scale_of(kind, decode(written.value))), written.warnings


def scale_of(kind: Kind, obj: Object) -> Object:
    """The Scale of an object."""
    paths = _paths(kind)
    metadata = obj["metadata"]
    shown = {
        field: metadata[field]
        for field in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        if field in metadata
    }
    observed: dict[str, Any] = {"replicas": _number(jsonpath.first(paths.status_replicas, obj))}
    selector = _selector(paths, obj)
    if selector:
        observed["selector"] = selector
    return {
        "kind": "Scale",
        "apiVersion": API_VERSION,
        "metadata": shown,
        "spec": {"replicas": _number(jsonpath.first(paths.spec_replicas, obj))},
        "status": observed,
    }


def scaled(kind: Kind, key: Key, obj: Object, sent: Object) -> Object:
    """`obj` with the replicas of a Scale. Raises 422."""
    return _with_value(obj, jsonpath.fields_of(_paths(kind).spec_replicas), _replicas(key, sent))


async def _change(
    engine: Engine,
    kind: Kind,
    key: Key,
    verb: str,
    wanted: Callable[[Object], Object],
    options: Options,
    named: int,
) -> tuple[bytes, tuple[str, ...]]:
    def change(old: Object) -> Changed:
        sent = wanted(scale_of(kind, old))
        claims.check_identity(kind, key, old, {"metadata": sent.get("metadata") or {}})
        new = scaled(kind, key, old, sent)
        return writes.next_object(engine, kind, old, new, options, "scale")

    written = await writes.change_stored(engine, kind, key, verb, change, options, named, "scale")
    return orjson.dumps(scale_of(kind, decode(written.value))), written.warnings


def _checked(key: Key, sent: Object) -> int:
    """The revision that a Scale names. Raises 400 for what is no Scale of this object."""
    if sent.get("kind", "Scale") != "Scale" or sent.get("apiVersion", API_VERSION) != API_VERSION:
        raise status.bad_request(f"the scale subresource takes a Scale of {API_VERSION}")
    metadata = sent.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise status.bad_request("metadata: must be an object")
    metadata = metadata or {}
    if metadata.get("name") not in (None, "", key.name):
        told = f"the name of the object ({metadata['name']}) does not match the name on the URL ({key.name})"
        raise status.bad_request(told)
    return claims.parse_revision(str(metadata.get("resourceVersion") or "0"))


def _replicas(key: Key, sent: Object) -> int:
    spec = sent.get("spec")
    value = spec.get("replicas", 0) if isinstance(spec, dict) else 0
    if not isinstance(spec, dict | None) or isinstance(value, bool) or not isinstance(value, int):
        error = FieldError(
            "spec.replicas", "FieldValueTypeInvalid", f"Invalid value: {value!r}: must be an integer"
        )
        raise status.invalid(KIND, key.name, [error])
    if not 0 <= value <= REPLICAS_MAX:
        told = f"Invalid value: {value}: must be greater than or equal to 0"
        raise status.invalid(KIND, key.name, [FieldError("spec.replicas", "FieldValueInvalid", told)])
    return value


def _paths(kind: Kind) -> Scale:
    assert kind.scale is not None, "the router asks only kinds with a scale"
    return kind.scale


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _selector(paths: Scale, obj: Object) -> str:
    value = jsonpath.first(paths.selector, obj) if paths.selector else None
    if isinstance(value, str):
        return value
    if not isinstance(value, Mapping):
        return ""
    if "matchLabels" not in value and "matchExpressions" not in value:
        value = {"matchLabels": value}  # a ReplicationController selects by a plain map
    try:
        return str(selectors.from_object(value))
    except selectors.SelectorError:
        return ""


def _with_value(obj: Object, path: tuple[str, ...], value: Any) -> Object:
    head, *rest = path
    if not rest:
        return {**obj, head: value}
    below = obj.get(head)
    return {**obj, head: _with_value(below if isinstance(below, dict) else {}, tuple(rest), value)}
