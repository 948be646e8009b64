"""Structural schemas: what the schema of a CRD may say, and where. Pure.

Every field has one type that is said outside of allOf, anyOf, oneOf and not; these only look at values. Whether rules
(`x-kubernetes-validations`) are right is for `rules` to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from towline.kube import errors, formats, rules, schemas
from towline.kube.cells import maps, table
from towline.kube.field_errors import FieldError
from towline.kube.schemas import Schema

DEPTH_MAX = 100

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_UNSUPPORTED = (
    "$ref", "additionalItems", "definitions", "dependencies", "deprecated", "discriminator", "id", "patternProperties",
    "readOnly", "writeOnly", "xml",
)  # fmt: skip
_JUNCTORS = ("allOf", "anyOf", "oneOf")
_EMPTY = {
    "type": "must be empty to be structural",
    "additionalProperties": "must be undefined to be structural",
    "default": "must be undefined to be structural",
    "title": "must be empty to be structural",
    "description": "must be empty to be structural",
    "nullable": "must be false to be structural",
    "x-kubernetes-preserve-unknown-fields": "must be false to be structural",
    "x-kubernetes-embedded-resource": "must be false to be structural",
    "x-kubernetes-int-or-string": "must be false to be structural",
    "x-kubernetes-list-map-keys": "must be empty to be structural",
    "x-kubernetes-list-type": "must be undefined to be structural",
    "x-kubernetes-map-type": "must be undefined to be structural",
    "x-kubernetes-validations": "must be empty to be structural",
}
"""What may not be said below allOf and its kin."""
_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
_ENVELOPE = ("apiVersion", "kind", "metadata")
_BESIDE_STATUS = frozenset(
    {"description", "type", "format", "title", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum", "maxLength",
     "minLength", "pattern", "maxItems", "minItems", "uniqueItems", "multipleOf", "required", "items", "properties",
     "externalDocs", "example", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-validations"}
)  # fmt: skip
"""What the root may say of a kind with a status of its own: the rest would not hold for the status."""


def problems(node: Mapping[str, Any], path: str, *, status: bool) -> list[FieldError]:
    """What is wrong with a kind's schema at `path`. `status`: the kind has the status subresource."""
    found: list[FieldError] = []
    if status and node.get("type") == "object":
        said = [word for word, value in node.items() if word not in _BESIDE_STATUS and value]
        if said:
            told = f"{', '.join(said)}: not allowed at the root of the schema if the status subresource is enabled"
            found.append(FieldError(path, "FieldValueInvalid", f"Invalid value: {told}"))
    if node.get("nullable"):
        found.append(errors.forbidden(f"{path}.nullable", "nullable cannot be true at the root"))
    everywhere = list(_everywhere(node, path, root=True))
    if not any(error.path.rpartition(".")[2] in _UNSUPPORTED for error in everywhere):
        structure = list(_node(node, path, "at the root", 0))
        found += structure or _defaults(node, path, root=True)
    return found + everywhere


# --- structure ---------------------------------------------------------------------------------------------------


def _node(node: Any, path: str, place: str, depth: int) -> Iterator[FieldError]:
    """`place`: how errors say where it stands: the root, an item, a field."""
    if not isinstance(node, Mapping):
        yield errors.required(path)
        return
    if depth > DEPTH_MAX:
        yield errors.invalid(path, "", "nested too deeply")
        return
    yield from _type(node, path, place)
    embedded, additional = bool(node.get("x-kubernetes-embedded-resource")), node.get("additionalProperties")
    if additional is not None and (depth == 0 or embedded):
        where = "at the root" if depth == 0 else "if x-kubernetes-embedded-resource is set"
        yield errors.forbidden(f"{path}.additionalProperties", f"must not be used {where}")
    fields = table(node.get("properties"))
    if depth == 0 or embedded:
        yield from _envelope(fields, path, root=depth == 0)
    if node.get("type") == "array" and node.get("items") is None:
        yield errors.required(f"{path}.items", "must be specified")
    yield from _values(node, node if depth == 0 else None, path, path)
    for field, child in fields.items():
        yield from _node(child, f"{path}.properties[{field}]", "for specified object fields", depth + 1)
    if isinstance(node.get("items"), Mapping):
        yield from _node(node["items"], f"{path}.items", "for specified array items", depth + 1)
    if isinstance(additional, Mapping):
        yield from _node(additional, f"{path}.additionalProperties", "for specified object fields", depth + 1)


