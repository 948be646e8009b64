"""Schemas: the packaged definitions, structural schemas of CRDs, validation in Kubernetes' words, pruning,
defaults."""

from __future__ import annotations

from typing import Any

import pytest

from towline.kube.objects import copy
from towline.kube.schemas import (
    UNSET,
    FieldError,
    Schema,
    builtin,
    default,
    definitions,
    problem,
    prune,
    source,
    unknown_fields,
    validate,
)

DEPLOYMENT = builtin("io.k8s.api.apps.v1.Deployment")
CRD = builtin("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition")


def deployment(**container: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"spec": {"containers": [{"name": "c", "image": "i", **container}]}},
        },
    }


# --- nodes --------------------------------------------------------------------------------------------------


def test_the_asset_says_where_it_comes_from() -> None:
    assert source()["version"].startswith("1.")
    assert "Apache-2.0" in source()["notice"]


def test_list_and_patch_metadata_of_built_in_kinds() -> None:
    pod = DEPLOYMENT.properties["spec"].properties["template"].properties["spec"]
    containers = pod.properties["containers"]
    assert (containers.list_type, containers.list_map_keys) == ("map", ("name",))
    assert (containers.patch_strategy, containers.patch_merge_key) == (frozenset({"merge"}), "name")
    assert pod.properties["volumes"].patch_strategy == frozenset({"merge", "retainKeys"})
    assert containers.items is not None
    ports = containers.items.properties["ports"]
    assert ports.list_map_keys == ("containerPort", "protocol")
    assert ports.items is not None and ports.items.properties["protocol"].default == "TCP"
    assert DEPLOYMENT.properties["spec"].properties["selector"].atomic_map
    assert pod.properties["tolerations"].list_type == "atomic"
    assert DEPLOYMENT.properties["metadata"].properties["finalizers"].list_type == "set"
    assert DEPLOYMENT.properties["spec"].properties["strategy"].patch_strategy == frozenset({"retainKeys"})
    limits = containers.items.properties["resources"].properties["limits"].additional
    assert limits is not None and limits.quantity


def test_types_are_openapi_s_again() -> None:
    for name, node in definitions().items():
        for child in [node, *node.get("properties", {}).values()]:
            assert isinstance(child.get("type", ""), str), name
            assert "$defs" not in str(child), name


def test_descriptions_are_only_in_the_rendered_form() -> None:
    rendered = DEPLOYMENT.openapi()
    assert "declarative updates" in rendered["description"]
    assert rendered["properties"]["spec"]["allOf"] == [
        {"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentSpec"}
    ]
    assert rendered["x-kubernetes-group-version-kind"] == [
        {"group": "apps", "kind": "Deployment", "version": "v1"}
    ]
    assert "description" not in DEPLOYMENT.node


def test_every_kind_compiles_and_every_reference_is_there() -> None:
    known = definitions()
    kinds = [name for name, node in known.items() if "x-kubernetes-group-version-kind" in node]
    assert len(kinds) > 80
    for name in kinds:
        schema = builtin(name)
        if "metadata" in schema.properties and schema.properties["metadata"].definition.endswith(
            "ObjectMeta"
        ):
            assert validate(schema, {"metadata": {"name": 1}}), name
    for name, node in known.items():
        for reference in _references(node):
            assert reference in known, (name, reference)


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"].rpartition("/")[2]] if isinstance(node.get("$ref"), str) else []
        return own + [r for child in node.values() for r in _references(child)]
    return [r for child in node for r in _references(child)] if isinstance(node, list) else []


def test_unknown_definitions() -> None:
    with pytest.raises(KeyError):
        builtin("io.k8s.api.apps.v9.Deployment")
    later = Schema.of({"type": "object", "properties": {"x": {"$ref": "#/definitions/unheard.of.Thing"}}})
    assert unknown_fields(later, {"x": {"anything": 1}, "y": 1}) == ["y"]


def test_own_definitions_come_before_built_in_ones() -> None:
    schema = Schema.of(
        {"$ref": "#/components/schemas/A"},
        {"A": {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}, "m": {"$ref": "#/definitions/" + DEPLOYMENT.definition}}}},
    )  # fmt: skip
    assert schema.properties["a"].properties["a"].type == "object"
    assert unknown_fields(schema, {"a": {"a": {"b": 1}}, "m": {"spec": {"nope": 1}}}) == [
        "a.a.b",
        "m.spec.nope",
    ]


