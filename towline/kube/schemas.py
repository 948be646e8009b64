"""Checks objects against schemas: wrong types and values, unknown fields, pruning, defaults.

Values are checked by jsonschema-rs (9 µs for a Deployment), compiled once per kind. Unknown fields, pruning
and defaulting are walks of our own, because they need every path, or a changed copy. No function here changes
its input.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jsonschema_rs
import orjson

from towline.kube.field_errors import FieldError, join, path_text, shown, translated
from towline.kube.objects import copy
from towline.kube.quantities import canonical
from towline.kube.structure import UNSET, Schema, builtin, definitions, source

__all__ = [
    "UNSET", "FieldError", "Schema", "builtin", "compact", "default", "definitions", "problem", "prune", "source",
    "unknown_fields", "validate",
]  # fmt: skip

ERRORS_MAX = 100

_NOT_NULL = ["object", "array", "string", "integer", "number", "boolean"]
_VALUE_KEYWORDS = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern",
    "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "format", "enum", "required",
    "anyOf", "oneOf", "allOf", "not",
)  # fmt: skip
_JUNCTORS = ("enum", "anyOf", "oneOf", "allOf", "not")
_BOUNDS = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}
_CHECKED_FORMATS = frozenset(
    {"date-time", "date", "ipv4", "ipv6", "uri", "uuid", "hostname", "email", "byte"}
)
_QUANTITY = r"^[+-]?([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$"
TYPE_LIMITS = (
    f"should match '{_QUANTITY}'",
    "must be of format byte",
    "must be of format date-time",
    *(f"should be greater than or equal to {low}" for low, _ in _BOUNDS.values()),
    *(f"should be less than or equal to {high}" for _, high in _BOUNDS.values()),
)
"""How messages end about values that a type itself excludes: a quantity, bytes, a time, an int32."""
_REPEATABLE = frozenset(
    {
        "io.k8s.api.core.v1.EnvVar",
        "io.k8s.api.core.v1.ContainerPort",
        "io.k8s.api.core.v1.LocalObjectReference",
        "io.k8s.api.core.v1.ObjectReference",
        "io.k8s.api.core.v1.HostAlias",
    }
)
"""Items whose list has keys although Kubernetes accepts two with the same key (it only warns)."""


# --- values -------------------------------------------------------------------------------------------------


def validate(schema: Schema, obj: Any) -> list[FieldError]:
    """What is wrong with `obj`, at most ERRORS_MAX errors. A null where a field is optional is not an error,
    because Kubernetes drops it (`prune` does)."""
    validator = schema._compiled
    if validator is None:
        found = problem(schema)
        if found is not None:
            return [
                FieldError(
                    "", "FieldValueInvalid", f"Invalid value: the kind's schema cannot be used: {found}"
                )
            ]
        validator = schema._compiled
    errors: list[FieldError] = []
    if not validator.is_valid(obj):
        for error in validator.iter_errors(obj):
            errors.append(translated(error))
            if len(errors) >= ERRORS_MAX:
                return errors
    try:
        _duplicates(schema, obj, "", errors)
    except RecursionError:
        errors.append(FieldError("", "FieldValueInvalid", "Invalid value: nested too deeply"))
    return errors[:ERRORS_MAX]


def problem(schema: Schema) -> str | None:
    """Why values cannot be checked against `schema` (a malformed pattern, a type that there is not), None if
    they can. For whoever admits a CRD; what `validate` is given afterwards then works."""
    try:
        schema._compiled = _compile(schema)
    except (ValueError, TypeError) as error:  # jsonschema-rs' ValidationError is a ValueError
        return str(error).partition("\n")[0]
    except RecursionError:
        return "nested too deeply"
    return None


def _compile(schema: Schema) -> Any:
    parts: dict[str, Any] = {}
    root = _json_schema(schema, parts, inline=True)
    return jsonschema_rs.Draft202012Validator(
        {**root, "$defs": parts},
        validate_formats=True,
        formats={"byte": _is_base64},
        pattern_options=jsonschema_rs.RegexOptions(),  # linear time: patterns come from users
    )


def _json_schema(schema: Schema, parts: dict[str, Any], *, inline: bool = False) -> dict[str, Any]:
    """`schema` as JSON Schema 2020-12 that also accepts null; definitions go into `parts`."""
    if schema.definition and not inline:
        if schema.definition not in parts:
            parts[schema.definition] = {}  # a recursive definition finds itself
            parts[schema.definition] = _json_schema(schema, parts, inline=True)
        return {"$ref": f"#/$defs/{schema.definition}"}
    if schema.int_or_string:
        return {"type": ["integer", "string", "null"]}
    if schema.quantity:
        return {"type": ["string", "number", "null"], "pattern": _QUANTITY}
    out = _values(schema.node)
    if schema.embedded:
        out["required"] = sorted({*schema.required, "apiVersion", "kind"})
    if schema.properties:
        out["properties"] = {
            field: _required(child, parts) if field in schema.required else _json_schema(child, parts)
            for field, child in schema.properties.items()
        }
    if schema.items is not None:
        out["items"] = _required(schema.items, parts)
    if schema.additional is not None and schema.additional is not Schema.ANY:
        out["additionalProperties"] = _json_schema(schema.additional, parts)
    if any(keyword in out for keyword in _JUNCTORS):
        return {"if": {"not": {"type": "null"}}, "then": {**out, **_typed(schema)}}
    return {**out, **_typed(schema, "null")}


def _required(schema: Schema, parts: dict[str, Any]) -> dict[str, Any]:
    node = _json_schema(schema, parts)
    if schema.nullable or schema.preserve_unknown:
        return node
    if "type" in node:
        return {**node, "type": [t for t in node["type"] if t != "null"]}
    return {**node, "type": _NOT_NULL}


def _typed(schema: Schema, *more: str) -> dict[str, Any]:
    return {"type": [schema.type, *more]} if schema.type else {}


def _values(node: Mapping[str, Any]) -> dict[str, Any]:
    """The value validations of an OpenAPI v3 node (also below anyOf and its kin) in JSON Schema's words."""
    out: dict[str, Any] = {k: node[k] for k in _VALUE_KEYWORDS if k in node}
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        flag = out.pop(exclusive, None)
        if flag is True and bound in out:  # OpenAPI 3.0 says it with a boolean beside the bound
            out[exclusive] = out.pop(bound)
    text_format = out.pop("format", None)
    if text_format in _BOUNDS:
        out.setdefault("minimum", _BOUNDS[text_format][0])
        out.setdefault("maximum", _BOUNDS[text_format][1])
    elif text_format in _CHECKED_FORMATS:
        out["format"] = text_format
    for junctor in ("anyOf", "oneOf", "allOf"):
        if junctor in out:
            out[junctor] = [_branch(part) for part in out[junctor]]
    if "not" in out:
        out["not"] = _branch(out["not"])
    return out


