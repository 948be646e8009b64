"""What was wrong before may stay where it did not change."""

from __future__ import annotations

from typing import Any

import pytest

from towline.kube import ratcheting, schemas
from towline.kube.structure import Schema

SHORT = {"type": "string", "maxLength": 2}
ITEM = {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}, "v": SHORT}}
SPEC = {
    "type": "object",
    "required": ["must"],
    "properties": {
        "must": {"type": "string"},
        "a": SHORT,
        "map": {"type": "object", "additionalProperties": SHORT},
        "list": {"type": "array", "items": SHORT},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "keyed": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": ITEM},
        "below": {"type": "object", "required": ["x"], "properties": {"x": {"type": "string"}, "y": {"type": "integer"}}},
    },
}  # fmt: skip
SCHEMA = Schema.of_kind({"type": "object", "properties": {"spec": SPEC}})


@pytest.mark.parametrize(
    ("old", "new", "paths"),
    [
        ({"a": "long"}, {"a": "long", "must": "x"}, []),
        ({"a": "long"}, {"a": "longer", "must": "x"}, ["spec.a"]),
        ({}, {"a": "long", "must": "x"}, ["spec.a"]),
        ({"map": {"a.b": "long"}}, {"map": {"a.b": "long", "c": "x"}, "must": "x"}, []),
        ({"map": {"a.b": "long"}}, {"map": {"a.b": "long", "c": "long"}, "must": "x"}, ["spec.map.c"]),
        ({"list": ["long"]}, {"list": ["long"], "must": "x"}, []),
        ({"list": ["long"]}, {"list": ["long", "x"], "must": "x"}, ["spec.list[0]"]),
        (
            {"keyed": [{"k": "a", "v": "long"}]},
            {"keyed": [{"k": "b"}, {"k": "a", "v": "long"}], "must": "x"},
            [],
        ),
        (
            {"keyed": [{"k": "a", "v": "long"}]},
            {"keyed": [{"k": "b", "v": "long"}], "must": "x"},
            ["spec.keyed[0].v"],
        ),
        ({"set": ["a", "a"]}, {"set": ["b", "b"], "must": "x"}, []),
        ({"set": ["a"]}, {"set": ["b", "b"], "must": "x"}, ["spec.set[1]"]),
        ({"below": {"y": 1}}, {"below": {"y": 1}, "must": "x"}, []),
        ({"below": {"y": 1}}, {"below": {"y": 2}, "must": "x"}, ["spec.below.x"]),
        ({"a": "x"}, {"a": "y"}, ["spec.must"]),
        ({"a": "x"}, {"a": "x"}, []),
    ],
)
def test_what_did_not_change_is_not_held_against_an_update(old: Any, new: Any, paths: list[str]) -> None:
    now, before = {"spec": new, "metadata": {"generation": 2}}, {"spec": old, "metadata": {"generation": 1}}
    errors = schemas.validate(SCHEMA, now)
    assert [e.path for e in ratcheting.new_errors(SCHEMA, errors, now, before)] == paths
