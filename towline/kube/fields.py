"""Sets of fields: who owns what in an object (`metadata.managedFields`), and what changed between two
objects.

A set is kept in the very form that Kubernetes writes it, `fieldsV1`: nested objects whose keys are
`f:<field>`, `k:{"<key>":<value>}` (an item of a list with keys), `v:<value>` (an item of a list that is a
set). A path is in the set if its node is `{}` or contains `.`; so parsing an entry costs nothing, and neither
does writing it. The empty set is `{}` at the root.

What counts as one field follows the schema, as in Kubernetes: scalars, atomic lists and maps, empty lists and
maps are leaves; a list without `x-kubernetes-list-type` is atomic; below a node without a schema maps are
divided and lists are not.

Sets are values: no function changes one, and results share nodes with their arguments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from towline.kube.patches import json_equal
from towline.kube.schemas import UNSET, Schema

FieldSet = dict[str, Any]

DEPTH_MAX = 200

_ANY = Schema.ANY
_LEAF: FieldSet = {}
_SELF = "."
_KINDS = ("f:", "k:", "v:", "i:")


class FieldsError(ValueError):
    """An object that cannot be divided into fields. `path` as in conflicts (`.spec.ports`)."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.path = ""
        self.message = message

    def below(self, segment: str) -> FieldsError:
        """The error as seen from the parent: paths are put together only where something is wrong."""
        self.path = segment + self.path
        return self


class Comparison(NamedTuple):
    """Where two objects differ. Containers that came or went count too."""

    added: FieldSet
    modified: FieldSet
    removed: FieldSet

    def __bool__(self) -> bool:
        return bool(self.added or self.modified or self.removed)


# --- algebra ------------------------------------------------------------------------------------------------


def union(a: FieldSet, b: FieldSet) -> FieldSet:
    if not a or a is b:
        return b
    return _joined(a, b) if b else a


def _joined(a: FieldSet, b: FieldSet) -> FieldSet:
    """Two nodes that have children."""
    out: FieldSet | None = None
    for key, theirs in b.items():
        ours = a.get(key)
        if ours is None:
            node = theirs
        elif key == _SELF or ours is theirs:
            continue
        elif not ours:
            node = theirs if not theirs or _SELF in theirs else {_SELF: _LEAF, **theirs}
        elif not theirs:
            node = ours if _SELF in ours else {_SELF: _LEAF, **ours}
        else:
            node = _joined(ours, theirs)
        if node is not ours:
            if out is None:
                out = dict(a)
            out[key] = node
    return a if out is None else out


def difference(a: FieldSet, b: FieldSet) -> FieldSet:
    """What is in `a` and not in `b`. A path below one that `b` holds stays: only equal paths go."""
    if not a or not b:
        return a
    return _without(a, b) or _LEAF


def _without(a: FieldSet, b: FieldSet) -> FieldSet | None:
    """A node with children without another; None if nothing is left."""
    out: FieldSet | None = None
    for key, theirs in b.items():
        ours = a.get(key)
        if ours is None:
            continue
        if key == _SELF:
            left: FieldSet | None = None
        elif not ours:
            left = None if not theirs or _SELF in theirs else ours
        elif not theirs:
            left = _below(ours)
        else:
            left = _without(ours, theirs)
        if left is not ours:
            if out is None:
                out = dict(a)
            if left is None:
                del out[key]
            else:
                out[key] = left
    return a if out is None else _tidy(out)


def _below(node: FieldSet) -> FieldSet:
    """The children of a node, without itself."""
    return {key: child for key, child in node.items() if key != _SELF} if _SELF in node else node


def _tidy(node: FieldSet) -> FieldSet | None:
    """A node that lost something: None for nothing, `{}` for itself alone."""
    if not node:
        return None
    return _LEAF if len(node) == 1 and _SELF in node else node


def intersection(a: FieldSet, b: FieldSet) -> FieldSet:
    if not a or not b:
        return _LEAF
    return (a if a is b else _common(a, b)) or _LEAF


def _common(a: FieldSet, b: FieldSet) -> FieldSet | None:
    """What two nodes with children share, None for nothing."""
    out: FieldSet = {}
    if len(b) < len(a):
        a, b = b, a
    for key, ours in a.items():
        theirs = b.get(key)
        if theirs is None:
            continue
        if not ours:
            if not theirs or _SELF in theirs:
                out[key] = _LEAF
        elif not theirs:
            if _SELF in ours:
                out[key] = _LEAF
        else:
            both = _common(ours, theirs)
            if both is not None:
                out[key] = both
    return _tidy(out)


def paths(fields: FieldSet) -> list[str]:
    """All paths of the set as Kubernetes writes them in conflicts, sorted: `.spec.replicas`,
    `.spec.containers[name="a"].image`, `.metadata.finalizers[="x"]`."""
    return list(_paths(fields, ""))


def _paths(fields: FieldSet, prefix: str) -> Iterator[str]:
    for key in sorted(fields):
        if key == _SELF:
            continue
        node = fields[key]
        path = prefix + _segment(key)
        if not node or _SELF in node:
            yield path
        yield from _paths(node, path)


