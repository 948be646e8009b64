"""The algebra of field sets, fieldsV1, and comparisons."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towline.kube import fields
from towline.kube.schemas import Schema, builtin

SERVICE = builtin("io.k8s.api.core.v1.Service")
DEPLOYMENT = builtin("io.k8s.api.apps.v1.Deployment")

paths = st.lists(st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', 'v:"y"']), min_size=1, max_size=4).map(
    tuple
)
models = st.frozensets(paths, max_size=8)
laws = settings(max_examples=200, deadline=None)


def encoded(model: frozenset[tuple[str, ...]]) -> dict[str, Any]:
    """A set of paths as fieldsV1, by the definition."""
    root: dict[str, Any] = {}
    for path in model:
        node = root
        for part in path:
            node = node.setdefault(part, {})
    for path in model:
        node = root
        for part in path:
            node = node[part]
        if node:
            node["."] = {}
    return root


def decoded(node: dict[str, Any], prefix: tuple[str, ...] = ()) -> frozenset[tuple[str, ...]]:
    found = set()
    for key, child in node.items():
        if key != ".":
            if not child or "." in child:
                found.add((*prefix, key))
            found |= decoded(child, (*prefix, key))
    return frozenset(found)


@laws
@given(models, models)
def test_operations_are_those_of_sets(a: frozenset[tuple[str, ...]], b: frozenset[tuple[str, ...]]) -> None:
    x, y = encoded(a), encoded(b)
    before = orjson.dumps([x, y])
    assert fields.union(x, y) == encoded(a | b)
    assert fields.difference(x, y) == encoded(a - b)
    assert fields.intersection(x, y) == encoded(a & b)
    assert orjson.dumps([x, y]) == before, "sets are values"


@laws
@given(models, models, models)
def test_algebra(
    a: frozenset[tuple[str, ...]], b: frozenset[tuple[str, ...]], c: frozenset[tuple[str, ...]]
) -> None:
    x, y, z = encoded(a), encoded(b), encoded(c)
    union, difference, intersection = fields.union, fields.difference, fields.intersection
    assert union(x, union(y, z)) == union(union(x, y), z)
    assert intersection(x, union(y, z)) == union(intersection(x, y), intersection(x, z))
    assert difference(x, union(y, z)) == difference(difference(x, y), z)
    assert union(difference(x, y), intersection(x, y)) == x
    assert difference(x, x) == {}


@laws
@given(models)
def test_fields_v1_round_trip(a: frozenset[tuple[str, ...]]) -> None:
    written = orjson.dumps(encoded(a))
    assert fields.read(orjson.loads(written)) == encoded(a)
    assert decoded(encoded(a)) == a
    assert len(fields.paths(encoded(a))) == len(a)


def test_reading_brings_keys_into_canonical_form() -> None:
    assert fields.read({"f:a": {'k:{ "b": 1, "a": "x" }': {".": {}}}}) == {"f:a": {'k:{"a":"x","b":1}': {}}}


@pytest.mark.parametrize(
    "bad", [None, [], {"a": {}}, {"f:a": 1}, {"k:nope": {}}, {"k:[]": {}}, {".": {"f:a": {}}}]
)
def test_what_is_not_fields_v1_is_not_read(bad: Any) -> None:
    assert fields.read(bad) is None


def test_endless_nesting_is_not_read() -> None:
    node: dict[str, Any] = {}
    for _ in range(1_000):
        node = {"f:a": node}
    assert fields.read(node) is None


def test_paths_as_conflicts_show_them() -> None:
    owned = {
        "f:spec": {
            "f:replicas": {},
            "f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:name": {}}},
            "f:set": {'v:"x"': {}},
        }
    }
    assert fields.paths(owned) == [
        '.spec.ports[port=80,protocol="TCP"]',
        '.spec.ports[port=80,protocol="TCP"].name',
        ".spec.replicas",
        '.spec.set[="x"]',
    ]


def service(*ports: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"spec": {"ports": list(ports), **spec}}


COMPARISONS: list[tuple[str, dict[str, Any], dict[str, Any], list[str], list[str], list[str]]] = [
    ("nothing", service({"port": 1}), service({"port": 1}), [], [], []),
    ("a scalar", {"spec": {"type": "A"}}, {"spec": {"type": "B"}}, [], [".spec.type"], []),
    ("a type", {"spec": {"type": True}}, {"spec": {"type": 1}}, [], [".spec.type"], []),
    (
        "an item came",
        service({"port": 1}),
        service({"port": 1}, {"port": 2}),
        ['.spec.ports[port=2,protocol="TCP"]', '.spec.ports[port=2,protocol="TCP"].port'],
        [],
        [],
    ),
    (
        "an item changed",
        service({"port": 1, "name": "a"}),
        service({"port": 1, "name": "b"}),
        [],
        ['.spec.ports[port=1,protocol="TCP"].name'],
        [],
    ),
    ("order only", service({"port": 1}, {"port": 2}), service({"port": 2}, {"port": 1}), [], [], []),
    ("an atomic list", {"spec": {"sessionAffinityConfig": {}}}, {"spec": {}}, [], [], [".spec.sessionAffinityConfig"]),
    ("an atomic list changed", {"spec": {"externalIPs": ["a"]}}, {"spec": {"externalIPs": ["b"]}}, [], [".spec.externalIPs"], []),
    ("a map came", {"spec": {}}, {"spec": {"selector": {"a": "b"}}}, [".spec.selector"], [], []),
    ("map entry", {"metadata": {"labels": {"a": "1"}}}, {"metadata": {"labels": {"b": "1"}}}, [".metadata.labels.b"], [], [".metadata.labels.a"]),
    ("emptied", {"metadata": {"labels": {"a": "1"}}}, {"metadata": {"labels": {}}}, [], [], [".metadata.labels.a"]),
    ("set", {"metadata": {"finalizers": ["a"]}}, {"metadata": {"finalizers": ["b"]}}, ['.metadata.finalizers[="b"]'], [], ['.metadata.finalizers[="a"]']),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "added", "modified", "removed"),
    [c[1:] for c in COMPARISONS],
    ids=[c[0] for c in COMPARISONS],
)
def test_compare(
    old: dict[str, Any], new: dict[str, Any], added: list[str], modified: list[str], removed: list[str]
) -> None:
    found = fields.compare(SERVICE, old, new)
    assert fields.paths(found.added) == added
    assert fields.paths(found.modified) == modified
    assert fields.paths(found.removed) == removed
    assert bool(found) == bool(added or modified or removed)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(0, 2), st.sampled_from(["", "x"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=8,
)


@laws
@given(
    st.dictionaries(st.sampled_from("abc"), json_values), st.dictionaries(st.sampled_from("abc"), json_values)
)
def test_comparing_both_ways_mirrors(a: dict[str, Any], b: dict[str, Any]) -> None:
    one, other = fields.compare(Schema.ANY, a, b), fields.compare(Schema.ANY, b, a)
    assert (one.added, one.removed) == (other.removed, other.added)
    assert one.modified == other.modified
    assert not fields.compare(Schema.ANY, a, a)


def test_parts_without_a_schema_are_divided_like_kubernetes_does() -> None:
    assert fields.of_object(Schema.ANY, {"m": {"x": {"y": 1}}, "l": [{"z": 1}], "e": {}}) == {
        "f:m": {".": {}, "f:x": {".": {}, "f:y": {}}},
        "f:l": {},
        "f:e": {},
    }
