"""Pruning and defaulting, for any schema and any object."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from towline.kube.objects import copy
from towline.kube.schemas import default, prune, unknown_fields
from towline.kube.structure import Schema

NAMES = st.sampled_from("abcd")
SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.text("xy", max_size=2)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=4)


@st.composite
def schemas(draw: st.DrawFn, depth: int = 3) -> dict[str, Any]:
    """A structural schema, whose defaults have nothing that it would prune."""
    kind = draw(
        st.sampled_from(["string", "integer", "array", "object", "map", "open"] if depth else ["string"])
    )
    node: dict[str, Any]
    if kind == "array":
        node = {"type": "array", "items": draw(schemas(depth - 1))}
    elif kind == "object":
        node = {"type": "object", "properties": draw(st.dictionaries(NAMES, schemas(depth - 1), max_size=3))}
        if draw(st.booleans()):
            node["x-kubernetes-preserve-unknown-fields"] = True
    elif kind == "map":
        node = {"type": "object", "additionalProperties": draw(schemas(depth - 1))}
    elif kind == "open":
        node = {"x-kubernetes-preserve-unknown-fields": True}
    else:
        node = {"type": kind}
    if draw(st.booleans()):
        node["nullable"] = True
    if draw(st.booleans()):
        given_value = {
            "array": [],
            "object": {},
            "map": {},
            "open": {"free": 1},
            "string": "s",
            "integer": 1,
        }[kind]
        node["default"] = prune(Schema.of(node), given_value)
    return node


ROOTS = st.dictionaries(NAMES, schemas(), max_size=4).map(
    lambda fields: Schema.of({"type": "object", "properties": fields})
)


@given(ROOTS, OBJECTS)
def test_pruning_twice_is_pruning_once(schema: Schema, obj: dict[str, Any]) -> None:
    pruned = prune(schema, obj)
    assert prune(schema, pruned) is pruned
    assert unknown_fields(schema, pruned) == []


@given(ROOTS, OBJECTS)
def test_defaulting_twice_is_defaulting_once(schema: Schema, obj: dict[str, Any]) -> None:
    filled = default(schema, obj)
    assert default(schema, filled) is filled


@given(ROOTS, OBJECTS)
def test_what_is_filled_in_is_not_pruned(schema: Schema, obj: dict[str, Any]) -> None:
    stored = default(schema, prune(schema, obj))
    assert prune(schema, stored) is stored
    assert default(schema, prune(schema, stored)) is stored


@given(ROOTS, OBJECTS)
def test_neither_changes_what_it_is_given(schema: Schema, obj: dict[str, Any]) -> None:
    before = copy(obj)
    default(schema, prune(schema, obj))
    assert obj == before
