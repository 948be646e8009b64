"""What the schemas of CRDs may say and what they do, as scenarios for test_api_differential."""

from __future__ import annotations

from typing import Any

from tests.contract.api_steps import CRDS, obj, post
from tests.contract.differential import Scenario

GROUP = "schemas.example.com"
STRING, INTEGER = {"type": "string"}, {"type": "integer"}
KEEP = {"x-kubernetes-preserve-unknown-fields": True}
LIST, KEYS = "x-kubernetes-list-type", "x-kubernetes-list-map-keys"
EITHER = "x-kubernetes-int-or-string"
WHOLE = "x-kubernetes-embedded-resource"


def objects(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def items(of: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": of, **more}


def crd(plural: str, spec: Any, version: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A CRD whose objects have the schema `spec` under their spec."""
    first = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": objects(spec=spec)}}
    said = {"plural": plural, "kind": plural.capitalize().removesuffix("s")}
    given = {"group": GROUP, "scope": "Namespaced", "names": said, "versions": [{**first, **(version or {})}]}
    return obj(
        "apiextensions.k8s.io/v1", "CustomResourceDefinition", f"{plural}.{GROUP}", spec={**given, **more}
    )


def rooted(root: dict[str, Any], **version: Any) -> dict[str, Any]:
    """A CRD with the schema `root`."""
    return crd("bads", {}, {"schema": {"openAPIV3Schema": root}, **version})


# --- invalid schemas -----------------------------------------------------------------------------------------------

A = objects(a=STRING)
WRONG_SPECS: dict[str, Any] = {
    "no_type": objects(a={}),
    "odd_type": objects(a={"type": "text"}),
    "no_items": objects(a={"type": "array"}),
    "type_in_any_of": {**A, "anyOf": [{"type": "object"}]},
    "default_in_all_of": {**A, "allOf": [objects(a={"default": "x"}) | {"type": ""}]},
    "description_in_not": {**A, "not": {"description": "x"}},
    "nullable_in_one_of": {**A, "oneOf": [{"nullable": True}]},
    "rule_in_all_of": {**A, "allOf": [{"x-kubernetes-validations": [{"rule": "true"}]}]},
    "list_type_in_any_of": {**A, "anyOf": [{LIST: "set"}]},
    "map_in_any_of": {**A, "anyOf": [{"additionalProperties": {"minLength": 1}}]},
    "fields_and_map": {**A, "additionalProperties": STRING},
    "pattern": objects(a={**STRING, "pattern": "("}),
    "unique_items": objects(a=items(STRING, uniqueItems=True)),
    "not_preserving": {**A, "x-kubernetes-preserve-unknown-fields": False},
    "reference": objects(a={"$ref": "#/x"}),
    "either_open": objects(a={EITHER: True, **KEEP}),
    "embedded_text": objects(a={**STRING, WHOLE: True}),
    "embedded_empty": objects(a={"type": "object", WHOLE: True}),
    "embedded_kind": objects(a={**objects(kind=INTEGER, apiVersion=STRING), WHOLE: True}),
    "list_type_of_text": objects(a={**STRING, LIST: "set"}),
    "list_type": objects(a=items(STRING, **{LIST: "bag"})),
    "map_type": objects(a={"type": "object", **KEEP, "x-kubernetes-map-type": "odd"}),
    "map_type_of_text": objects(a={**STRING, "x-kubernetes-map-type": "atomic"}),
    "set_of_objects": objects(a=items(A, **{LIST: "set"})),
    "set_of_nulls": objects(a=items({**STRING, "nullable": True}, **{LIST: "set"})),
    "no_keys": objects(a=items(A, **{LIST: "map"})),
    "keys_without_map": objects(a=items(A, **{KEYS: ["a"]})),
    "keys_of_set": objects(a=items(STRING, **{LIST: "set", KEYS: ["a"]})),
    "key_unknown": objects(a=items(A, **{LIST: "map", KEYS: ["b"]})),
    "key_optional": objects(a=items(A, **{LIST: "map", KEYS: ["a"]})),
    "key_twice": objects(a=items({**A, "required": ["a"]}, **{LIST: "map", KEYS: ["a", "a"]})),
    "key_object": objects(a=items({**objects(a=A), "required": ["a"]}, **{LIST: "map", KEYS: ["a"]})),
    "map_of_texts": objects(a=items(STRING, **{LIST: "map", KEYS: ["a"]})),
    "default_type": objects(a={**STRING, "default": 1}),
    "default_unknown": objects(a={**A, "default": {"b": "x"}}),
    "default_invalid": objects(a={**STRING, "maxLength": 2, "default": "long"}),
    "default_enum": objects(a={**STRING, "enum": ["x"], "default": "y"}),
    "default_incomplete": objects(a={**A, "required": ["a"], "default": {}}),
    "default_list": objects(a=items(INTEGER, default=[1, "x"])),
}
WRONG_CRDS: dict[str, Any] = {
    "root_text": rooted(STRING),
    "root_map": rooted({"type": "object", "additionalProperties": STRING}),
    "root_nullable": rooted({**A, "nullable": True}),
    "root_any_of": rooted({**A, "anyOf": [{"required": ["a"]}]}, subresources={"status": {}}),
    "root_undeclared": rooted({**A, "anyOf": [{"properties": {"b": {"minLength": 1}}}]}),
    "root_undeclared_below": rooted({**objects(a=A), "not": {"properties": {"a": {"items": {"minLength": 1}}}}}),
    "metadata_labels": rooted(objects(metadata=objects(labels={"type": "object", **KEEP}))),
    "metadata_text": rooted(objects(metadata=STRING)),
    "metadata_default": rooted(objects(metadata={"type": "object", "default": {"name": "x"}})),
    "kind_default": rooted(objects(kind={**STRING, "default": "x"})),
    "metadata_in_all_of": rooted({**A, "allOf": [objects(metadata={"required": ["name"]}) | {"type": ""}]}),
    "no_schema": crd("bads", A, {"schema": None}),
    "preserving": crd("bads", A, preserveUnknownFields=True),
    "warning_without_deprecation": crd("bads", A, {"deprecationWarning": "old"}),
    "empty_warning": crd("bads", A, {"deprecated": True, "deprecationWarning": ""}),
    "scale_path": crd("bads", A, {"subresources": {"scale": {"specReplicasPath": ".a", "statusReplicasPath": "x"}}}),
    "column": crd("bads", A, {"additionalPrinterColumns": [{"name": "A", "type": "odd", "jsonPath": "a"}]}),
    "field_path": crd("bads", A, {"selectableFields": [{"jsonPath": ".spec.b"}]}),
    "field_syntax": crd("bads", A, {"selectableFields": [{"jsonPath": "spec.a"}, {"jsonPath": ""}]}),
    "field_type": crd("bads", objects(a=A), {"selectableFields": [{"jsonPath": ".spec.a"}]}),
    "field_twice": crd("bads", A, {"selectableFields": [{"jsonPath": ".spec.a"}, {"jsonPath": ".spec.a"}]}),
    "fields_many": crd(
        "bads",
        objects(**{f"f{n}": STRING for n in range(9)}),
        {"selectableFields": [{"jsonPath": f".spec.f{n}"} for n in range(9)]},
    ),
    "rule_cost": crd("bads", objects(a=items(STRING, **{"x-kubernetes-validations": [{"rule": "self.all(x, self.all(y, x == y))"}]}))),
    "names": crd("bads", A, names={"plural": "bads", "kind": "Bad_kind", "singular": "Bad", "listKind": "x y"}),
    "same_list_kind": crd("bads", A, names={"plural": "bads", "kind": "Bad", "listKind": "Bad"}),
    "conversion": crd("bads", A, conversion={"strategy": "Odd"}),
    "scope": crd("bads", A, scope="Planet"),
}  # fmt: skip


def invalid() -> Scenario:
    wrong = [(name, crd("bads", spec)) for name, spec in WRONG_SPECS.items()] + list(WRONG_CRDS.items())
    return Scenario("crd-invalid", tuple(post(name, f"{CRDS}?dryRun=All", body) for name, body in wrong))


SCENARIOS = (invalid(),)
