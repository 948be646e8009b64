"""The three patches that clients send: JSON Patch (RFC 6902), merge patch (RFC 7386), strategic merge patch.

None changes its input; what a patch leaves alone is shared with the input, not copied. (The packages for JSON
Patch copy the whole document: 130 µs for a Deployment, 4 here; and none limits what a chain of `copy`
operations may grow to.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from towline.kube.schemas import UNSET, Schema

OPERATIONS_MAX = 10_000
"""Kubernetes' own limit for the operations of one JSON patch."""

COPIED_NODES_MAX = 200_000
"""How many values the `copy` operations of one patch may multiply; RFC 6902 has no bound."""

DEPTH_MAX = 400

_DIRECTIVE = "$patch"
_RETAIN = "$retainKeys"
_DELETE_PRIMITIVES = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"


class PatchError(Exception):
    """A patch that cannot be applied. `path` says where (a JSON pointer, or a field path), "" for the patch
    itself.

    `unprocessable` tells a well-formed patch that does not fit the object (Kubernetes answers 422) from a
    malformed one (400)."""

    def __init__(self, path: str, message: str, *, unprocessable: bool = False) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.message = message
        self.unprocessable = unprocessable


# --- JSON Patch ---------------------------------------------------------------------------------------------


def json_patch(doc: Any, operations: Any) -> Any:
    """`doc` with all six operations of RFC 6902. Raises PatchError; then nothing was applied."""
    if not isinstance(operations, list):
        raise PatchError("", "a JSON patch is a list of operations")
    if len(operations) > OPERATIONS_MAX:
        raise PatchError(
            "", f"The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {len(operations)}"
        )
    copied = 0
    for operation in operations:
        if not isinstance(operation, dict):
            raise PatchError("", "an operation of a JSON patch is an object")
        op = operation.get("op")
        path = _pointer(operation, "path")
        if op in ("add", "replace", "test"):
            if "value" not in operation:
                raise PatchError(operation["path"], f"operation {op!r} needs a value")
            value = operation["value"]
            if op == "test":
                if not json_equal(_lookup(doc, path), value):
                    raise PatchError(operation["path"], "testing value failed", unprocessable=True)
            else:
                doc = _change(doc, path, 0, op, value)
        elif op == "remove":
            doc = _change(doc, path, 0, "remove", None)
        elif op in ("move", "copy"):
            source = _pointer(operation, "from")
            value = _lookup(doc, source)
            if op == "move":
                if path[: len(source)] == source and len(path) > len(source):
                    raise PatchError(operation["path"], "cannot move a value into itself", unprocessable=True)
                doc = _change(doc, source, 0, "remove", None)
            else:
                copied += _size(value)
                if copied > COPIED_NODES_MAX:
                    raise PatchError(operation["path"], "the patch copies too much")
            doc = _change(doc, path, 0, "add", value)
        else:
            raise PatchError("", f"unexpected operation {op!r} in a JSON patch")
    return doc


def value_at(doc: Any, pointer: str) -> Any:
    """What a JSON pointer points to. Raises PatchError where there is nothing."""
    return _lookup(doc, _pointer({"path": pointer}, "path"))


def _pointer(operation: Mapping[str, Any], field: str) -> list[str]:
    text = operation.get(field)
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise PatchError(str(text or ""), f"{field!r} is not a JSON pointer")
    if text.count("/") > DEPTH_MAX:
        raise PatchError(text[:100], "nested too deeply")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _lookup(doc: Any, path: Sequence[str]) -> Any:
    for at, part in enumerate(path):
        if isinstance(doc, dict) and part in doc:
            doc = doc[part]
        elif isinstance(doc, list):
            doc = doc[_index(part, len(doc) - 1, path[: at + 1])]
        else:
            raise _missing(path[: at + 1])
    return doc


def _change(doc: Any, path: Sequence[str], at: int, op: str, value: Any) -> Any:
    """`doc` with one change; only the containers on the way are copied."""
    if at == len(path):
        return None if op == "remove" else value
    part = path[at]
    last = at + 1 == len(path)
    if isinstance(doc, dict):
        if part not in doc and not (last and op == "add"):
            raise _missing(path[: at + 1])
        changed = dict(doc)
        if not last:
            changed[part] = _change(doc[part], path, at + 1, op, value)
        elif op == "remove":
            del changed[part]
        else:
            changed[part] = value
        return changed
    if isinstance(doc, list):
        if last and op == "add" and part == "-":
            return [*doc, value]
        index = _index(part, len(doc) if last and op == "add" else len(doc) - 1, path[: at + 1])
        items = list(doc)
        if not last:
            items[index] = _change(doc[index], path, at + 1, op, value)
        elif op == "add":
            items.insert(index, value)
        elif op == "remove":
            del items[index]
        else:
            items[index] = value
        return items
    raise _missing(path[: at + 1])


def _index(part: str, maximum: int, path: Sequence[str]) -> int:
    if not (part.isascii() and part.isdigit()) or (len(part) > 1 and part[0] == "0") or len(part) > 9:
        raise PatchError("/" + "/".join(path), "not an index of a list", unprocessable=True)
    index = int(part)
    if index > maximum:
        raise PatchError("/" + "/".join(path), "index out of bounds", unprocessable=True)
    return index


