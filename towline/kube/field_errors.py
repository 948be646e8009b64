"""What is wrong with an object, in Kubernetes' words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]*\Z")
_VALUE_SHOWN_MAX = 200


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


def translated(error: Any) -> FieldError:
    """An error of jsonschema-rs."""
    path, value = path_text(error.instance_path), error.instance
    kind = error.kind
    name = kind.name
    if name == "required":
        return FieldError(join(path, kind.property), "FieldValueRequired", "Required value")
    if value is None and name == "type" and not path.endswith("]"):
        return FieldError(path, "FieldValueRequired", "Required value")
    if name == "type":
        expected = " or ".join(sorted(t for t in kind.types if t != "null"))
        return FieldError(
            path, "FieldValueTypeInvalid", f"Invalid value: {shown(value)}: must be of type {expected}"
        )
    if name == "format":
        told = f"Invalid value: {shown(value)}: must be of format {kind.format}"
        return FieldError(path, "FieldValueTypeInvalid", told)
    if name == "enum":
        options = ", ".join(shown(option) for option in kind.options)
        return FieldError(
            path, "FieldValueNotSupported", f"Unsupported value: {shown(value)}: supported values: {options}"
        )
    if name == "maxLength":
        return FieldError(path, "FieldValueTooLong", f"Too long: may not be more than {kind.limit} bytes")
    if name in ("maxItems", "maxProperties"):
        told = f"Too many: {len(value)}: must have at most {kind.limit} items"
        return FieldError(path, "FieldValueTooMany", told)
    says = _CONSTRAINTS.get(name)
    detail = says(kind) if says is not None else error.message
    return FieldError(path, "FieldValueInvalid", f"Invalid value: {shown(value)}: {detail}")


_CONSTRAINTS: Mapping[str, Callable[[Any], str]] = {
    "minimum": lambda kind: f"should be greater than or equal to {kind.limit}",
    "maximum": lambda kind: f"should be less than or equal to {kind.limit}",
    "exclusiveMinimum": lambda kind: f"should be greater than {kind.limit}",
    "exclusiveMaximum": lambda kind: f"should be less than {kind.limit}",
    "minLength": lambda kind: f"should be at least {kind.limit} chars long",
    "minItems": lambda kind: f"should have at least {kind.limit} items",
    "minProperties": lambda kind: f"should have at least {kind.limit} properties",
    "pattern": lambda kind: f"should match '{kind.pattern}'",
    "uniqueItems": lambda _: "shouldn't contain duplicates",
    "multipleOf": lambda kind: f"should be a multiple of {kind.multiple_of}",
    "anyOf": lambda _: "must validate at least one schema (anyOf)",
    "oneOf": lambda _: "must validate one and only one schema (oneOf)",
    "not": lambda _: "must not validate the schema (not)",
}


def path_text(parts: Sequence[str | int]) -> str:
    """`["spec", "ports", 0, "name"]` -> `spec.ports[0].name`; a map's key that is no identifier in brackets,
    as Kubernetes writes it: `metadata.labels[app.io/name]`."""
    text = ""
    for part in parts:
        text = f"{text}[{part}]" if isinstance(part, int) else join(text, part)
    return text


def join(path: str, field: str) -> str:
    """The path of a field of the object at `path`."""
    if _IDENTIFIER.match(field):
        return f"{path}.{field}" if path else field
    return f"{path}[{field}]"


def shown(value: Any) -> str:
    """A value as errors show it, cut at a length that fits a line or two."""
    try:
        text = orjson.dumps(value, default=str).decode()
    except TypeError:  # nested deeper than orjson writes
        text = "{...}"
    return text if len(text) <= _VALUE_SHOWN_MAX else text[:_VALUE_SHOWN_MAX] + "..."