def _segment(key: str) -> str:
    kind, text = key[:2], key[2:]
    if kind == "f:":
        return f".{text}"
    if kind == "v:":
        return f"[={text}]"
    if kind == "k:":
        keys: Mapping[str, Any] = orjson.loads(text)
        return (
            "["
            + ",".join(f"{name}={orjson.dumps(value).decode()}" for name, value in sorted(keys.items()))
            + "]"
        )
    return f"[{text}]"


def read(fields: Any) -> FieldSet | None:
    """`fields` from a client as a set in canonical form, None if it is not fieldsV1."""
    if not isinstance(fields, dict):
        return None
    try:
        return _read(fields, 0)
    except ValueError:
        return None


def _read(fields: Mapping[str, Any], depth: int) -> FieldSet:
    if depth > DEPTH_MAX:
        raise ValueError("nested too deeply")
    out: FieldSet = {}
    for key, node in fields.items():
        if not isinstance(node, dict) or (key != _SELF and key[:2] not in _KINDS) or (key == _SELF and node):
            raise ValueError(f"not a field: {key!r}")
        if key[:2] in ("k:", "v:"):
            value = orjson.loads(key[2:])
            if key[0] == "k" and not isinstance(value, dict):
                raise ValueError(f"not a list key: {key!r}")
            key = key[:2] + orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
        out[key] = _read(node, depth + 1)
    return out if len(out) != 1 or _SELF not in out else {}


# --- the fields of an object --------------------------------------------------------------------------------


def of_object(schema: Schema, obj: Mapping[str, Any]) -> FieldSet:
    """The set that applying `obj` claims: every leaf, and every item of a list and entry of a map, but not
    the objects, lists and maps around them. Raises FieldsError for lists whose items lack their keys or
    repeat them."""
    try:
        return _children(schema, obj, False)
    except RecursionError:
        raise FieldsError("nested too deeply") from None


def _node(schema: Schema, value: Any, whole: bool) -> FieldSet:
    """The node of a value without its own membership: `{}` for a leaf. `whole` also takes the containers
    in."""
    if value.__class__ is dict:
        return _LEAF if not value or schema.atomic_map else _children(schema, value, whole)
    if value.__class__ is list:
        return _LEAF if not value or divided(schema) is None else _items(schema, value, whole)
    return _LEAF


def _children(schema: Schema, value: Mapping[str, Any], whole: bool) -> FieldSet:
    properties, additional = schema.properties, schema.additional or _ANY
    out: FieldSet = {}
    for field, item in value.items():
        cls = item.__class__
        if (
            cls is list
            and not item
            and not whole
            and field in properties
            and divided(properties[field]) is not None
        ):
            continue  # nobody is anything in it yet
        if (cls is not dict and cls is not list) or not item:
            out["f:" + field] = _LEAF
            continue
        child = properties.get(field)
        try:
            node = _node(child or additional, item, whole)
        except FieldsError as error:
            raise error.below(f".{field}") from None
        if not node and node is not _LEAF and child is not None:
            continue  # nothing in it but such lists
        if node and (child is None or (whole and _shows_itself(child, cls))):
            node[_SELF] = _LEAF  # the node is fresh: a leaf has no children
        out["f:" + field] = node
    return out


def _shows_itself(schema: Schema | None, cls: type) -> bool:
    """Whether a field that is a container is listed when the whole object came into being. Kubernetes does
    not list the built-in kinds' structs (they are always there in Go); it makes no difference to
    ownership."""
    return cls is list or schema is None or not schema.definition


def _items(schema: Schema, value: list[Any], whole: bool) -> FieldSet:
    keys = schema.list_map_keys if schema.list_type == "map" else ()
    items = schema.items or _ANY
    out: FieldSet = {}
    for index, item in enumerate(value):
        key = item_key(items, keys, item)
        if key is None:
            if not whole:
                names = ", ".join(f'"{name}"' for name in keys)
                raise FieldsError(
                    f"element {index}: associative list with keys has an element that omits key field {names}"
                )
            continue
        try:
            node = _node(items, item, whole) if keys else _LEAF
        except FieldsError as error:
            raise error.below(_segment(key)) from None
        if node:
            node[_SELF] = _LEAF
        if key in out:
            if not whole:
                raise FieldsError(f"duplicate entries for key {_segment(key)}")
            node = _joined({key: out[key]}, {key: node})[key]
        out[key] = node
    return out


def divided(schema: Schema) -> tuple[str, ...] | None:
    """How a list is divided into fields: the keys of its items, () for a set, None for an atomic list."""
    if schema.list_type == "map":
        return schema.list_map_keys
    return () if schema.list_type == "set" else None


