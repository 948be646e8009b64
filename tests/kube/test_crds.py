"""CustomResourceDefinitions: rows, status, validation."""

from __future__ import annotations

from typing import Any

import pytest

from towline.kube import builtin, crds, schemas
from towline.kube.columns import AGE
from towline.kube.objects import Object, copy

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def crd(**spec: Any) -> Object:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {
                "plural": "crontabs",
                "singular": "crontab",
                "kind": "CronTab",
                "listKind": "CronTabList",
            },
            "versions": [version()],
            **spec,
        },
    }


def version(name: str = "v1", **fields: Any) -> Object:
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {"replicas": {"type": "integer", "default": 1}, "cron": {"type": "string"}},
            }
        },
    }
    return {"name": name, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, **fields}


def schema_of(**node: Any) -> Object:
    root = {"type": "object", "properties": {"spec": node}}
    return version(schema={"openAPIV3Schema": root})


def wrong(obj: Object, old: Object | None = None) -> dict[str, str]:
    return {error.path: error.message for error in crds.validate_crd(obj, old)}


def test_a_correct_one_passes_its_own_kind_too() -> None:
    row = next(k for k in builtin.kinds() if k.kind == "CustomResourceDefinition")
    assert row.strategy.default is not None
    assert row.strategy.validate is not None
    full = row.strategy.default(crd(), None, NOW, "u")
    assert schemas.validate(row.schema, full) == []
    assert schemas.unknown_fields(row.schema, full) == []
    assert row.strategy.validate(full, None) == []


# --- rows ----------------------------------------------------------------------------------------------------


def test_rows_of_served_versions() -> None:
    names = {"plural": "crontabs", "kind": "CronTab", "shortNames": ["ct"], "categories": ["all"]}
    subresources = {
        "status": {},
        "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
    }
    columns = [{"name": "Cron", "type": "string", "jsonPath": ".spec.cron", "priority": 1}]
    obj = crd(
        names=names,
        scope="Cluster",
        versions=[
            version("v1", subresources=subresources, additionalPrinterColumns=columns),
            version("v1beta1", storage=False),
            version("v1alpha1", storage=False, served=False),
        ],
    )
    first, second = crds.kinds_of(obj)
    assert (first.api_version, first.kind, first.plural, first.singular) == (
        "example.com/v1",
        "CronTab",
        "crontabs",
        "crontab",
    )
    assert (first.namespaced, first.status, first.custom) == (False, True, True)
    assert (first.short_names, first.categories) == (("ct",), ("all",))
    assert first.scale is not None
    assert (first.scale.spec_replicas, first.scale.selector) == (".spec.replicas", None)
    assert [(c.name, c.value, c.priority) for c in first.columns] == [("Cron", ".spec.cron", 1)]
    assert (second.version, second.status, second.scale, second.columns) == ("v1beta1", False, None, (AGE,))


def test_rows_have_working_schemas() -> None:
    (kind,) = crds.kinds_of(crd())
    obj = {
        "apiVersion": "example.com/v1",
        "kind": "CronTab",
        "metadata": {"name": "a"},
        "spec": {"cron": 1, "x": 2},
    }
    assert [e.path for e in schemas.validate(kind.schema, obj)] == ["spec.cron"]
    assert schemas.unknown_fields(kind.schema, obj) == ["spec.x"]
    assert schemas.default(kind.schema, obj)["spec"]["replicas"] == 1


# --- status --------------------------------------------------------------------------------------------------


def conditions(obj: Object) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["lastTransitionTime"]) for c in obj["status"]["conditions"]}


def test_established() -> None:
    obj = crds.established(crd(), [], NOW)
    assert conditions(obj) == {"NamesAccepted": ("True", NOW), "Established": ("True", NOW)}
    assert obj["status"]["acceptedNames"] == obj["spec"]["names"]
    assert obj["status"]["storedVersions"] == ["v1"]
    assert crds.is_established(obj)
    assert crds.established(obj, [obj], LATER) is obj


def test_a_new_storage_version_is_remembered_with_the_old() -> None:
    old = crds.established(crd(), [], NOW)
    moved = copy(old)
    moved["spec"]["versions"] = [version("v1", storage=False), version("v2")]
    assert crds.established(moved, [], LATER)["status"]["storedVersions"] == ["v1", "v2"]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ({"plural": "other", "kind": "Other", "shortNames": ["crontab"]}, "NameConflict"),
        ({"plural": "crontabs", "kind": "Other"}, "PluralConflict"),
        ({"plural": "other", "kind": "CronTab"}, "KindConflict"),
    ],
)
def test_names_of_another_are_not_accepted(names: Object, reason: str) -> None:
    first = crds.established(crd(), [], NOW)
    second = {**crd(names=names), "metadata": {"name": f"{names['plural']}x.example.com"}}
    refused = crds.established(second, [first], NOW)
    assert conditions(refused) == {"NamesAccepted": ("False", NOW), "Established": ("False", NOW)}
    assert refused["status"]["conditions"][0]["reason"] == reason
    assert not crds.is_established(refused)
    healed = crds.established(refused, [], LATER)
    assert conditions(healed) == {"NamesAccepted": ("True", LATER), "Established": ("True", LATER)}


def test_other_groups_share_names() -> None:
    other = crd(group="example.org")
    other["metadata"]["name"] = "crontabs.example.org"
    first = crds.established(other, [], NOW)
    assert crds.is_established(crds.established(crd(), [first], NOW))


# --- validation ----------------------------------------------------------------------------------------------