def _branch(node: Mapping[str, Any]) -> dict[str, Any]:
    out = _values(node)
    if node.get("type"):
        out["type"] = [node["type"], "null"] if node.get("nullable") else node["type"]
    if node.get("properties"):
        out["properties"] = {field: _branch(child) for field, child in node["properties"].items()}
    for keyword in ("items", "additionalProperties"):
        if isinstance(node.get(keyword), Mapping):
            out[keyword] = _branch(node[keyword])
    return out


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True)
    except ValueError:
        return False
    return True


# --- items that must differ ---------------------------------------------------------------------------------


def _duplicates(schema: Schema, value: Any, path: str, errors: list[FieldError]) -> None:
    if isinstance(value, dict):
        for field, child in _with_keyed_lists(schema):
            if field in value:
                _duplicates(child, value[field], join(path, field), errors)
        values = schema.additional
        if values is not None and _has_keyed_lists(values):
            for field, item in value.items():
                if field not in schema.properties:
                    _duplicates(values, item, join(path, field), errors)
    elif isinstance(value, list) and schema.items is not None:
        if schema.list_type in ("map", "set") and schema.items.definition not in _REPEATABLE:
            _same_items(schema, value, path, errors)
        if _has_keyed_lists(schema.items):
            for index, item in enumerate(value):
                _duplicates(schema.items, item, f"{path}[{index}]", errors)


def _same_items(schema: Schema, items: list[Any], path: str, errors: list[FieldError]) -> None:
    if len(items) < 2:
        return
    seen: set[bytes] = set()
    keys = schema.list_map_keys
    fields = schema.items.properties if schema.items is not None else {}
    for index, item in enumerate(items):
        identity = item
        if keys:
            if not isinstance(item, dict):
                continue
            identity = {
                k: item.get(k, fields[k].default if k in fields and fields[k].default is not UNSET else None)
                for k in keys
            }
        token = orjson.dumps(identity, option=orjson.OPT_SORT_KEYS)
        if token in seen:
            identity = identity[keys[0]] if len(keys) == 1 else identity
            errors.append(
                FieldError(
                    _item_path(schema, path, index),
                    "FieldValueDuplicate",
                    f"Duplicate value: {shown(identity)}",
                )
            )
        seen.add(token)