# --- validation ---------------------------------------------------------------------------------------------

INVALID: list[tuple[str, dict[str, Any], list[tuple[str, str, str]]]] = [
    ("valid", deployment(), []),
    ("nulls", {**deployment(), "status": None, "metadata": {"name": "a", "creationTimestamp": None}}, []),
    (
        "type",
        {**deployment(), "spec": {**deployment()["spec"], "replicas": "x"}},
        [("spec.replicas", "FieldValueTypeInvalid", 'Invalid value: "x": must be of type integer')],
    ),
    (
        "deep type",
        deployment(image=4),
        [
            (
                "spec.template.spec.containers[0].image",
                "FieldValueTypeInvalid",
                "Invalid value: 4: must be of type string",
            )
        ],
    ),
    (
        "required",
        {**deployment(), "spec": {"template": {}}},
        [("spec.selector", "FieldValueRequired", "Required value")],
    ),
    (
        "required null",
        {**deployment(), "spec": {"selector": None, "template": {}}},
        [("spec.selector", "FieldValueRequired", "Required value")],
    ),
    (
        "label",
        {**deployment(), "metadata": {"labels": {"example.com/a": True}}},
        [
            (
                "metadata.labels[example.com/a]",
                "FieldValueTypeInvalid",
                "Invalid value: true: must be of type string",
            )
        ],
    ),
    (
        "int32",
        {**deployment(), "spec": {**deployment()["spec"], "replicas": 2**31}},
        [
            (
                "spec.replicas",
                "FieldValueInvalid",
                "Invalid value: 2147483648: should be less than or equal to 2147483647",
            )
        ],
    ),
    ("int or string", deployment(livenessProbe={"httpGet": {"port": "http"}}), []),
    (
        "neither int nor string",
        deployment(livenessProbe={"httpGet": {"port": True}}),
        [
            (
                "spec.template.spec.containers[0].livenessProbe.httpGet.port",
                "FieldValueTypeInvalid",
                "Invalid value: true: must be of type integer or string",
            )
        ],
    ),
    ("quantities", deployment(resources={"limits": {"cpu": 1, "memory": "1.5Gi", "x": "5e3"}}), []),
    ("repeated env is tolerated", deployment(env=[{"name": "A"}, {"name": "A"}]), []),
    (
        "repeated mount",
        deployment(volumeMounts=[{"name": "a", "mountPath": "/a"}, {"name": "b", "mountPath": "/a"}]),
        [
            (
                "spec.template.spec.containers[0].volumeMounts[1].mountPath",
                "FieldValueDuplicate",
                'Duplicate value: "/a"',
            )
        ],
    ),
]


@pytest.mark.parametrize(("obj", "expected"), [c[1:] for c in INVALID], ids=[c[0] for c in INVALID])
def test_validate_built_in(obj: dict[str, Any], expected: list[tuple[str, str, str]]) -> None:
    assert validate(DEPLOYMENT, obj) == [FieldError(*e) for e in expected]


@pytest.mark.parametrize("quantity", ["1zz", "", "1 Gi", "--1", True, [], "1e"])
def test_malformed_quantities(quantity: Any) -> None:
    (error,) = validate(DEPLOYMENT, deployment(resources={"limits": {"cpu": quantity}}))
    assert error.path == "spec.template.spec.containers[0].resources.limits.cpu"


def test_secret_data_is_base64() -> None:
    secret = builtin("io.k8s.api.core.v1.Secret")
    assert validate(secret, {"data": {"a": "aGVsbG8=", "b": "aGVs\nbG8="}}) == []
    assert [e.path for e in validate(secret, {"data": {"a": "a", "b": "%%%%"}})] == ["data.a", "data.b"]