def _type(node: Mapping[str, Any], path: str, place: str) -> Iterator[FieldError]:
    kind, either = node.get("type"), node.get("x-kubernetes-int-or-string")
    open_, embedded = (
        node.get("x-kubernetes-preserve-unknown-fields"),
        node.get("x-kubernetes-embedded-resource"),
    )
    if embedded and kind != "object":
        message = "must be object if x-kubernetes-embedded-resource is true"
        yield (
            errors.invalid(f"{path}.type", kind, message)
            if kind
            else errors.required(f"{path}.type", message)
        )
    elif not kind and not either and not open_:
        yield errors.required(f"{path}.type", f"must not be empty {place}")
    elif kind and kind != "object" and place == "at the root":
        yield errors.invalid(f"{path}.type", kind, "must be object at the root")
    for word in ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"):
        if either and node.get(word):
            yield errors.invalid(
                f"{path}.{word}", True, "must be false if x-kubernetes-int-or-string is true"
            )
    if embedded and not open_ and not node.get("properties"):
        message = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
        yield errors.required(f"{path}.properties", message)


def _envelope(fields: Mapping[str, Any], path: str, *, root: bool) -> Iterator[FieldError]:
    """A whole object's own fields: apiVersion, kind and metadata are Kubernetes'."""
    for field, wanted in (("kind", "string"), ("apiVersion", "string"), ("metadata", "object")):
        said = table(fields.get(field)).get("type")
        if field in fields and said != wanted:
            yield errors.invalid(f"{path}.properties[{field}].type", said, f"must be {wanted}")
    metadata = table(fields.get("metadata"))
    more = {word for word, value in metadata.items() if value} - {"type", "properties", "default"}
    if root and (more or set(table(metadata.get("properties"))) - {"name", "generateName"}):
        message = (
            "must not specify anything other than name and generateName, but metadata is implicitly specified"
        )
        yield errors.forbidden(f"{path}.properties[metadata]", message)


def _values(
    node: Mapping[str, Any], structure: Mapping[str, Any] | None, path: str, at: str
) -> Iterator[FieldError]:
    """The value validations of `node` at `path`. At the root they are only about what `structure` at `at` describes."""
    pattern = node.get("pattern")
    if pattern and (why := _malformed(str(pattern))):
        told = f"must be a valid regular expression, but isn't: {why}"
        yield errors.invalid(f"{path}.pattern", pattern, told)
    for word in _JUNCTORS:
        for n, part in enumerate(maps(node.get(word))):
            if word == "anyOf" and node["anyOf"] == _INT_OR_STRING:
                continue
            yield from _nested(part, structure, f"{path}.{word}[{n}]", at)
    if isinstance(node.get("not"), Mapping):
        yield from _nested(node["not"], structure, f"{path}.not", at)


def _nested(
    node: Mapping[str, Any], structure: Mapping[str, Any] | None, path: str, at: str
) -> Iterator[FieldError]:
    for word, message in _EMPTY.items():
        if node.get(word):
            yield errors.forbidden(f"{path}.{word}", message)
    yield from _values(node, structure, path, at)
    for field, child in table(node.get("properties")).items():
        if field == "metadata":
            message = "must not be specified in a nested context"
            yield errors.forbidden(f"{path}.properties[{field}]", message)
        yield from _described(child, structure, ("properties", field), path, at)
    yield from _described(node.get("items"), structure, ("items",), path, at)


def _described(
    node: Any, structure: Mapping[str, Any] | None, way: tuple[str, ...], path: str, at: str
) -> Iterator[FieldError]:
    """What is said of a part must be about a part that there is."""
    if not isinstance(node, Mapping):
        return
    step = way[0] if len(way) == 1 else f"{way[0]}[{way[1]}]"
    part = None if structure is None else _part(structure, way)
    if structure is not None and part is None:
        yield errors.required(f"{at}.{step}", f"because it is defined in {path}.{step}")
    yield from _nested(node, part, f"{path}.{step}", f"{at}.{step}")


def _part(structure: Mapping[str, Any], way: tuple[str, ...]) -> Mapping[str, Any] | None:
    found: Any = structure
    for step in way:
        found = table(found).get(step)
    return found if isinstance(found, Mapping) else None