def _item_path(schema: Schema, path: str, index: int) -> str:
    """Kubernetes names the key of its own kinds' items, and the whole item of a custom resource's."""
    own = schema.items is not None and schema.items.definition and len(schema.list_map_keys) == 1
    return f"{path}[{index}].{schema.list_map_keys[0]}" if own else f"{path}[{index}]"


def _with_keyed_lists(schema: Schema) -> Sequence[tuple[str, Schema]]:
    """The properties below which a list with keys, or a set, may stand; metadata apart, where Kubernetes
    tolerates repeated finalizers."""
    _has_keyed_lists(schema)
    found: Sequence[tuple[str, Schema]] = schema._marks
    return found


def _has_keyed_lists(schema: Schema) -> bool:
    if schema._marks is None:
        schema._marks = tuple(schema.properties.items())  # inside a recursion: look at everything
        if schema.properties:
            schema._marks = tuple(
                (field, child)
                for field, child in schema.properties.items()
                if not (child.definition.endswith(".ObjectMeta")) and _has_keyed_lists(child)
            )
    return bool(
        schema._marks
        or schema.list_type in ("map", "set")
        or (schema.items is not None and _has_keyed_lists(schema.items))
        or (
            schema.additional is not None
            and schema.additional is not Schema.ANY
            and _has_keyed_lists(schema.additional)
        )
    )


# --- unknown fields, pruning, defaults ----------------------------------------------------------------------


def unknown_fields(schema: Schema, obj: Any) -> list[str]:
    """Paths of all fields that the schema does not know, in the object's order: `spec.replica`."""
    found: list[str] = []
    if not _known(schema, obj):
        _unknown(schema, obj, (), found)
    return found


def _known(schema: Schema, value: Any) -> bool:
    """Whether there is nothing unknown: the usual case, without making paths."""
    if value.__class__ is dict:
        properties, additional, keeps = schema.properties, schema.additional, schema.preserve_unknown
        if additional is Schema.ANY and not properties:
            return True
        for field, item in value.items():
            child = properties.get(field) or additional
            if child is None:
                if not keeps:
                    return False
            elif (item.__class__ is dict or item.__class__ is list) and not _known(child, item):
                return False
    elif schema.items is not None:
        items = schema.items
        for item in value:
            if (item.__class__ is dict or item.__class__ is list) and not _known(items, item):
                return False
    return True


def _unknown(schema: Schema, value: Any, path: tuple[str | int, ...], found: list[str]) -> None:
    if isinstance(value, dict):
        properties, additional = schema.properties, schema.additional
        if additional is Schema.ANY and not properties:
            return
        for field, item in value.items():
            child = properties.get(field) or additional
            if child is None:
                if not schema.preserve_unknown:
                    found.append(path_text((*path, field)))
            elif item.__class__ is dict or item.__class__ is list:
                _unknown(child, item, (*path, field), found)
    elif isinstance(value, list) and schema.items is not None:
        for index, item in enumerate(value):
            if item.__class__ is dict or item.__class__ is list:
                _unknown(schema.items, item, (*path, index), found)


def prune(schema: Schema, obj: Any) -> Any:
    """`obj` as a Kubernetes API server keeps it: without unknown fields, without nulls where the schema does
    not say `nullable`, quantities in canonical form. The same object if nothing changes."""
    if isinstance(obj, dict):
        return _pruned_dict(schema, obj)
    if isinstance(obj, list):
        return _pruned_list(schema, obj)
    if schema.quantity and obj is not None:
        return canonical(obj)
    return obj


def _pruned_dict(schema: Schema, value: dict[str, Any]) -> dict[str, Any]:
    properties, additional = schema.properties, schema.additional
    if not properties and (additional is Schema.ANY or (additional is None and schema.preserve_unknown)):
        return value
    changed: dict[str, Any] | None = None
    for field, item in value.items():
        child = properties.get(field) or additional
        if child is None:
            if schema.preserve_unknown:
                continue
            kept: Any = UNSET
        elif item is None:
            kept = item if child.nullable or child.preserve_unknown else UNSET
        elif item.__class__ is dict:
            kept = _pruned_dict(child, item)
        elif item.__class__ is list:
            kept = _pruned_list(child, item)
        else:
            kept = canonical(item) if child.quantity else item
        if kept is not item:
            if changed is None:
                changed = dict(value)
            if kept is UNSET:
                del changed[field]
            else:
                changed[field] = kept
    return value if changed is None else changed


