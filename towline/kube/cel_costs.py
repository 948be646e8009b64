"""What an expression can cost, before it runs: from its syntax tree and how large the values are that it sees. Pure.

In Kubernetes' unit, about the time of one simple operation: traversing ten characters is 1. Sizes come from a schema
(`SchemaSize`: what its objects can be at most) or from values (`ValueSize`: what is there). An estimate is never below
what happens, but may be far above: each loop counts in full, of two branches the dearer one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from towline.kube.cel_types import escaped
from towline.kube.structure import Schema

REQUEST_BYTES = 3 * 1024 * 1024
"""Kubernetes' limit of a request, which bounds what has no other bound."""
COST_MAX = 2**63
"""Estimates stop here: unbounded."""

_MIN_SIZES = {"string": 2, "boolean": 4, "array": 2, "object": 2}
_FORMAT_SIZES = {"duration": 32, "date": 12, "date-time": 30}
_HALF_COST = frozenset({"startsWith", "endsWith"})
_COMPARED = frozenset({"_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"})
_WHOLE_LISTS = frozenset({"isSorted", "sum", "min", "max", "sort", "sortBy", "flatten", "reverse", "indexOf", "lastIndexOf"})  # fmt: skip
_PAIRS = frozenset({"sets.contains", "sets.equivalent", "sets.intersects", "distinct"})
_MAKERS = frozenset({"_+_", "bytes", "format", "join", "lists.range", "quote", "replace", "split"})
_SCALARS = frozenset(
    {"size", "contains", "startsWith", "endsWith", "matches", "isSorted", "!_", "-_", "@in", "_&&_", "_||_", "hasValue",
     "isIP", "isCIDR", "isURL", "isQuantity", "int", "double", "uint", "bool", "compareTo", "isLessThan", "isGreaterThan"}
    | _COMPARED
)  # fmt: skip


class Size:
    """How large a value is: characters, items or entries at most; 1 for a number."""

    __slots__ = ("length",)

    def __init__(self, length: int = 1) -> None:
        self.length = min(length, COST_MAX)

    def field(self, name: str) -> Size:
        """Of an object's field, or of a map's value."""
        return UNKNOWN

    def items(self) -> Size:
        """Of a list's items, or of a map's values."""
        return UNKNOWN

    def keys(self) -> Size:
        """Of what a loop with one variable sees: a list's items, or a map's keys."""
        return self.items()

    def traversal(self, depth: int = 0) -> int:
        """What looking at all of it costs."""
        return _tenth(self.length)


class _List(Size):
    """A list that an expression makes."""

    __slots__ = ("_items",)

    def __init__(self, length: int, items: Size) -> None:
        super().__init__(length)
        self._items = items

    def items(self) -> Size:
        return self._items

    def field(self, name: str) -> Size:
        return self._items

    def traversal(self, depth: int = 0) -> int:
        return _product(self.length, self._items.traversal(depth + 1))


class _Either(Size):
    """One of several."""

    __slots__ = ("_sizes",)

    def __init__(self, sizes: Sequence[Size]) -> None:
        super().__init__(max((size.length for size in sizes), default=0))
        self._sizes = sizes

    def field(self, name: str) -> Size:
        return either([size.field(name) for size in self._sizes])

    def items(self) -> Size:
        return either([size.items() for size in self._sizes])

    def keys(self) -> Size:
        return either([size.keys() for size in self._sizes])

    def traversal(self, depth: int = 0) -> int:
        return max((size.traversal(depth) for size in self._sizes), default=1)


class SchemaSize(Size):
    """The largest value that a schema allows."""

    __slots__ = ("_schema",)

    def __init__(self, schema: Schema) -> None:
        super().__init__(_longest(schema))
        self._schema = schema

    def field(self, name: str) -> Size:
        for field, child in self._schema.properties.items():
            if escaped(field) == name:
                return SchemaSize(child)
        return self.items()

    def items(self) -> Size:
        schema = self._schema
        child = schema.items if schema.type == "array" else schema.additional
        return UNKNOWN if child is None or child is Schema.ANY else SchemaSize(child)

    def keys(self) -> Size:
        return Size(REQUEST_BYTES) if self._schema.type == "object" else self.items()

    def traversal(self, depth: int = 0) -> int:
        schema = self._schema
        if depth > 10:
            return REQUEST_BYTES
        if schema.properties:
            below = sum(SchemaSize(child).traversal(depth + 1) for child in schema.properties.values())
            return min(below, REQUEST_BYTES)
        if schema.type in ("array", "object"):
            return min(_product(self.length, self.items().traversal(depth + 1)), REQUEST_BYTES)
        return _tenth(self.length)


