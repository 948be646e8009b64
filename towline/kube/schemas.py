"""Checks objects against schemas: wrong types and values, unknown fields, pruning, defaults.

Values are checked by jsonschema-rs (9 µs for a Deployment), compiled once per kind. Unknown fields, pruning
and defaulting are walks of our own, because they need every path, or a changed copy. No function here changes
its input.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jsonschema_rs
import orjson

from towline.kube.objects import copy
from towline.kube.quantities import canonical
from towline.kube.structure import UNSET, Schema, builtin, definitions, source

__all__ = [
    "UNSET", "FieldError", "Schema", "builtin", "default", "definitions", "prune", "source", "unknown_fields", "validate",
]  # fmt: skip

ERRORS_MAX = 100
_VALUE_SHOWN_MAX = 200

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

_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]*\Z")


class FieldError(NamedTuple):
    """One thing wrong with an object.

    `path` as Kubernetes writes it (`spec.template.spec.containers[0].image`), `reason` one of Kubernetes'
    causes (FieldValueRequired, FieldValueInvalid, FieldValueTypeInvalid, FieldValueNotSupported,
    FieldValueDuplicate, FieldValueTooLong, FieldValueForbidden), `message` without the path (`Required
    value`)."""

    path: str
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


# --- values -------------------------------------------------------------------------------------------------


def validate(schema: Schema, obj: Any) -> list[FieldError]:
    """What is wrong with `obj`, at most ERRORS_MAX errors. A null where a field is optional is not an error,
    because Kubernetes drops it (`prune` does)."""
    validator = schema._compiled
    if validator is None:
        validator = schema._compiled = _compile(schema)
    errors: list[FieldError] = []
    if not validator.is_valid(obj):
        for error in validator.iter_errors(obj):
            errors.append(_translated(error))
            if len(errors) >= ERRORS_MAX:
                return errors
    try:
        _duplicates(schema, obj, "", errors)
    except RecursionError:
        errors.append(FieldError("", "FieldValueInvalid", "Invalid value: nested too deeply"))
    return errors[:ERRORS_MAX]


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


# --- errors in Kubernetes' words ----------------------------------------------------------------------------


def _translated(error: Any) -> FieldError:
    path, value = path_text(error.instance_path), error.instance
    kind = error.kind
    name = kind.name
    if name == "required":
        return FieldError(_join(path, kind.property), "FieldValueRequired", "Required value")
    if value is None and name == "type":
        return FieldError(path, "FieldValueRequired", "Required value")
    if name == "type":
        expected = " or ".join(sorted(t for t in kind.types if t != "null"))
        return FieldError(
            path, "FieldValueTypeInvalid", f"Invalid value: {_shown(value)}: must be of type {expected}"
        )
    if name == "enum":
        options = ", ".join(_shown(option) for option in kind.options)
        return FieldError(
            path, "FieldValueNotSupported", f"Unsupported value: {_shown(value)}: supported values: {options}"
        )
    if name == "maxLength":
        return FieldError(path, "FieldValueTooLong", f"Too long: may not be more than {kind.limit} bytes")
    if name == "maxItems":
        return FieldError(
            path, "FieldValueTooMany", f"Too many: {len(value)}: must have at most {kind.limit} items"
        )
    says = _CONSTRAINTS.get(name)
    detail = says(kind) if says is not None else error.message
    return FieldError(path, "FieldValueInvalid", f"Invalid value: {_shown(value)}: {detail}")


_CONSTRAINTS: Mapping[str, Callable[[Any], str]] = {
    "minimum": lambda kind: f"should be greater than or equal to {kind.limit}",
    "maximum": lambda kind: f"should be less than or equal to {kind.limit}",
    "exclusiveMinimum": lambda kind: f"should be greater than {kind.limit}",
    "exclusiveMaximum": lambda kind: f"should be less than {kind.limit}",
    "minLength": lambda kind: f"should be at least {kind.limit} chars long",
    "minItems": lambda kind: f"should have at least {kind.limit} items",
    "minProperties": lambda kind: f"should have at least {kind.limit} properties",
    "maxProperties": lambda kind: f"should have at most {kind.limit} properties",
    "pattern": lambda kind: f"should match '{kind.pattern}'",
    "uniqueItems": lambda _: "shouldn't contain duplicates",
    "multipleOf": lambda kind: f"should be a multiple of {kind.multiple_of}",
    "format": lambda kind: f"must be of format {kind.format}",
    "anyOf": lambda _: "must validate at least one schema (anyOf)",
    "oneOf": lambda _: "must validate one and only one schema (oneOf)",
    "not": lambda _: "must not validate the schema (not)",
}


def path_text(parts: Sequence[str | int]) -> str:
    """`["spec", "ports", 0, "name"]` -> `spec.ports[0].name`; a map's key that is no identifier in brackets,
    as Kubernetes writes it: `metadata.labels[app.io/name]`."""
    text = ""
    for part in parts:
        text = f"{text}[{part}]" if isinstance(part, int) else _join(text, part)
    return text


def _join(path: str, field: str) -> str:
    if _IDENTIFIER.match(field):
        return f"{path}.{field}" if path else field
    return f"{path}[{field}]"


def _shown(value: Any) -> str:
    try:
        text = orjson.dumps(value, default=str).decode()
    except TypeError:  # nested deeper than orjson writes
        text = "{...}"
    return text if len(text) <= _VALUE_SHOWN_MAX else text[:_VALUE_SHOWN_MAX] + "..."


# --- items that must differ ---------------------------------------------------------------------------------


def _duplicates(schema: Schema, value: Any, path: str, errors: list[FieldError]) -> None:
    if isinstance(value, dict):
        for field, child in _with_keyed_lists(schema):
            if field in value:
                _duplicates(child, value[field], _join(path, field), errors)
        values = schema.additional
        if values is not None and _has_keyed_lists(values):
            for field, item in value.items():
                if field not in schema.properties:
                    _duplicates(values, item, _join(path, field), errors)
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
            shown = _shown(identity[keys[0]] if len(keys) == 1 else identity)
            errors.append(FieldError(f"{path}[{index}]", "FieldValueDuplicate", f"Duplicate value: {shown}"))
        seen.add(token)


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