def _pruned_list(schema: Schema, value: list[Any]) -> list[Any]:
    child = schema.items
    if child is None:
        return value
    pruned = [prune(child, item) for item in value]
    return value if _same(pruned, value) else pruned


def compact(schema: Schema, obj: Any) -> Any:
    """`obj` without the empty lists and maps that Kubernetes' own types leave out when they are encoded: those that are
    not required. Empty objects stay, they may mean something (`emptyDir: {}`). The same object if nothing changes."""
    if obj.__class__ is list:
        child = schema.items
        if child is None or not obj or obj[0].__class__ is not dict:
            return obj
        items = [compact(child, item) for item in obj]
        return obj if _same(items, obj) else items
    if obj.__class__ is not dict:
        return obj  # a null among objects: for the rules to refuse
    changed: dict[str, Any] | None = None
    for field, item in obj.items():
        if item.__class__ is not dict and item.__class__ is not list:
            continue
        child = schema.properties.get(field) or schema.additional
        if child is None or child is Schema.ANY or field == "managedFields":
            continue
        if item:
            kept = compact(child, item)
        else:
            kept = UNSET if _left_out(child) and field not in schema.required else item
        if kept is not item:
            if changed is None:
                changed = dict(obj)
            if kept is UNSET:
                del changed[field]
            else:
                changed[field] = kept
    return obj if changed is None else changed


def _left_out(schema: Schema) -> bool:
    """A list, or a map of values (not an object with fields of its own)."""
    if schema.properties or schema.preserve_unknown:
        return False
    return schema.items is not None or schema.additional not in (None, Schema.ANY)


def default(schema: Schema, obj: Any) -> Any:
    """`obj` with the schema's defaults, also for a null where the schema does not say `nullable`. The same
    object if nothing changes. A default is put into objects that are there, never makes its parent, as in
    Kubernetes."""
    if isinstance(obj, dict):
        return _defaulted_dict(schema, obj)
    if isinstance(obj, list) and schema.items is not None and _has_defaults(schema.items):
        defaulted = [default(schema.items, item) for item in obj]
        return obj if _same(defaulted, obj) else defaulted
    return obj


def _defaulted_dict(schema: Schema, value: dict[str, Any]) -> dict[str, Any]:
    changed: dict[str, Any] | None = None
    for field, child in _defaulting(schema):
        item = value.get(field, UNSET)
        if item is UNSET or (item is None and not child.nullable):
            if child.default is UNSET:
                continue
            kept = default(child, copy(child.default))
        else:
            kept = default(child, item)
        if kept is not item:
            if changed is None:
                changed = dict(value)
            changed[field] = kept
    additional = schema.additional
    if additional is not None and _defaults_values(additional):
        for field, item in value.items():
            if field not in schema.properties:
                kept = default(additional, item)
                if item is None and not additional.nullable and additional.default is not UNSET:
                    kept = copy(additional.default)
                if kept is not item:
                    if changed is None:
                        changed = dict(value)
                    changed[field] = kept
    return value if changed is None else changed


def _defaulting(schema: Schema) -> Sequence[tuple[str, Schema]]:
    """The properties that have a default, or may have one below."""
    _has_defaults(schema)
    found: Sequence[tuple[str, Schema]] = schema._defaulting
    return found


def _has_defaults(schema: Schema) -> bool:
    if schema._defaulting is None:
        schema._defaulting = tuple(schema.properties.items())  # inside a recursion: look at everything
        schema._defaulting = tuple(
            (field, child)
            for field, child in schema.properties.items()
            if child.default is not UNSET or _has_defaults(child)
        )
    items, additional = schema.items, schema.additional
    return bool(
        schema._defaulting
        or (items is not None and _has_defaults(items))
        or (additional is not None and _defaults_values(additional))
    )


def _defaults_values(additional: Schema) -> bool:
    return additional is not Schema.ANY and (additional.default is not UNSET or _has_defaults(additional))


def _same(a: Iterable[Any], b: Iterable[Any]) -> bool:
    """Item by item the same objects."""
    return all(x is y for x, y in zip(a, b, strict=True))