def test_name_follows_from_names() -> None:
    obj = {**crd(), "metadata": {"name": "tabs.example.com"}}
    assert wrong(obj) == {
        "metadata.name": 'Invalid value: "tabs.example.com": must be spec.names.plural+"."+spec.group'
    }


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"scope": "Galaxy"}, "spec.scope"),
        ({"names": {"plural": "crontabs"}}, "spec.names.kind"),
        ({"names": {"plural": "crontabs", "kind": "cron_tab"}}, "spec.names.kind"),
        ({"names": {"plural": "crontabs", "kind": "A", "listKind": "A"}}, "spec.names.listKind"),
        ({"names": {"plural": "crontabs", "kind": "A", "shortNames": ["C"]}}, "spec.names.shortNames[0]"),
        ({"versions": []}, "spec.versions"),
        ({"versions": [version(storage=False)]}, "spec.versions"),
        ({"versions": [version("v1"), version("v2")]}, "spec.versions"),
        ({"versions": [version("v1"), version("v1", storage=False)]}, "spec.versions"),
        ({"versions": [version("V.1")]}, "spec.versions[0].name"),
        ({"conversion": {"strategy": "Webhook"}}, "spec.conversion.strategy"),
        ({"versions": [version(schema=None)]}, "spec.versions[0].schema.openAPIV3Schema"),
        ({"preserveUnknownFields": True}, "spec.preserveUnknownFields"),
        (
            {
                "versions": [
                    version(additionalPrinterColumns=[{"name": "A", "type": "text", "jsonPath": ".a"}])
                ]
            },
            "spec.additionalPrinterColumns[0].type",
        ),
        (
            {
                "versions": [
                    version(additionalPrinterColumns=[{"name": "A", "type": "date", "jsonPath": "a"}])
                ]
            },
            "spec.additionalPrinterColumns[0].JSONPath",
        ),
        (
            {"versions": [version(subresources={"scale": {"specReplicasPath": ".replicas"}})]},
            "spec.subresources.scale.specReplicasPath",
        ),
    ],
)
def test_errors(spec: Object, path: str) -> None:
    assert path in wrong(crd(**spec))


SPEC = "spec.validation.openAPIV3Schema.properties[spec]"


@pytest.mark.parametrize(
    ("node", "path"),
    [
        ({}, f"{SPEC}.type"),
        ({"type": "map"}, f"{SPEC}.type"),
        ({"type": "object", "properties": {"a": {}}}, f"{SPEC}.properties[a].type"),
        ({"type": "object", "x-kubernetes-preserve-unknown-fields": False}, f"{SPEC}.x-kubernetes-preserve-unknown-fields"),
        ({"type": "object", "$ref": "#/a"}, f"{SPEC}.$ref"),
        ({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}}, f"{SPEC}.additionalProperties"),
        ({"type": "array"}, f"{SPEC}.items"),
        ({"type": "array", "items": [{"type": "string"}]}, f"{SPEC}.items"),
        ({"type": "array", "items": {}}, f"{SPEC}.items.type"),
        ({"type": "array", "items": {"type": "string"}, "uniqueItems": True}, f"{SPEC}.uniqueItems"),
        ({"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"}, f"{SPEC}.x-kubernetes-list-map-keys"),
        (
            {
                "type": "array",
                "items": {"type": "object", "properties": {"a": {"type": "string"}}},
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["a"],
            },
            f"{SPEC}.items.properties[a].default",
        ),
        ({"type": "object", "x-kubernetes-list-type": "set"}, f"{SPEC}.type"),
        ({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "bag"}, f"{SPEC}.x-kubernetes-list-type"),
    ],
)  # fmt: skip
def test_schemas_are_structural(node: Object, path: str) -> None:
    assert path in wrong(crd(versions=[schema_of(**node)]))


@pytest.mark.parametrize(
    "node",
    [
        {"x-kubernetes-preserve-unknown-fields": True},
        {"x-kubernetes-int-or-string": True},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "object", "properties": {"id": {"type": "string"}, "$ref": {"type": "string"}}},
        {
            "type": "array",
            "items": {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}},
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["a"],
        },
    ],
)
def test_structural_schemas_pass(node: Object) -> None:
    assert wrong(crd(versions=[schema_of(**node)])) == {}


def test_a_bottomless_schema_is_an_error() -> None:
    node: Object = {"type": "string"}
    for _ in range(150):
        node = {"type": "object", "properties": {"a": node}}
    assert any(
        "nested too deeply" in message for message in wrong(crd(versions=[schema_of(**node)])).values()
    )


def test_identity_never_changes_once_served() -> None:
    old = crds.established(crd(), [], NOW)
    assert wrong(crd(scope="Cluster")) == {}
    assert "field is immutable" in wrong(crd(scope="Cluster"), old)["spec.scope"]
    assert "status.storedVersions[0]" in wrong(crd(versions=[version("v2")]), old)


@pytest.mark.parametrize(
    "part", [None, "x", 1, [], ["x"], {"names": "x", "versions": "y"}, {"versions": [{"schema": []}]}]
)
def test_nonsense_is_an_error_and_no_exception(part: Any) -> None:
    assert crds.validate_crd({"metadata": {"name": "a"}, "spec": part}) != []


def test_formats_that_mean_nothing_are_told_once() -> None:
    node = {
        "type": "object",
        "properties": {f: {"type": "string", "format": f} for f in ("date", "odd", "uuid4")},
    }
    old = {"type": "object", "properties": {"a": {"type": "integer", "format": "odd"}}}
    assert crds.warnings(crd(versions=[schema_of(**node)]), None) == ('unrecognized format "odd"',)
    assert crds.warnings(crd(versions=[schema_of(**node)]), crd(versions=[schema_of(**old)])) == ()
    assert (
        crds.warnings({"spec": {"versions": [{"schema": {"openAPIV3Schema": {"format": ["x"]}}}, 1]}}, None)
        == ()
    )