def _malformed(pattern: str) -> str | None:
    """Why `pattern` cannot be used; by the engine that will use it."""
    return schemas.problem(Schema.of({"type": "string", "pattern": pattern}))


# --- what holds at each node, also below allOf and its kin -----------------------------------------------------------


def _everywhere(
    node: Any, path: str, *, root: bool = False, meta: bool = False, without: str | None = None
) -> Iterator[FieldError]:
    """`meta`: inside an object's metadata. `without`: why there may be no default; None if there may."""
    if not isinstance(node, Mapping):
        return
    yield from _words(node, path, meta, without)
    yield from _list(node, path)
    kind = node.get("x-kubernetes-map-type")
    if kind is not None and node.get("type") != "object":
        message = "must be object if x-kubernetes-map-type is specified"
        yield (
            errors.invalid(f"{path}.type", node["type"], message)
            if node.get("type")
            else errors.required(f"{path}.type", message)
        )
    if kind not in (None, "atomic", "granular"):
        yield errors.unsupported(f"{path}.x-kubernetes-map-type", kind, ("atomic", "granular"))
    whole = root or bool(node.get("x-kubernetes-embedded-resource"))
    for field, child in table(node.get("properties")).items():
        inside = meta or (whole and field in _ENVELOPE)
        reason = f"in top-level {field}" if root and field in _ENVELOPE else without
        yield from _everywhere(child, f"{path}.properties[{field}]", meta=inside, without=reason)
    inside_map = "inside additionalProperties applying to object metadata" if meta else without
    additional = node.get("additionalProperties")
    yield from _everywhere(additional, f"{path}.additionalProperties", meta=meta, without=inside_map)
    for word in ("items", "not"):
        yield from _everywhere(node.get(word), f"{path}.{word}", meta=meta, without=without)
    for word in _JUNCTORS:
        for n, part in enumerate(maps(node.get(word))):
            yield from _everywhere(part, f"{path}.{word}[{n}]", meta=meta, without=without)


def _words(node: Mapping[str, Any], path: str, meta: bool, without: str | None) -> Iterator[FieldError]:
    kind = node.get("type")
    if kind == "null":
        yield errors.forbidden(f"{path}.type", "type cannot be set to null, use nullable as an alternative")
    if kind and kind not in _TYPES:
        yield errors.unsupported(f"{path}.type", kind, _TYPES)
    for word in _UNSUPPORTED:
        if node.get(word):
            yield errors.forbidden(f"{path}.{word}", f"{word} is not supported")
    if without is not None and node.get("default") is not None:
        yield errors.forbidden(f"{path}.default", f"must not be set {without}")
    if isinstance(node.get("items"), list):
        yield errors.forbidden(f"{path}.items", "items must be a schema object and not an array")
    if node.get("uniqueItems"):
        message = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield errors.forbidden(f"{path}.uniqueItems", message)
    additional = node.get("additionalProperties")
    if node.get("properties") and (additional is False or isinstance(additional, Mapping)):
        message = "additionalProperties and properties are mutual exclusive"
        yield errors.forbidden(f"{path}.additionalProperties", message)
    if node.get("x-kubernetes-preserve-unknown-fields") is False:
        yield errors.invalid(
            f"{path}.x-kubernetes-preserve-unknown-fields", False, "must be true or undefined"
        )
    if meta and node.get("x-kubernetes-embedded-resource"):
        message = "must not be used inside of resource meta"
        yield errors.forbidden(f"{path}.x-kubernetes-embedded-resource", message)