class ValueSize(Size):
    """The largest of values that are there, in Python's types."""

    __slots__ = ("_values",)

    def __init__(self, values: Sequence[Any]) -> None:
        super().__init__(max(map(_length, values), default=0))
        self._values = values

    def field(self, name: str) -> Size:
        return ValueSize([v[name] for v in self._values if isinstance(v, dict) and name in v])

    def items(self) -> Size:
        found: list[Any] = []
        for value in self._values:
            if isinstance(value, dict):
                found += value.values()
            elif isinstance(value, list):
                found += value
        return ValueSize(found)

    def keys(self) -> Size:
        found: list[Any] = []
        for value in self._values:
            if isinstance(value, dict | list):
                found += value
        return ValueSize(found)

    def traversal(self, depth: int = 0) -> int:
        return max((_traversal(value) for value in self._values), default=1)


UNKNOWN = Size(COST_MAX)


def either(sizes: Sequence[Size]) -> Size:
    return sizes[0] if len(sizes) == 1 else _Either(sizes)


def cost(tree: bytes, variables: Mapping[str, Size]) -> int:
    """What one evaluation costs at most. `tree`: a serialized expression (`cel.Program.tree`)."""
    checked = _checked()()
    wrapped = _any()()
    wrapped.ParseFromString(tree)
    checked.ParseFromString(wrapped.value)
    return _estimate(checked.expr, variables)[0]


# --- a walk over the tree ----------------------------------------------------------------------------------------


def _estimate(expr: Any, known: Mapping[str, Size]) -> tuple[int, Size]:
    kind = expr.WhichOneof("kind")
    if kind == "constant":
        said = expr.constant.WhichOneof("kind")
        text = getattr(expr.constant, said) if said in ("string_value", "bytes_value") else None
        return 0, Size(1 if text is None else len(text))
    if kind == "ident":
        return 1, known.get(expr.ident.name, Size())
    if kind == "select":
        spent, size = _estimate(expr.select.operand, known)
        return _sum(spent, 1), Size() if expr.select.test_only else size.field(expr.select.field)
    if kind == "list":
        parts = [_estimate(item, known) for item in expr.list.elements]
        return _sum(10, *(p[0] for p in parts)), _List(len(parts), either([p[1] for p in parts]))
    if kind == "struct":
        keys = [_estimate(entry.map_key, known)[0] for entry in expr.struct.entries]
        parts = [_estimate(entry.value, known) for entry in expr.struct.entries]
        spent = _sum(30, *keys, *(p[0] for p in parts))
        return spent, _List(len(parts), either([p[1] for p in parts]))
    if kind == "loop":
        return _loop(expr.loop, known)
    return _call(expr.call, known) if kind == "call" else (0, Size())


def _loop(loop: Any, known: Mapping[str, Size]) -> tuple[int, Size]:
    spent, over = _estimate(loop.iter_range, known)
    init, start = _estimate(loop.accu_init, known)
    inner = {**known, loop.accu_var: start, loop.iter_var: over.keys()}
    if loop.iter_var2:
        inner |= {loop.iter_var2: over.items()}
    condition = _estimate(loop.loop_condition, inner)[0]
    step, made = _estimate(loop.loop_step, inner)
    collects = isinstance(start, _List)
    if collects:
        made = _List(_product(over.length, made.length), made.items())
    made = either([start, made])  # a loop over nothing binds a name
    result, size = _estimate(loop.result, {**inner, loop.accu_var: made})
    rounds = _product(over.length, _sum(condition, step))
    return _sum(spent, init, result, rounds), size