WIDGET = Schema.of_kind(
    {
        "type": "object",
        "required": ["spec"],
        "properties": {
            "spec": {
                "type": "object",
                "required": ["size", "maybe"],
                "properties": {
                    "size": {"type": "integer", "minimum": 1, "maximum": 10, "exclusiveMaximum": True},
                    "color": {"type": "string", "enum": ["red", "green"], "default": "red"},
                    "maybe": {"type": "string", "nullable": True},
                    "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
                    "at": {"type": "string", "format": "date-time"},
                    "port": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
                    "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
                    "parts": {
                        "type": "array",
                        "maxItems": 3,
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["id", "zone"],
                        "items": {
                            "type": "object",
                            "required": ["id"],
                            "properties": {
                                "id": {"type": "integer"},
                                "zone": {"type": "string", "default": "a"},
                            },
                        },
                    },
                    "free": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                        "properties": {"known": {"type": "object", "properties": {"x": {"type": "integer"}}}},
                    },
                    "either": {"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
                               "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
                    "child": {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True},
                    "counts": {"type": "object", "additionalProperties": {"type": "integer", "default": 7}},
                    "nested": {"type": "object", "default": {}, "properties": {"on": {"type": "boolean", "default": True}}},
                },
            },
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
)  # fmt: skip


def widget(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "x.io/v1",
        "kind": "Widget",
        "metadata": {"name": "w"},
        "spec": {"size": 1, "maybe": None, **spec},
    }


CUSTOM: list[tuple[str, dict[str, Any], list[str]]] = [
    ("valid", widget(), []),
    ("null optional", widget(color=None, port=None, either=None, child=None, parts=None), []),
    ("null required", widget(size=None), ["spec.size: Required value"]),
    ("exclusive", widget(size=10), ["spec.size: Invalid value: 10: should be less than 10"]),
    ("minimum", widget(size=0), ["spec.size: Invalid value: 0: should be greater than or equal to 1"]),
    (
        "enum",
        widget(color="blue"),
        ['spec.color: Unsupported value: "blue": supported values: "red", "green"'],
    ),
    ("pattern", widget(name="A"), ["spec.name: Invalid value: \"A\": should match '^[a-z]+$'"]),
    ("long", widget(name="abcdef"), ["spec.name: Too long: may not be more than 5 bytes"]),
    ("format", widget(at="yesterday"), ['spec.at: Invalid value: "yesterday": must be of format date-time']),
    ("int or string", widget(port=[]), ["spec.port: Invalid value: []: must be of type integer or string"]),
    ("set", widget(tags=["a", "b", "a"]), ['spec.tags[2]: Duplicate value: "a"']),
    (
        "keys with a default",
        widget(parts=[{"id": 1}, {"id": 1, "zone": "a"}]),
        ['spec.parts[1]: Duplicate value: {"id":1,"zone":"a"}'],
    ),
    (
        "too many",
        widget(parts=[{"id": n} for n in range(4)]),
        ["spec.parts: Too many: 4: must have at most 3 items"],
    ),
    ("one of", widget(either={"a": 1, "b": 1}), ["must validate one and only one schema (oneOf)"]),
    (
        "below free content",
        widget(free={"known": {"x": "y"}, "z": [1]}),
        ["spec.free.known.x: Invalid value"],
    ),
    ("embedded", widget(child={"kind": "X"}), ["spec.child.apiVersion: Required value"]),
    (
        "embedded metadata",
        widget(child={"kind": "X", "apiVersion": "v1", "metadata": {"name": 1}}),
        ["metadata.name"],
    ),
    (
        "metadata",
        {**widget(), "metadata": {"name": 7}},
        ["metadata.name: Invalid value: 7: must be of type string"],
    ),
    ("null in a list", widget(tags=[None]), ["spec.tags[0]: Invalid value: null: must be of type string"]),
]


@pytest.mark.parametrize(("obj", "expected"), [c[1:] for c in CUSTOM], ids=[c[0] for c in CUSTOM])
def test_validate_custom(obj: dict[str, Any], expected: list[str]) -> None:
    found = [str(error) for error in validate(WIDGET, obj)]
    assert len(found) == len(expected), found
    for text, part in zip(found, expected, strict=True):
        assert part in text


def test_patterns_cannot_be_made_slow() -> None:
    slow = Schema.of({"type": "string", "pattern": "^(a+)+$"})
    assert validate(slow, "a" * 50_000 + "b")


@pytest.mark.parametrize(
    "node",
    [
        {"pattern": "["},
        {"pattern": "(?=a)b"},
        {"pattern": "(a{999}){999}"},
        {"type": "strin"},
        {"maxLength": -1},
    ],
)
def test_schemas_that_cannot_be_used_are_found_and_do_not_crash(node: dict[str, Any]) -> None:
    schema = Schema.of({"type": "object", "properties": {"a": {"type": "string", **node}}})
    assert problem(schema)
    (error,) = validate(schema, {"a": "b"})
    assert "schema cannot be used" in error.message
    assert problem(WIDGET) is None


def test_errors_are_bounded() -> None:
    many = {**deployment(), "metadata": {"labels": {f"l{n}": n for n in range(10_000)}}}
    assert len(validate(DEPLOYMENT, many)) == 100


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    node: dict[str, Any] = {}
    for _ in range(900):
        node = {"type": "object", "properties": {"a": node}}
    crd = {"spec": {"group": "g", "names": {"kind": "K", "plural": "k"}, "scope": "Namespaced", "versions": [
        {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": node}}]}}  # fmt: skip
    errors = validate(CRD, crd)
    assert any("nested too deeply" in e.message for e in errors)


# --- unknown fields, pruning, defaults ----------------------------------------------------------------------


def test_all_unknown_fields_with_paths() -> None:
    obj = deployment(imagee="x", ports=[{"containerPort": 1, "prot": "TCP"}])
    obj["spec"]["replica"] = 1
    obj["metadata"]["labels"] = {"any": "thing"}
    assert sorted(unknown_fields(DEPLOYMENT, obj)) == [
        "spec.replica",
        "spec.template.spec.containers[0].imagee",
        "spec.template.spec.containers[0].ports[0].prot",
    ]
    assert unknown_fields(WIDGET, widget(free={"z": {"y": 1}, "known": {"q": 1}}, child={"anything": 1})) == [
        "spec.free.known.q"
    ]


def test_prune_drops_what_is_unknown_and_null_and_writes_quantities_canonically() -> None:
    obj = deployment(
        imagee="x", resources={"limits": {"cpu": 0.5, "memory": "1024Mi", "pods": "1000m"}}, tty=None
    )
    before = copy(obj)
    pruned = prune(DEPLOYMENT, obj)
    assert obj == before
    assert pruned["spec"]["template"]["spec"]["containers"] == [
        {"name": "c", "image": "i", "resources": {"limits": {"cpu": "500m", "memory": "1Gi", "pods": "1"}}}
    ]
    assert prune(DEPLOYMENT, pruned) is pruned
    assert pruned["spec"]["selector"] is obj["spec"]["selector"], "what stays is shared"


def test_prune_of_custom_objects() -> None:
    obj = {**widget(color=None, free={"z": None, "known": {"q": 1}}, gone=1), "status": {"a": None}}
    assert prune(WIDGET, obj) == {**widget(free={"z": None, "known": {}}), "status": {"a": None}}


def test_defaults() -> None:
    obj = widget(parts=[{"id": 1}, {"id": 2, "zone": "b"}], counts={"a": None, "b": 1})
    before = copy(obj)
    filled = default(WIDGET, obj)
    assert obj == before
    assert filled["spec"] == {
        "size": 1,
        "maybe": None,
        "color": "red",
        "parts": [{"id": 1, "zone": "a"}, {"id": 2, "zone": "b"}],
        "counts": {"a": 7, "b": 1},
        "nested": {"on": True},
    }
    assert default(WIDGET, filled) is filled
    assert default(WIDGET, {"spec": {"color": None}})["spec"]["color"] == "red"
    assert "spec" not in default(WIDGET, {})
    again = default(WIDGET, widget())
    again["spec"]["nested"]["on"] = False
    assert default(WIDGET, widget())["spec"]["nested"]["on"] is True, "defaults are fresh"


def test_any_accepts_everything() -> None:
    assert validate(Schema.ANY, {"a": [None, {"b": 1}]}) == []
    assert unknown_fields(Schema.ANY, {"a": 1}) == []
    assert Schema.ANY.default is UNSET
    value = {"a": None}
    assert prune(Schema.ANY, value) is value