def _list(node: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    kind, keys = node.get("x-kubernetes-list-type"), node.get("x-kubernetes-list-map-keys") or ()
    items = table(node.get("items"))
    word = f"{path}.x-kubernetes-list-type"
    if keys and kind != "map":
        message = "must be map if x-kubernetes-list-map-keys is non-empty"
        yield errors.invalid(word, kind, message) if kind else errors.required(word, message)
    if kind is None:
        return
    if node.get("type") != "array":
        message = "must be array if x-kubernetes-list-type is specified"
        at = f"{path}.type"
        yield errors.invalid(at, node["type"], message) if node.get("type") else errors.required(at, message)
    if kind not in ("atomic", "set", "map"):
        yield errors.unsupported(word, kind, ("atomic", "set", "map"))
    if kind in ("set", "map") and items.get("nullable"):
        message = f"cannot be nullable when x-kubernetes-list-type is {kind}"
        yield errors.forbidden(f"{path}.items.nullable", message)
    for of, said in (("array", "x-kubernetes-list-type"), ("object", "x-kubernetes-map-type")):
        atomic = items.get(said) == "atomic" or (of == "array" and items.get(said) is None)
        if kind == "set" and node.get("type") == "array" and items.get("type") == of and not atomic:
            message = "must be atomic as item of a list with x-kubernetes-list-type=set"
            yield errors.invalid(f"{path}.items.{said}", items.get(said), message)
    if kind == "map":
        yield from _keyed(items, node, path, keys)


def _keyed(
    items: Mapping[str, Any], node: Mapping[str, Any], path: str, keys: Sequence[str]
) -> Iterator[FieldError]:
    where = f"{path}.x-kubernetes-list-map-keys"
    if not keys:
        yield errors.required(where, "must not be empty if x-kubernetes-list-type is map")
    if node.get("items") is None:
        yield errors.required(f"{path}.items", "must have a schema if x-kubernetes-list-type is map")
        return
    if items.get("type") != "object":
        message = "must be object if parent array's x-kubernetes-list-type is map"
        yield errors.invalid(f"{path}.items.type", items.get("type"), message)
        return
    fields, required = table(items.get("properties")), items.get("required") or ()
    for n, key in enumerate(keys):
        field, at = table(fields.get(key)), f"{path}.items.properties[{key}]"
        if key in keys[:n]:
            yield errors.invalid(where, keys, "must not contain duplicate entries")
        if key not in fields:
            yield errors.invalid(where, keys, "entries must all be names of item properties")
            continue
        if field.get("type") in ("array", "object"):
            message = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            yield errors.invalid(f"{at}.type", field["type"], message)
        if key not in required and field.get("default") is None:
            message = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            yield errors.required(f"{at}.default", message)
        if field.get("nullable"):
            message = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable"
            yield errors.forbidden(f"{at}.nullable", message)


# --- defaults ----------------------------------------------------------------------------------------------------


def _defaults(node: Mapping[str, Any], path: str, *, root: bool = False) -> list[FieldError]:
    """Each default is a valid value of its field, with nothing that would be pruned."""
    found: list[FieldError] = []
    value = node.get("default")
    if value is not None and not root:
        schema, at = Schema.of(node), f"{path}.default"
        if schemas.unknown_fields(schema, value):
            found.append(errors.invalid(at, value, "must not have unknown fields"))
        wrong = schemas.validate(schema, value)
        validate = None if wrong else rules.validator(schema, root=False)
        for error in wrong if validate is None else validate(value, None):
            where = f"{at}.{error.path}" if error.path not in ("", rules.NO_PATH) else at
            found.append(FieldError(where, error.reason, error.message))
    for field, child in table(node.get("properties")).items():
        if not (root and field in _ENVELOPE):
            found += _defaults(table(child), f"{path}.properties[{field}]")
    for word in ("items", "additionalProperties"):
        if isinstance(node.get(word), Mapping):
            found += _defaults(node[word], f"{path}.{word}")
    return found


# --- formats -----------------------------------------------------------------------------------------------------------


def unknown_formats(node: Any, depth: int = 0) -> Iterator[str]:
    """Formats in the schema that mean nothing to Kubernetes."""
    if not isinstance(node, Mapping) or depth > DEPTH_MAX:
        return
    said = node.get("format")
    if isinstance(said, str) and said not in ("", *formats.KNOWN.get(str(node.get("type") or "string"), ())):
        yield said
    for child in table(node.get("properties")).values():
        yield from unknown_formats(child, depth + 1)
    for word in ("items", "additionalProperties", "not"):
        yield from unknown_formats(node.get(word), depth + 1)
    for word in _JUNCTORS:
        for part in maps(node.get(word)):
            yield from unknown_formats(part, depth + 1)


# --- fields by path ------------------------------------------------------------------------------------------------


def at_path(node: Mapping[str, Any], path: str) -> Mapping[str, Any] | None:
    """The node of `.spec.a` in a kind's schema; None if the path is none, or leads nowhere."""
    if not re.fullmatch(r"(\.[A-Za-z_][A-Za-z0-9_-]*)+", path):
        return None
    found: Mapping[str, Any] | None = node
    for field in path[1:].split("."):
        found = None if found is None else _part(found, ("properties", field))
    return found
