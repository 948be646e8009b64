"""JSON patch, merge patch and strategic merge patch: tables and laws."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from towline.kube.objects import copy
from towline.kube.patches import (
    COPIED_NODES_MAX,
    OPERATIONS_MAX,
    PatchError,
    json_equal,
    json_patch,
    merge_patch,
    strategic_merge,
)
from towline.kube.schemas import Schema, builtin

POD = builtin("io.k8s.api.core.v1.Pod")
DEPLOYMENT = builtin("io.k8s.api.apps.v1.Deployment")
laws = cases(300)

# --- JSON patch ---------------------------------------------------------------------------------------------

DOC: dict[str, Any] = {"a": {"b": [1, 2, 3], "c~d": 1, "e/f": 2}, "n": None}

OPERATIONS: list[tuple[str, list[dict[str, Any]], Any]] = [
    ("add", [{"op": "add", "path": "/x", "value": 1}], {**DOC, "x": 1}),
    ("add replaces", [{"op": "add", "path": "/n", "value": 1}], {**DOC, "n": 1}),
    ("insert", [{"op": "add", "path": "/a/b/1", "value": 9}], {**DOC, "a": {**DOC["a"], "b": [1, 9, 2, 3]}}),
    ("append", [{"op": "add", "path": "/a/b/-", "value": 9}], {**DOC, "a": {**DOC["a"], "b": [1, 2, 3, 9]}}),
    ("append at end", [{"op": "add", "path": "/a/b/3", "value": 9}], {**DOC, "a": {**DOC["a"], "b": [1, 2, 3, 9]}}),
    ("remove", [{"op": "remove", "path": "/a"}], {"n": None}),
    ("remove item", [{"op": "remove", "path": "/a/b/0"}], {**DOC, "a": {**DOC["a"], "b": [2, 3]}}),
    ("replace", [{"op": "replace", "path": "/n", "value": {}}], {**DOC, "n": {}}),
    ("whole", [{"op": "replace", "path": "", "value": 5}], 5),
    ("escapes", [{"op": "remove", "path": "/a/c~0d"}, {"op": "remove", "path": "/a/e~1f"}], {**DOC, "a": {"b": [1, 2, 3]}}),
    ("move", [{"op": "move", "from": "/a/b", "path": "/b"}], {"a": {"c~d": 1, "e/f": 2}, "n": None, "b": [1, 2, 3]}),
    ("move in a list", [{"op": "move", "from": "/a/b/0", "path": "/a/b/2"}], {**DOC, "a": {**DOC["a"], "b": [2, 3, 1]}}),
    ("move onto itself", [{"op": "move", "from": "/a", "path": "/a"}], DOC),
    ("copy", [{"op": "copy", "from": "/a/b", "path": "/b"}], {**DOC, "b": [1, 2, 3]}),
    ("test", [{"op": "test", "path": "/a/b", "value": [1, 2, 3]}, {"op": "test", "path": "/n", "value": None}], DOC),
    ("nothing", [], DOC),
]  # fmt: skip


@pytest.mark.parametrize(
    ("operations", "expected"), [o[1:] for o in OPERATIONS], ids=[o[0] for o in OPERATIONS]
)
def test_json_patch(operations: list[dict[str, Any]], expected: Any) -> None:
    before = copy(DOC)
    assert json_patch(DOC, operations) == expected
    assert before == DOC


REFUSED: list[tuple[Any, str, bool]] = [
    ({}, "a JSON patch is a list", False),
    ([3], "is an object", False),
    ([{"op": "spread", "path": "/a"}], "unexpected operation 'spread'", False),
    ([{"op": "add", "path": "a", "value": 1}], "is not a JSON pointer", False),
    ([{"op": "add", "path": 3, "value": 1}], "is not a JSON pointer", False),
    ([{"op": "add", "path": "/x"}], "needs a value", False),
    ([{"op": "copy", "path": "/x"}], "'from' is not a JSON pointer", False),
    ([{"op": "remove", "path": "/x"}], "/x: the path does not exist", True),
    ([{"op": "replace", "path": "/x/y", "value": 1}], "/x: the path does not exist", True),
    ([{"op": "add", "path": "/a/b/4", "value": 1}], "/a/b/4: index out of bounds", True),
    ([{"op": "remove", "path": "/a/b/3"}], "index out of bounds", True),
    ([{"op": "remove", "path": "/a/b/01"}], "not an index", True),
    ([{"op": "remove", "path": "/a/b/-1"}], "not an index", True),
    ([{"op": "remove", "path": "/a/b/-"}], "not an index", True),
    ([{"op": "remove", "path": "/a/b/²"}], "not an index", True),
    ([{"op": "add", "path": "/n/x", "value": 1}], "/n/x: the path does not exist", True),
    ([{"op": "test", "path": "/a/b/0", "value": True}], "testing value failed", True),
    ([{"op": "test", "path": "/a/b/0", "value": 2}], "testing value failed", True),
    ([{"op": "move", "from": "/a", "path": "/a/b/0"}], "into itself", True),
    ([{"op": "add", "path": "/" * 1000, "value": 1}], "nested too deeply", False),
]


@pytest.mark.parametrize(("operations", "message", "unprocessable"), REFUSED)
def test_json_patch_refuses(operations: Any, message: str, unprocessable: bool) -> None:
    with pytest.raises(PatchError) as caught:
        json_patch(DOC, operations)
    assert message in str(caught.value)
    assert caught.value.unprocessable is unprocessable


def test_json_patches_are_bounded() -> None:
    with pytest.raises(PatchError, match="maximum operations"):
        json_patch({}, [{"op": "test", "path": "", "value": {}}] * (OPERATIONS_MAX + 1))
    doubling = [{"op": "copy", "from": "", "path": f"/x{n}"} for n in range(64)]
    with pytest.raises(PatchError, match="copies too much"):
        json_patch({"a": 1}, doubling)
    assert COPIED_NODES_MAX >= 100_000


# --- merge patch --------------------------------------------------------------------------------------------

MERGES: list[tuple[Any, Any, Any]] = [  # the examples of RFC 7386
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("doc", "patch", "expected"), MERGES)
def test_merge_patch(doc: Any, patch: Any, expected: Any) -> None:
    assert merge_patch(doc, patch) == expected


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(0, 3), st.sampled_from(["", "x"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=10,
)
objects = st.dictionaries(st.sampled_from("abc"), json_values, max_size=3)


@laws
@given(objects, objects)
def test_merge_patches_are_idempotent_and_change_no_input(doc: Any, patch: Any) -> None:
    before = copy((doc, patch))
    once = merge_patch(doc, patch)
    assert merge_patch(once, patch) == once
    assert copy((doc, patch)) == before
    assert merge_patch(doc, {}) == doc


@laws
@given(objects, objects)
def test_a_schemaless_strategic_merge_is_a_merge_patch(doc: Any, patch: Any) -> None:
    def lists_without_nulls(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: lists_without_nulls(v) for k, v in value.items()}
        return [0] if isinstance(value, list) else value

    patch = lists_without_nulls(patch)
    assert strategic_merge(Schema.ANY, doc, patch) == merge_patch(doc, patch)


@laws
@given(objects, objects)
def test_a_json_patch_that_replaces_field_by_field_makes_the_other_document(a: Any, b: Any) -> None:
    operations = [{"op": "remove", "path": f"/{k}"} for k in a if k not in b]
    operations += [{"op": "add", "path": f"/{k}", "value": v} for k, v in b.items()]
    operations.append({"op": "test", "path": "", "value": b})
    assert json_patch(a, operations) == b


def test_json_equality_tells_numbers_from_booleans() -> None:
    assert not json_equal({"a": [1]}, {"a": [True]})
    assert json_equal({"a": 1, "b": [1.0]}, {"b": [1], "a": 1})


# --- strategic merge patch ----------------------------------------------------------------------------------


def pod(*containers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"spec": {"containers": list(containers), **more}}


A, B, C = {"name": "a", "image": "1"}, {"name": "b", "image": "2"}, {"name": "c", "image": "3"}

STRATEGIC: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ("merges by key", pod(A, B), pod({"name": "a", "tty": True}), pod({**A, "tty": True}, B)),
    ("a new item comes first", pod(A, B), pod(C), pod(C, A, B)),
    ("null removes a field", pod(A), pod({"name": "a", "image": None}), pod({"name": "a"})),
    ("delete an item", pod(A, B), pod({"name": "a", "$patch": "delete"}), pod(B)),
    ("delete what is not there", pod(A), pod({"name": "x", "$patch": "delete"}), pod(A)),
    ("delete and add", pod(A, B), pod({"name": "a", "$patch": "delete"}, C), pod(C, B)),
    ("replace the list", pod(A, B), pod(C, {"$patch": "replace"}), pod(C)),
    ("empty the list", pod(A, B), pod({"$patch": "replace"}), pod()),
    ("replace an object", {"spec": {"a": 1, "b": 2}}, {"spec": {"$patch": "replace", "c": 3}}, {"spec": {"c": 3}}),
    ("delete an object", {"spec": {"a": 1}, "x": 1}, {"spec": {"$patch": "delete"}}, {"x": 1}),
    ("merge is the default", {"spec": {"a": 1}}, {"spec": {"$patch": "merge", "b": 2}}, {"spec": {"a": 1, "b": 2}}),
    (
        "order",
        pod(A, B, C),
        {"spec": {"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}]}},
        pod(B, C, A),
    ),
    (
        "order with changes, as kubectl apply sends it",
        pod(A, B),
        {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "c"}], "containers": [C, {"name": "a", "$patch": "delete"}]}},
        pod(B, C),
    ),
    (
        "the server's own items keep their place",
        pod({"name": "sidecar"}, A, B),
        {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": [{"name": "a", "image": "9"}]}},
        pod({"name": "sidecar"}, B, {"name": "a", "image": "9"}),
    ),
    (
        "atomic lists are replaced",
        {"spec": {"tolerations": [{"key": "a"}]}},
        {"spec": {"tolerations": [{"key": "b", "value": None}]}},
        {"spec": {"tolerations": [{"key": "b"}]}},
    ),
    (
        "sets of primitives merge",
        {"metadata": {"finalizers": ["a", "b"]}},
        {"metadata": {"finalizers": ["c", "a"]}},
        {"metadata": {"finalizers": ["c", "a", "b"]}},
    ),
    (
        "delete from a set",
        {"metadata": {"finalizers": ["a", "b"]}},
        {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a", "x"]}},
        {"metadata": {"finalizers": ["b"]}},
    ),
    (
        "order of a set",
        {"metadata": {"finalizers": ["a", "b", "s"]}},
        {"metadata": {"$setElementOrder/finalizers": ["b", "a", "c"], "finalizers": ["c"]}},
        {"metadata": {"finalizers": ["b", "a", "c", "s"]}},
    ),
    (
        "retained keys",
        {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}},
        {"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/"}}]}},
        {"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}},
    ),
    ("maps merge", {"metadata": {"labels": {"a": "1"}}}, {"metadata": {"labels": {"b": "2", "a": None}}}, {"metadata": {"labels": {"b": "2"}}}),
    ("new content loses its nulls", {}, {"metadata": {"labels": {"a": None, "b": "1"}}}, {"metadata": {"labels": {"b": "1"}}}),
    ("ports merge by containerPort", pod({**A, "ports": [{"containerPort": 1, "name": "x"}]}), pod({"name": "a", "ports": [{"containerPort": 1, "name": "y"}]}), pod({**A, "ports": [{"containerPort": 1, "name": "y"}]})),
]  # fmt: skip


@pytest.mark.parametrize(
    ("doc", "patch", "expected"), [s[1:] for s in STRATEGIC], ids=[s[0] for s in STRATEGIC]
)
def test_strategic_merge(doc: Any, patch: Any, expected: Any) -> None:
    before = copy((doc, patch))
    assert strategic_merge(POD, doc, patch) == expected
    assert copy((doc, patch)) == before


def test_retain_keys_of_a_deployments_strategy() -> None:
    live = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert strategic_merge(DEPLOYMENT, live, patch) == {"spec": {"strategy": {"type": "Recreate"}}}


def test_fields_that_look_like_directives_are_fields() -> None:
    crd = builtin("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps")
    assert strategic_merge(crd, {}, {"$ref": "#/x", "$schema": "y"}) == {"$ref": "#/x", "$schema": "y"}


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ([], "is an object"),
        (pod({"image": "x"}), "does not contain declared merge key: name"),
        (pod("x"), "is an object"),  # type: ignore[arg-type]
        ({"spec": {"$patch": "explode"}}, "unrecognized $patch directive"),
        ({"spec": {"$setElementOrder/containers": ["a"]}}, "objects with 'name'"),
        ({"metadata": {"$deleteFromPrimitiveList/finalizers": "a"}}, "is a list"),
        ({"spec": {"$retainKeys": ["a"], "b": 1}}, "must name every field"),
    ],
)
def test_strategic_merge_refuses(patch: Any, message: str) -> None:
    with pytest.raises(PatchError) as caught:
        strategic_merge(POD, pod(A), patch)
    assert message in str(caught.value)


names = st.sampled_from("abcde")
containers = st.lists(
    st.fixed_dictionaries({"name": names}, optional={"image": st.sampled_from("123")}), max_size=4, unique_by=lambda c: str(c["name"])
)  # fmt: skip


@laws
@given(containers, containers)
def test_strategic_merge_laws(present: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    once = strategic_merge(POD, pod(*present), pod(*wanted))
    assert strategic_merge(POD, once, pod(*wanted)) == once
    by_name = {c["name"]: c for c in once["spec"]["containers"]}
    assert by_name.keys() == {c["name"] for c in (*present, *wanted)}
    assert all(by_name[c["name"]].items() >= c.items() for c in wanted)
    order = [c["name"] for c in once["spec"]["containers"] if c["name"] in {w["name"] for w in wanted}]
    assert order == [c["name"] for c in wanted]


@laws
@given(containers, containers)
def test_a_full_patch_makes_the_wanted_list(
    present: list[dict[str, Any]], wanted: list[dict[str, Any]]
) -> None:
    """What kubectl apply sends: everything wanted, an order, and a deletion for what went."""
    gone = {c["name"] for c in present} - {c["name"] for c in wanted}
    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": c["name"]} for c in wanted],
            "containers": [
                *({"image": None, **c} for c in wanted),
                *({"name": name, "$patch": "delete"} for name in sorted(gone)),
            ],
        }
    }
    assert strategic_merge(POD, pod(*present), patch) == pod(*wanted)


def test_large_lists_stay_linear() -> None:
    many = [{"name": f"c{n}", "image": "i"} for n in range(20_000)]
    merged = strategic_merge(POD, pod(*many), pod(*({**c, "image": "j"} for c in reversed(many))))
    assert len(merged["spec"]["containers"]) == 20_000


def test_deep_patches_are_refused_and_do_not_crash() -> None:
    deep: Any = {}
    for _ in range(5_000):
        deep = {"a": deep}
    for merge in (merge_patch, lambda doc, patch: strategic_merge(Schema.ANY, doc, patch)):
        with pytest.raises(PatchError, match="nested too deeply"):
            merge({}, deep)