def item_key(items: Schema, keys: tuple[str, ...], item: Any) -> str | None:
    """The path element of a list's item: `k:{"containerPort":80,"protocol":"TCP"}` with defaults for absent
    keys, or `v:"x"` in a set (no `keys`). None if an item that should have keys has none of them."""
    if not keys:
        return "v:" + orjson.dumps(item, option=orjson.OPT_SORT_KEYS).decode()
    if item.__class__ is not dict:
        return None
    if len(keys) == 1:
        value = item.get(keys[0])
        if value.__class__ is str:
            return _key_of_text(keys[0], value)
    values = []
    for key in keys:
        value = item.get(key)
        if value is None:
            known = items.properties.get(key)
            value = known.default if known is not None else UNSET
        elif value.__class__ is dict or value.__class__ is list:
            return "k:" + orjson.dumps({k: item.get(k) for k in keys}, option=orjson.OPT_SORT_KEYS).decode()
        values.append(value)
    return _key_of_values(keys, tuple(values))


@lru_cache(maxsize=8192)
def _key_of_text(key: str, value: str) -> str:
    return "k:" + orjson.dumps({key: value}).decode()


@lru_cache(maxsize=8192, typed=True)
def _key_of_values(keys: tuple[str, ...], values: tuple[Any, ...]) -> str | None:
    identity = {key: value for key, value in zip(keys, values, strict=True) if value is not UNSET}
    return "k:" + orjson.dumps(identity, option=orjson.OPT_SORT_KEYS).decode() if identity else None


# --- differences --------------------------------------------------------------------------------------------


def compare(schema: Schema, old: Mapping[str, Any], new: Mapping[str, Any]) -> Comparison:
    """What `new` adds to, changes in and lacks of `old`. Parts that are the same object, or equal, are not
    walked. Raises FieldsError for objects that are nested too deeply."""
    result = Comparison({}, {}, {})
    try:
        _compare_objects(schema, old, new, result)
    except (RecursionError, orjson.JSONEncodeError):
        raise FieldsError("nested too deeply") from None
    return result


def _compare_objects(schema: Schema, old: Mapping[str, Any], new: Mapping[str, Any], out: Comparison) -> None:
    properties, additional = schema.properties, schema.additional or _ANY
    for field, value in new.items():
        present = old.get(field, UNSET)
        if present is value:
            continue
        child = properties.get(field)
        if present is UNSET:
            out.added["f:" + field] = _came(child, additional, value)
        elif (
            value.__class__ is dict
            or value.__class__ is list
            or value != present
            or _bool_differs(value, present)
        ):
            _compare(child or additional, present, value, "f:" + field, out)
    if len(old) + len(out.added) > len(new):
        for field, value in old.items():
            if field not in new:
                child = properties.get(field)
                out.removed["f:" + field] = _with_self(_node(child or additional, value, True))


def _came(child: Schema | None, additional: Schema, value: Any) -> FieldSet:
    node = _node(child or additional, value, True)
    return _with_self(node) if child is None or _shows_itself(child, value.__class__) else node


def _with_self(node: FieldSet) -> FieldSet:
    if node:
        node[_SELF] = _LEAF  # fresh: a leaf has no children
    return node


def _compare(schema: Schema, old: Any, new: Any, key: str, out: Comparison) -> None:
    """Two values of one field that are not the same object."""
    if new == old and orjson.dumps(new) == orjson.dumps(old):  # the bytes tell True from 1
        return
    below = Comparison({}, {}, {})
    if new.__class__ is dict and old.__class__ is dict and not schema.atomic_map:
        _compare_objects(schema, old, new, below)
    elif new.__class__ is list and old.__class__ is list and divided(schema) is not None:
        _compare_lists(schema, old, new, below)
    elif (new.__class__ is dict or new.__class__ is list) and old is None:
        _compare_whole(schema, new, key, out.added)
        return
    elif (old.__class__ is dict or old.__class__ is list) and new is None:
        _compare_whole(schema, old, key, out.removed)
        return
    else:
        if not json_equal(old, new):
            out.modified[key] = _LEAF
        return
    for nodes, found in zip(out, below, strict=True):
        if found:
            nodes[key] = found


def _compare_whole(schema: Schema, value: Any, key: str, nodes: FieldSet) -> None:
    nodes[key] = _with_self(_node(schema, value, True))


def _compare_lists(schema: Schema, old: list[Any], new: list[Any], out: Comparison) -> None:
    keys = schema.list_map_keys if schema.list_type == "map" else ()
    items = schema.items or _ANY
    before = {item_key(items, keys, item): item for item in old}
    after = {item_key(items, keys, item): item for item in new}
    for key, item in after.items():
        if key is None:
            continue
        present = before.get(key, UNSET)
        if present is UNSET:
            out.added[key] = _with_self(_node(items, item, True)) if keys else _LEAF
        elif present is not item and keys:
            _compare(items, present, item, key, out)
    for key, item in before.items():
        if key is not None and key not in after:
            out.removed[key] = _with_self(_node(items, item, True)) if keys else _LEAF


def _bool_differs(a: Any, b: Any) -> bool:
    """Python takes True and 1 for equal; JSON does not."""
    return (a.__class__ is bool) is not (b.__class__ is bool)
