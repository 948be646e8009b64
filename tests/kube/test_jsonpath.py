"""JSONPaths of printer columns."""

from __future__ import annotations

from typing import Any

import pytest

from towline.kube.jsonpath import PathError, fields_of, find, first

OBJ: dict[str, Any] = {
    "metadata": {"name": "n", "labels": {"a.b/c": "x", "plain": "y"}},
    "spec": {
        "replicas": 0,
        "workload": {"manifests": [{"kind": "A"}, {"kind": "B"}, {}]},
        "list": [1, 2, 3],
        "on": True,
    },
    "status": {
        "conditions": [
            {"type": "Ready", "status": "True", "n": 1},
            {"type": "Other", "status": "False", "n": 2, "on": True},
        ]
    },
}

PATHS: list[tuple[str, list[Any]]] = [
    (".metadata.name", ["n"]),
    ("metadata.name", ["n"]),
    ("{.metadata.name}", ["n"]),
    ("$.metadata.name", ["n"]),
    (".", [OBJ]),
    (".spec.replicas", [0]),
    (".spec.missing", []),
    (".spec.replicas.deeper", []),
    (".status.conditions[?(@.type==\"Ready\")].status", ["True"]),
    (".status.conditions[?(@.type=='Ready')].status", ["True"]),
    (".status.conditions[?( @.type == \"Ready\" )].status", ["True"]),
    (".status.conditions[?(@.type!=\"Ready\")].status", ["False"]),
    (".status.conditions[?(@.n==2)].type", ["Other"]),
    (".status.conditions[?(@.on==true)].type", ["Other"]),
    (".status.conditions[?(@.on)].type", ["Other"]),
    (".status.conditions[?(@.type==\"None\")].status", []),
    (".spec.workload.manifests[*].kind", ["A", "B"]),
    (".spec.list[0]", [1]),
    (".spec.list[-1]", [3]),
    (".spec.list[9]", []),
    (".spec.list", [[1, 2, 3]]),
    (".metadata.labels['a.b/c']", ["x"]),
    (".metadata.labels[\"a.b/c\"]", ["x"]),
    (r".metadata.labels.a\.b/c", ["x"]),
    (".metadata.labels.*", ["x", "y"]),
    ("['metadata']['name']", ["n"]),
]  # fmt: skip


@pytest.mark.parametrize(("path", "expected"), PATHS)
def test_find(path: str, expected: list[Any]) -> None:
    assert find(path, OBJ) == expected


def test_first() -> None:
    assert first(".spec.replicas", OBJ, 9) == 0
    assert first(".spec.none", OBJ, 9) == 9
    assert first(".spec", None) is None


@pytest.mark.parametrize("path", [".a[", ".a[?(@.b==c)]", ".a]", ".a[x]", ".a..b[", "[?(@.a=~b)]"])
def test_unreadable(path: str) -> None:
    with pytest.raises(PathError):
        find(path, {"a": [{"b": 1}]})


def test_plain_paths_for_writing() -> None:
    assert fields_of(".spec.replicas") == ("spec", "replicas")
    assert fields_of(".metadata.labels['a.b']") == ("metadata", "labels", "a.b")
    with pytest.raises(PathError):
        fields_of(".spec.list[0]")
