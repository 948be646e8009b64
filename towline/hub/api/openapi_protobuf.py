"""`/openapi/v2` in protobuf, the only form in which Go clients ask for it: the definitions, without the paths.

The messages are those of gnostic's OpenAPIv2.proto; the numbers here are its field numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

MEDIA_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
OLD_NAME = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
"""As Go clients ask for it; in an answer the @ is no media type to them."""

_TEXTS = {"$ref": 1, "format": 2, "title": 3, "description": 4, "pattern": 13}
_NUMBERS = {
    "maxLength": 11,
    "minLength": 12,
    "maxItems": 14,
    "minItems": 15,
    "maxProperties": 17,
    "minProperties": 18,
}
_DEFAULT, _REQUIRED, _ENUM, _ADDITIONAL, _TYPE, _ITEMS, _ALL_OF, _PROPERTIES, _EXTENSION = (
    5, 19, 20, 21, 22, 23, 24, 25, 31,
)  # fmt: skip
_VARINT, _BYTES = 0, 2


def encode(swagger: Mapping[str, Any]) -> bytes:
    """A Swagger document as a Document message."""
    info = _text(1, swagger["info"]["title"]) + _text(2, swagger["info"]["version"])
    definitions = _named(1, swagger["definitions"])
    return _text(1, swagger["swagger"]) + _part(2, info) + _part(8, b"") + _part(9, definitions)


def _schema(node: Mapping[str, Any]) -> bytes:
    return b"".join(_field(name, value) for name, value in node.items())


def _field(name: str, value: Any) -> bytes:
    if name in _TEXTS:
        return _text(_TEXTS[name], value)
    if name in _NUMBERS:
        return _number(_NUMBERS[name], value)
    if name.startswith("x-"):
        return _part(_EXTENSION, _text(1, name) + _part(2, _any(value)))
    match name:
        case "default":
            return _part(_DEFAULT, _any(value))
        case "required":
            return b"".join(_text(_REQUIRED, item) for item in value)
        case "enum":
            return b"".join(_part(_ENUM, _any(item)) for item in value)
        case "additionalProperties":
            if isinstance(value, bool):
                return _part(_ADDITIONAL, _number(2, int(value)))
            return _part(_ADDITIONAL, _part(1, _schema(value)))
        case "type":
            types: Iterable[str] = (value,) if isinstance(value, str) else value
            return _part(_TYPE, b"".join(_text(1, item) for item in types))
        case "items":
            return _part(_ITEMS, _part(1, _schema(value)))
        case "allOf":
            return b"".join(_part(_ALL_OF, _schema(item)) for item in value)
        case "properties":
            return _part(_PROPERTIES, _named(1, value))
    return b""  # bounds of numbers and the like, which no client of this form reads


def _named(number: int, schemas: Mapping[str, Any]) -> bytes:
    return b"".join(_part(number, _text(1, name) + _part(2, _schema(node))) for name, node in schemas.items())


def _any(value: Any) -> bytes:
    """A value as YAML, of which JSON is a part."""
    return _part(2, orjson.dumps(value))


def _text(number: int, value: str) -> bytes:
    return _part(number, value.encode())


def _part(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3 | _VARINT) + _varint(value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
