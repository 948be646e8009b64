"""The fields of a schema's objects as types of CEL's checker, so that a rule cannot name a field that there is not. Pure.

CEL knows objects with fields as protobuf messages: each object of a schema becomes one. Values stay what they are, the
messages are only for checking. A list or map directly inside a list or map is `dyn`.
"""

from __future__ import annotations

import re
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, struct_pb2, timestamp_pb2

from towline.kube import cel
from towline.kube.structure import Schema

_PACKAGE = "schema"
_FIELD: Final = descriptor_pb2.FieldDescriptorProto
_ANY = "google.protobuf.Value"
_WELL_KNOWN = (struct_pb2, timestamp_pb2, duration_pb2)
_SCALARS = {"boolean": cel.BOOL, "integer": cel.INT, "number": cel.DOUBLE, "string": cel.STRING}
_FORMATS = {"date-time": cel.TIMESTAMP, "date": cel.TIMESTAMP, "duration": cel.DURATION, "byte": cel.BYTES}
_WIRE = {
    cel.BOOL: _FIELD.TYPE_BOOL,
    cel.INT: _FIELD.TYPE_INT64,
    cel.DOUBLE: _FIELD.TYPE_DOUBLE,
    cel.STRING: _FIELD.TYPE_STRING,
    cel.BYTES: _FIELD.TYPE_BYTES,
}
_RESERVED = frozenset(
    {
        "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import",
        "let", "loop", "package", "namespace", "return", "var", "void", "while",
    }
)  # fmt: skip
_ESCAPES = (("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__"))
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class Types:
    """The types of a schema's nodes."""

    def __init__(self) -> None:
        self._file = descriptor_pb2.FileDescriptorProto(
            name="schema.proto",
            package=_PACKAGE,
            syntax="proto2",
            dependency=[str(module.DESCRIPTOR.name) for module in _WELL_KNOWN],
        )

    def of(self, schema: Schema, *, root: bool = False) -> str:
        """The CEL type of a node. `root`: it is a whole object, with metadata."""
        if schema.int_or_string or schema.nullable or not schema.type:
            return cel.DYN
        if schema.type == "array":
            return f"list<{self.of(schema.items) if schema.items is not None else cel.DYN}>"
        if schema.type == "object":
            values = schema.additional
            if values is not None and not schema.properties:
                return f"map<string, {cel.DYN if values is Schema.ANY else self.of(values)}>"
            return self._message(schema, root=root or schema.embedded)
        if schema.type == "string":
            return _FORMATS.get(str(schema.node.get("format")), cel.STRING)
        return _SCALARS.get(schema.type, cel.DYN)

    def pool(self) -> Any:
        """Everything that `of` has named, for cel.compile."""
        return pool_of(self.encoded())

    def encoded(self) -> bytes:
        """The same for `pool_of`: equal for equal schemas."""
        return self._file.SerializeToString(deterministic=True)

    def _message(self, schema: Schema, *, root: bool) -> str:
        name = f"Object{len(self._file.message_type)}"
        message = self._file.message_type.add(name=name)
        for field, child in schema.properties.items():
            if root and field == "metadata":
                self._add(message, field, self._metadata())
            elif (escape := escaped(field)) and not is_open(child):
                self._add(message, escape, self.of(child))
        return f"{_PACKAGE}.{name}"

    def _metadata(self) -> str:
        name = f"Object{len(self._file.message_type)}"
        message = self._file.message_type.add(name=name)
        for field in ("name", "generateName"):
            self._add(message, field, cel.STRING)
        return f"{_PACKAGE}.{name}"

    def _add(self, message: Any, name: str, kind: str) -> None:
        number = len(message.field) + 1
        field = message.field.add(
            name=name, number=number, label=_FIELD.LABEL_OPTIONAL, json_name=f"f{number}"
        )
        if kind.startswith("list<"):
            field.label = _FIELD.LABEL_REPEATED
            kind = kind.removeprefix("list<").removesuffix(">")
        elif kind.startswith("map<"):
            field.label = _FIELD.LABEL_REPEATED
            values, entry_name = kind.removeprefix("map<string, ").removesuffix(">"), _entry(name)
            if any(other.name == entry_name for other in message.nested_type):
                field.label = _FIELD.LABEL_OPTIONAL  # two fields that protobuf cannot tell apart
                return _wire(field, cel.DYN)
            entry = message.nested_type.add(name=entry_name)
            entry.options.map_entry = True
            entry.field.add(name="key", number=1, label=_FIELD.LABEL_OPTIONAL, type=_FIELD.TYPE_STRING)
            _wire(entry.field.add(name="value", number=2, label=_FIELD.LABEL_OPTIONAL), values)
            kind = f"{_PACKAGE}.{message.name}.{entry_name}"
        return _wire(field, kind)


def pool_of(encoded: bytes) -> Any:
    pool = descriptor_pool.DescriptorPool()
    for module in _WELL_KNOWN:
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(encoded)
    return pool


def _entry(name: str) -> str:
    """What protobuf wants the entries of a map field to be called: `node_labels` -> `NodeLabelsEntry`."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_")) + "Entry"


def escaped(field: str) -> str:
    """A property's name as rules write it: `a.b` -> `a__dot__b`, `namespace` -> `__namespace__`; "" for one that cannot
    be written."""
    if field in _RESERVED:
        return f"__{field}__"
    for text, escape in _ESCAPES:
        field = field.replace(text, escape)
    return field if _IDENTIFIER.match(field) else ""


def is_open(schema: Schema) -> bool:
    """Keeps anything and says no type: rules do not see it."""
    return not schema.type and not schema.int_or_string


def _wire(field: Any, kind: str) -> None:
    if kind in _WIRE:
        field.type = _WIRE[kind]
        return
    field.type = _FIELD.TYPE_MESSAGE
    nested = kind == cel.DYN or kind.startswith(("list<", "map<"))
    field.type_name = f".{_ANY if nested else kind}"
