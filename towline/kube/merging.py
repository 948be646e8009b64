"""The two movements of a server-side apply: merging a configuration into an object, and removing what it gave
up.

Results share with the live object whatever stays as it was, down to the object itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from towline.kube.fields import FieldSet, divided, item_key
from towline.kube.patches import json_equal
from towline.kube.schemas import UNSET, Schema

_ANY = Schema.ANY


def merge(schema: Schema, live: dict[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """`live` with everything that `wanted` says; `live` itself if it says so already. A null removes a value
    (or is one, where the schema allows it), but does not empty a container."""
    properties, additional = schema.properties, schema.additional or _ANY
    out: dict[str, Any] | None = None
    for field, value in wanted.items():
        present = live.get(field, UNSET)
        if value.__class__ is dict or value.__class__ is list:
            child = properties.get(field) or additional
            merged = without_nulls(child, value) if present is UNSET else _merge(child, present, value)
        elif value is None:
            merged = _merged_null(properties.get(field) or additional, present)
        elif value == present and (value.__class__ is bool) is (present.__class__ is bool):
            continue
        else:
            merged = value
        if merged is present:
            continue
        if out is None:
            out = dict(live)
        if merged is UNSET:
            del out[field]
        else:
            out[field] = merged
    return live if out is None else out


def _merged_null(schema: Schema, present: Any) -> Any:
    if present.__class__ is dict or present.__class__ is list:
        return present
    return None if schema.nullable or schema.preserve_unknown else UNSET


def _merge(schema: Schema, live: Any, wanted: Any) -> Any:
    if live == wanted and orjson.dumps(live) == orjson.dumps(wanted):  # the bytes tell True from 1
        return live
    if wanted.__class__ is dict and live.__class__ is dict and not schema.atomic_map:
        return merge(schema, live, wanted)
    if wanted.__class__ is list and live.__class__ is list:
        keys = divided(schema)
        if keys is not None:
            return _merge_lists(schema.items or _ANY, keys, live, wanted)
    return live if json_equal(live, wanted) else without_nulls(schema, wanted)


def _merge_lists(items: Schema, keys: tuple[str, ...], live: list[Any], wanted: list[Any]) -> list[Any]:
    """The items of both. What is wanted stands in its own order; what only the live list has keeps its place
    before the next item that both have."""
    live_keys = [item_key(items, keys, item) for item in live]
    wanted_keys = [item_key(items, keys, item) for item in wanted]
    if live_keys == wanted_keys:
        if not keys:
            return live
        same = [_merge(items, present, item) for present, item in zip(live, wanted, strict=True)]
        return live if all(x is y for x, y in zip(same, live, strict=True)) else same
    places = dict(zip(live_keys, live, strict=True))
    merged = [
        (
            without_nulls(items, item)
            if key not in places
            else _merge(items, places[key], item)
            if keys
            else places[key]
        )
        for key, item in zip(wanted_keys, wanted, strict=True)
    ]
    named = set(wanted_keys)
    shared = iter([at for at, key in enumerate(wanted_keys) if key in places])
    upcoming = next(shared, None)
    out: list[Any] = []
    done = 0
    for key, item in zip(live_keys, live, strict=True):
        if key not in named:
            out.append(item)
        elif upcoming is not None and wanted_keys[upcoming] == key:
            out += merged[done : upcoming + 1]
            done = upcoming + 1
            upcoming = next(shared, None)
    out += merged[done:]
    return live if len(out) == len(live) and all(x is y for x, y in zip(out, live, strict=True)) else out


def without_nulls(schema: Schema, value: Any) -> Any:
    """A configuration's value as an object keeps it: a null claims a field, but is not a value."""
    if value.__class__ is dict:
        properties, additional = schema.properties, schema.additional or _ANY
        out: dict[str, Any] = {}
        for field, item in value.items():
            child = properties.get(field) or additional
            if item is not None or child.nullable or child.preserve_unknown:
                out[field] = (
                    without_nulls(child, item) if item.__class__ is dict or item.__class__ is list else item
                )
        return out
    if value.__class__ is list:
        items = schema.items or _ANY
        return [without_nulls(items, item) if item.__class__ is dict else item for item in value]
    return value


# --- removing what a manager gave up ------------------------------------------------------------------------


def remove(schema: Schema, value: Any, last: FieldSet, kept: FieldSet) -> Any:
    """`value` without what is in `last` and not in `kept`. A struct counts as owned by whoever owns a field
    in it, so that it goes with its last field."""
    if value.__class__ is dict:
        return _removed_from_object(schema, value, last, kept)
    if value.__class__ is list:
        return _removed_from_list(schema, value, last, kept)
    return value


def _removed_from_object(schema: Schema, value: dict[str, Any], last: FieldSet, kept: FieldSet) -> Any:
    out = value
    for key, node in last.items():
        field = key[2:]
        if key[:2] != "f:" or field not in value:
            continue
        child = schema.properties.get(field)
        keep = kept.get(key)
        if _gone(node, keep, child is not None):
            left = None
        elif node and value[field] is not None:
            left = remove(child or schema.additional or _ANY, value[field], node, keep or {})
            if left is value[field]:
                continue
        else:
            continue
        if out is value:
            out = dict(value)
        if left is None or (not left and keep != {}):  # what was emptied goes, unless somebody wants it empty
            del out[field]
        else:
            out[field] = left
    return out


def _removed_from_list(schema: Schema, value: list[Any], last: FieldSet, kept: FieldSet) -> Any:
    keys = divided(schema)
    if keys is None:
        return value
    items = schema.items or _ANY
    out: list[Any] = []
    same = True
    for item in value:
        key = item_key(items, keys, item)
        node = last.get(key) if key is not None else None
        if key is None or node is None:
            out.append(item)
            continue
        keep = kept.get(key)
        if _gone(node, keep, False):
            same = False
            continue
        left = remove(items, item, node, keep or {})
        same = same and left is item
        out.append(left)
    return value if same else out


def _gone(node: FieldSet, keep: FieldSet | None, named: bool) -> bool:
    was_owned = named or not node or "." in node
    is_owned = keep is not None and (named or not keep or "." in keep)
    return was_owned and not is_owned