def _missing(path: Sequence[str]) -> PatchError:
    return PatchError("/" + "/".join(path), "the path does not exist", unprocessable=True)


def _size(value: Any) -> int:
    """How many values `value` consists of."""
    todo, count = [value], 0
    while todo and count <= COPIED_NODES_MAX:
        item = todo.pop()
        count += 1
        if isinstance(item, dict):
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)
    return count


def json_equal(a: Any, b: Any) -> bool:
    """JSON's equality: unlike Python's, True is not 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(json_equal(value, b[key]) for key, value in a.items())
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(json_equal(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


# --- merge patch --------------------------------------------------------------------------------------------


def merge_patch(doc: Any, patch: Any) -> Any:
    """`doc` with the merge patch of RFC 7386: null removes, objects merge, everything else replaces. Raises
    PatchError only for a patch that is nested too deeply."""
    try:
        return _merge_patch(doc, patch)
    except RecursionError:
        raise PatchError("", "nested too deeply") from None


def _merge_patch(doc: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    merged = dict(doc) if isinstance(doc, dict) else {}
    for field, value in patch.items():
        if value is None:
            merged.pop(field, None)
        elif isinstance(value, dict):
            merged[field] = _merge_patch(merged.get(field), value)
        else:
            merged[field] = value
    return merged


# --- strategic merge patch ----------------------------------------------------------------------------------


def strategic_merge(schema: Schema, doc: Any, patch: Any) -> Any:
    """`doc` with a strategic merge patch: as a merge patch, but lists whose schema says
    `x-kubernetes-patch-strategy: merge` merge by their merge key (or as sets). In the patch `$patch` deletes,
    replaces or merges an object or a list's item, `$deleteFromPrimitiveList/<list>` removes from a set,
    `$setElementOrder/<list>` orders, `$retainKeys` keeps only the named fields. Raises PatchError."""
    if not isinstance(patch, dict):
        raise PatchError("", "a strategic merge patch is an object")
    try:
        return _merge_objects(schema, doc if isinstance(doc, dict) else {}, patch, "")
    except RecursionError:
        raise PatchError("", "nested too deeply") from None


def _merge_objects(schema: Schema, doc: dict[str, Any], patch: dict[str, Any], path: str) -> dict[str, Any]:
    directive = patch.get(_DIRECTIVE)
    if directive is not None:
        rest = {field: value for field, value in patch.items() if field != _DIRECTIVE}
        if directive == "replace":
            return {field: _without_directives(value) for field, value in rest.items() if value is not None}
        if directive == "delete":
            return {}
        if directive != "merge":
            raise PatchError(path, f"unrecognized $patch directive {directive!r}")
        patch = rest
    merged = dict(doc)
    retained = patch.get(_RETAIN)
    if retained is not None:
        _retain(merged, retained, patch, path)
    for field, value in patch.items():
        if _is_directive(field):
            if field.startswith(_DELETE_PRIMITIVES):
                _delete_primitives(merged, field.removeprefix(_DELETE_PRIMITIVES), value, path)
            continue
        where = f"{path}.{field}" if path else field
        child = schema.child(field) or Schema.ANY
        if value is None:
            merged.pop(field, None)
        elif isinstance(value, dict):
            _merge_field(child, merged, field, value, where)
        elif isinstance(value, list):
            present = merged.get(field)
            order = patch.get(_ORDER + field)
            merged[field] = _merge_lists(
                child, present if isinstance(present, list) else [], value, order, where
            )
        else:
            merged[field] = value
    _order_untouched(schema, merged, patch)
    return merged


def _merge_field(child: Schema, merged: dict[str, Any], field: str, value: dict[str, Any], path: str) -> None:
    if value.get(_DIRECTIVE) == "delete":
        merged.pop(field, None)
        return
    present = merged.get(field)
    if isinstance(present, dict) and "replace" not in child.patch_strategy:
        merged[field] = _merge_objects(child, present, value, path)
    else:
        merged[field] = _merge_objects(child, {}, value, path)


def _retain(merged: dict[str, Any], retained: Any, patch: Mapping[str, Any], path: str) -> None:
    if not isinstance(retained, list) or not all(isinstance(field, str) for field in retained):
        raise PatchError(path, f"{_RETAIN} is a list of field names")
    for field in patch:
        if not _is_directive(field) and patch[field] is not None and field not in retained:
            raise PatchError(path, f"{_RETAIN} must name every field of the patch; {field!r} is missing")
    for field in [field for field in merged if field not in retained]:
        del merged[field]


def _delete_primitives(merged: dict[str, Any], field: str, values: Any, path: str) -> None:
    if not isinstance(values, list):
        raise PatchError(path, f"{_DELETE_PRIMITIVES}{field} is a list")
    present = merged.get(field)
    if isinstance(present, list):
        gone = {_identity(value) for value in values}
        merged[field] = [item for item in present if _identity(item) not in gone]


def _merge_lists(schema: Schema, doc: list[Any], patch: list[Any], order: Any, path: str) -> list[Any]:
    """A list of the patch merged into the document's. Without an order of its own, what the patch names comes
    in the patch's order (a new container comes first: surprising, but Kubernetes')."""
    if "merge" not in schema.patch_strategy:
        return [_without_directives(item) for item in patch if not _is_directive_only(item)]
    key = schema.patch_merge_key
    if key is None:
        merged = {_identity(item): item for item in (*doc, *patch)}
        return _interleaved(list(merged.values()), order if isinstance(order, list) else patch, doc, None)
    if any(isinstance(item, dict) and item.get(_DIRECTIVE) == "replace" for item in patch):
        return [_without_directives(item) for item in patch if not _is_directive_only(item)]
    unkeyed = [item for item in doc if _key_of(item, key) is UNSET]
    items = {_identity(item[key]): item for item in doc if _key_of(item, key) is not UNSET}
    named: list[Any] = []
    for item in patch:
        if not isinstance(item, dict):
            raise PatchError(path, "an item of a list with a merge key is an object")
        if key not in item:
            raise PatchError(path, f"map: {item} does not contain declared merge key: {key}")
        identity = _identity(item[key])
        if item.get(_DIRECTIVE) == "delete":
            items.pop(identity, None)
            continue
        named.append(item[key])
        where = f"{path}[{key}={item[key]}]"
        items[identity] = _merge_objects(schema.items or Schema.ANY, items.get(identity, {}), item, where)
    merged_items = [*items.values(), *unkeyed]
    if order is not None:
        return _in_order(merged_items, order, key, doc, path)
    return _interleaved(merged_items, named, [_key_of(item, key) for item in doc], key)


def _order_untouched(schema: Schema, merged: dict[str, Any], patch: Mapping[str, Any]) -> None:
    """`$setElementOrder` also orders lists that the patch names nowhere else."""
    for directive, order in patch.items():
        if not directive.startswith(_ORDER):
            continue
        field = directive.removeprefix(_ORDER)
        present = merged.get(field)
        if isinstance(patch.get(field), list) or not isinstance(present, list):
            continue
        key = (schema.child(field) or Schema.ANY).patch_merge_key
        if key is not None:
            merged[field] = _in_order(present, order, key, present, field)
        elif isinstance(order, list):
            merged[field] = _interleaved(present, order, present, None)


def _in_order(items: list[Any], order: Any, key: str, doc: list[Any], path: str) -> list[Any]:
    if not isinstance(order, list) or not all(isinstance(entry, dict) and key in entry for entry in order):
        raise PatchError(path, f"{_ORDER[:-1]} is a list of objects with {key!r}")
    return _interleaved(items, [entry[key] for entry in order], [_key_of(item, key) for item in doc], key)


def _interleaved(items: list[Any], order: list[Any], server_order: list[Any], key: str | None) -> list[Any]:
    """The items that `order` names in its order, and the rest in the server's. An item of the rest goes
    before the first named one that it preceded in the server's list."""
    rank = {_identity(identity): at for at, identity in reversed(list(enumerate(order)))}
    place = {_identity(identity): at for at, identity in reversed(list(enumerate(server_order)))}
    named: list[tuple[int, int | None, Any]] = []
    rest: list[tuple[int | None, Any]] = []
    for item in items:
        identity = _identity(_key_of(item, key))
        if identity in rank:
            named.append((rank[identity], place.get(identity), item))
        else:
            rest.append((place.get(identity), item))
    named.sort(key=lambda entry: entry[0])
    merged: list[Any] = []
    at = 0
    for _, named_place, item in named:
        while at < len(rest) and named_place is not None:
            rest_place = rest[at][0]
            if rest_place is None or rest_place > named_place:
                break
            merged.append(rest[at][1])
            at += 1
        merged.append(item)
    return [*merged, *(item for _, item in rest[at:])]


def _key_of(item: Any, key: str | None) -> Any:
    return item if key is None else item.get(key, UNSET) if isinstance(item, dict) else UNSET


def _identity(value: Any) -> Any:
    """Something hashable that is equal for equal JSON values."""
    if isinstance(value, str):
        return value
    return (
        (repr(value),)
        if not isinstance(value, (dict, list))
        else orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    )


def _is_directive(field: str) -> bool:
    """Only these: `$ref` is an ordinary field of a CRD's schema."""
    return field.startswith("$") and (
        field in (_DIRECTIVE, _RETAIN) or field.startswith((_DELETE_PRIMITIVES, _ORDER))
    )


def _is_directive_only(item: Any) -> bool:
    return isinstance(item, dict) and _DIRECTIVE in item and (len(item) == 1 or item[_DIRECTIVE] == "delete")


def _without_directives(value: Any) -> Any:
    """What a patch's value leaves in an object: no directives, no nulls in objects."""
    if isinstance(value, dict):
        return {
            field: _without_directives(item)
            for field, item in value.items()
            if item is not None and not _is_directive(field)
        }
    if isinstance(value, list):
        return [_without_directives(item) for item in value if not _is_directive_only(item)]
    return value