def _call(call: Any, known: Mapping[str, Size]) -> tuple[int, Size]:
    given = [*([call.target] if call.HasField("target") else []), *call.args]
    parts = [_estimate(part, known) for part in given]
    spent, sizes = _sum(*(part[0] for part in parts)), [part[1] for part in parts]
    name = call.function
    if name == "_?_:_":
        condition, yes, no = parts
        return _sum(condition[0], max(yes[0], no[0])), either([yes[1], no[1]])
    if name in ("_&&_", "_||_"):
        return spent, Size()
    made = _result(call, name, sizes)
    own = _own_cost(name, sizes)
    return _sum(spent, max(own, _tenth(made.length)) if name in _MAKERS else own), made


def _own_cost(name: str, sizes: Sequence[Size]) -> int:
    """What a function costs apart from its arguments."""
    first = sizes[0] if sizes else Size()
    other = sizes[1] if len(sizes) > 1 else Size()
    if name in _COMPARED:
        return max(1, min(first.traversal(), other.traversal()))
    if name == "@in":
        return max(1, _product(other.length, max(1, min(first.traversal(), other.items().traversal()))))
    if name == "matches":
        return _product(_tenth(first.length + 1), max(1, other.length // 4))
    if name == "contains":
        return _product(_tenth(first.length), _tenth(other.length))
    if name in _HALF_COST:
        return _tenth(other.length)
    if name in _WHOLE_LISTS:
        return _sum(4 * first.length, first.traversal())  # they are Python's, each item is converted
    if name in _PAIRS:
        return _product(first.length, other.length if len(sizes) > 1 else first.length)
    if name in ("size", "_[_]", "_?._", "_[?_]", "!_", "-_", "type", "dyn") or name.startswith("optional"):
        return 1
    return max(1, *(_tenth(size.length) for size in sizes)) if sizes else 1


def _result(call: Any, name: str, sizes: Sequence[Size]) -> Size:
    """How large a function's value is."""
    if not sizes or name in _SCALARS:
        return Size()
    first = sizes[0]
    if name in ("_[_]", "_[?_]"):
        return first.items()
    if name == "_?._":
        return first.field(call.args[-1].constant.string_value)
    if name == "_+_":
        return _List(_sum(first.length, sizes[1].length), either([s.items() for s in sizes])) \
            if any(isinstance(s, _List) for s in sizes) else _Sum(sizes)  # fmt: skip
    if name == "replace" and len(sizes) > 2:
        return Size(_replaced(sizes))
    if name == "split":
        return _List(first.length + 1, Size(first.length))
    if name == "join":
        between = sizes[1].length if len(sizes) > 1 else 0
        return Size(_product(first.length, _sum(first.items().length, between)))
    if name == "format":
        arguments = _product(sizes[1].length, max(sizes[1].items().traversal() * 10, 32))
        return Size(_sum(first.length, arguments))
    if name == "lists.range":
        argument = call.args[0]
        number = argument.constant.int64_value if argument.WhichOneof("kind") == "constant" else COST_MAX
        return _List(number, Size())
    if name.endswith("@mapInsert"):
        return _List(1, sizes[-1].items() if len(sizes) == 2 else sizes[-1])
    if name in ("quote", "bytes"):
        return Size(_product(first.length, 4) + 2)
    return either(sizes)  # a part, another spelling, or one of them


class _Sum(Size):
    """Two values joined: texts, or lists that a schema describes."""

    __slots__ = ("_sizes",)

    def __init__(self, sizes: Sequence[Size]) -> None:
        super().__init__(_sum(*(size.length for size in sizes)))
        self._sizes = sizes

    def items(self) -> Size:
        return either([size.items() for size in self._sizes])


def _replaced(sizes: Sequence[Size]) -> int:
    """Each character, and the gap at the end, replaced at worst."""
    return _sum(_product(sizes[0].length + 1, max(1, sizes[2].length)), sizes[0].length)


# --- sizes -------------------------------------------------------------------------------------------------------


def _longest(schema: Schema) -> int:
    node = schema.node
    if schema.int_or_string or not schema.type:
        return REQUEST_BYTES - 2
    if schema.type == "array":
        bound = node.get("maxItems")
        return bound if bound is not None else _fits(schema.items, 1)
    if schema.type == "object":
        bound = node.get("maxProperties")
        if schema.properties:
            return len(schema.properties)
        return bound if bound is not None else _fits(schema.additional, 6)
    if schema.type != "string":
        return 1
    if node.get("format") in _FORMAT_SIZES:
        return _FORMAT_SIZES[str(node["format"])]
    if node.get("maxLength") is not None:
        return int(node["maxLength"]) * 4  # characters take up to four bytes
    if node.get("enum"):
        return max(len(str(value)) for value in node["enum"])
    return REQUEST_BYTES - 2


def _fits(values: Schema | None, more: int) -> int:
    return (REQUEST_BYTES - 2) // (smallest(values) + more)


def smallest(schema: Schema | None) -> int:
    """Bytes that a value takes at least, as JSON."""
    if schema is None or schema is Schema.ANY or not schema.type or schema.int_or_string:
        return 1
    size = _MIN_SIZES.get(schema.type, 1)
    if schema.type == "object" and not schema.definition:
        for field in schema.required:
            child = schema.properties.get(field)
            if child is not None and "default" not in child.node:
                size += len(field) + smallest(child) + 4
    return size


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str | bytes | list | dict) else 1


def _traversal(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(_traversal, value.values())) + len(value)
    if isinstance(value, list):
        return sum(map(_traversal, value)) + len(value)
    return _tenth(len(value)) if isinstance(value, str | bytes) else 1


def _tenth(length: int) -> int:
    return -(-length // 10)


def _sum(*numbers: int) -> int:
    return min(sum(numbers), COST_MAX)


def _product(a: int, b: int) -> int:
    return min(a * b, COST_MAX)


# --- the tree's encoding -----------------------------------------------------------------------------------------

_F = descriptor_pb2.FieldDescriptorProto
_TREE: Mapping[str, Sequence[tuple[str, int, Any]]] = {
    "Any": (("value", 2, _F.TYPE_BYTES),),
    "Checked": (("expr", 4, "Expr"),),
    "Expr": (
        ("constant", 3, "Constant"), ("ident", 4, "Ident"), ("select", 5, "Select"), ("call", 6, "Call"),
        ("list", 7, "List"), ("struct", 8, "Struct"), ("loop", 9, "Loop"),
    ),
    "Constant": (
        ("null_value", 1, _F.TYPE_INT64), ("bool_value", 2, _F.TYPE_BOOL), ("int64_value", 3, _F.TYPE_INT64),
        ("string_value", 6, _F.TYPE_STRING), ("bytes_value", 7, _F.TYPE_BYTES),
    ),
    "Ident": (("name", 1, _F.TYPE_STRING),),
    "Select": (("operand", 1, "Expr"), ("field", 2, _F.TYPE_STRING), ("test_only", 3, _F.TYPE_BOOL)),
    "Call": (("target", 1, "Expr"), ("function", 2, _F.TYPE_STRING), ("args", 3, "*Expr")),
    "List": (("elements", 1, "*Expr"),),
    "Struct": (("entries", 2, "*Entry"),),
    "Entry": (("map_key", 3, "Expr"), ("value", 4, "Expr")),
    "Loop": (
        ("iter_var", 1, _F.TYPE_STRING), ("iter_range", 2, "Expr"), ("accu_var", 3, _F.TYPE_STRING),
        ("accu_init", 4, "Expr"), ("loop_condition", 5, "Expr"), ("loop_step", 6, "Expr"), ("result", 7, "Expr"),
        ("iter_var2", 8, _F.TYPE_STRING),
    ),
}  # fmt: skip
"""The fields of cel.expr.CheckedExpr that matter here: name, number, type (`*`: repeated)."""


@cache
def _pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name="tree.proto", package="tree", syntax="proto2")
    for name, fields in _TREE.items():
        message = file.message_type.add(name=name)
        one_of = name in ("Expr", "Constant")
        if one_of:
            message.oneof_decl.add(name="kind")
        for field, number, kind in fields:
            repeated = str(kind).startswith("*")
            label = _F.LABEL_REPEATED if repeated else _F.LABEL_OPTIONAL
            made = message.field.add(name=field, number=number, label=label)
            if isinstance(kind, str):
                made.type, made.type_name = _F.TYPE_MESSAGE, f".tree.{kind.lstrip('*')}"
            else:
                made.type = kind
            if one_of:
                made.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool


@cache
def _checked() -> Any:
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName("tree.Checked"))


@cache
def _any() -> Any:
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName("tree.Any"))
