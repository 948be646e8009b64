"""What the schemas of CRDs may say and what they do, as scenarios for test_api."""

from __future__ import annotations

from typing import Any

from tests.contract.api_steps import CRDS, Space, apply, delete, get, obj, patch, post, put
from tests.contract.differential import Scenario, Step

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
    "default_against_rule": objects(
        a={
            **STRING,
            "maxLength": 9,
            "default": "x",
            "x-kubernetes-validations": [{"rule": "self.size() > 1"}],
        }
    ),
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


# --- values ----------------------------------------------------------------------------------------------------------

ONE = objects(name=STRING, n=INTEGER)
KEYWORDS: dict[str, Any] = {
    "low": {**INTEGER, "minimum": 1, "maximum": 9},
    "between": {
        "type": "number",
        "minimum": 1,
        "maximum": 9,
        "exclusiveMinimum": True,
        "exclusiveMaximum": True,
    },
    "even": {**INTEGER, "multipleOf": 2},
    "int32": {**INTEGER, "format": "int32"},
    "text": {**STRING, "minLength": 2, "maxLength": 4, "pattern": "^[a-z]*$"},
    "colour": {**STRING, "enum": ["red", "green"]},
    "many": items(INTEGER, minItems=1, maxItems=2),
    "map": {"type": "object", "minProperties": 1, "maxProperties": 2, "additionalProperties": INTEGER},
    "all": {**STRING, "allOf": [{"minLength": 2}, {"pattern": "^a"}]},
    "any": {**STRING, "anyOf": [{"enum": ["x"]}, {"minLength": 3}]},
    "one": {**STRING, "oneOf": [{"minLength": 2}, {"maxLength": 3}]},
    "not": {**STRING, "not": {"enum": ["no"]}},
    "needs": {
        **ONE,
        "required": ["name"],
        "anyOf": [{"required": ["n"]}, {"properties": {"name": {"enum": ["x"]}}}],
    },
    "port": {EITHER: True, "anyOf": [{"type": "integer"}, {"type": "string"}], "pattern": "^[0-9]+%?$"},
    "null": {**STRING, "nullable": True},
    "truth": {"type": "boolean"},
    "set": items(STRING, **{LIST: "set"}),
    "keyed": items({**ONE, "required": ["name"]}, **{LIST: "map", KEYS: ["name"]}),
    "pairs": items({**ONE, "required": ["name", "n"]}, **{LIST: "map", KEYS: ["name", "n"]}),
    "whole": {"type": "object", WHOLE: True, **KEEP},
}
FORMATS = ("date", "date-time", "duration", "byte", "uuid", "ipv4", "ipv6", "cidr", "mac", "email", "uri", "hostname",
           "hexcolor", "rgbcolor", "isbn", "creditcard", "ssn", "bsonobjectid", "uuid4", "password", "unheard-of")  # fmt: skip
GOOD_FORMATS = {
    "date": "2020-01-31", "date-time": "2020-01-31T10:00:00Z", "duration": "1h30m", "byte": "aGk=", "uuid":
    "a3bb189e-8bf9-3888-9912-ace4e6543002", "ipv4": "1.2.3.4", "ipv6": "::1", "cidr": "10.0.0.0/8", "mac":
    "01:23:45:67:89:ab", "email": "a@example.com", "uri": "https://example.com/a?b=c", "hostname": "example.com",
    "hexcolor": "#fff", "rgbcolor": "rgb(1,2,3)", "isbn": "0321751043", "creditcard": "4111111111111111", "ssn":
    "111-11-1111", "bsonobjectid": "507f1f77bcf86cd799439011", "uuid4": "8b3a1d6e-1c0a-4b6e-9f0a-1d2e3f405060",
}  # fmt: skip
VALUES: tuple[tuple[str, Any], ...] = (
    ("low", 0), ("low", 10), ("low", "x"), ("low", 1.5), ("low", None), ("between", 1), ("between", 9), ("between", 1.5),
    ("even", 3), ("int32", 3000000000), ("text", "a"), ("text", "abcde"), ("text", "AB"), ("text", 1), ("text", "öäü"),
    ("colour", "blue"), ("many", []), ("many", [1, 2, 3]), ("many", ["x"]), ("many", [None]), ("map", {}),
    ("map", {"a": 1, "b": 2, "c": 3}), ("map", {"a": "x"}), ("map", {"a": None}), ("all", "a"), ("all", "bb"), ("all", "ab"),
    ("any", "y"), ("any", "x"), ("one", "ab"), ("one", "a"), ("not", "no"), ("needs", {}), ("needs", {"name": "y"}),
    ("needs", {"name": "x"}), ("needs", {"n": "x", "name": 1}), ("port", 80), ("port", "5%"), ("port", "x"), ("port", True),
    ("null", None), ("truth", "true"), ("set", ["a", "a"]), ("set", ["a", "b"]), ("keyed", [{"name": "a"}, {"name": "a"}]),
    ("keyed", [{"n": 1}]), ("pairs", [{"name": "a", "n": 1}, {"name": "a", "n": 2}, {"name": "a", "n": 1}]),
    ("whole", {}), ("whole", {"apiVersion": "v1", "kind": "Pod"}), ("whole", {"apiVersion": "v1", "kind": "Pod", "metadata":
    {"name": "x", "odd": 1}, "spec": {}}), ("whole", {"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"a": 1}}}),
    ("whole", {"apiVersion": "a/b/c", "kind": "9"}), ("unknown", 1),
)  # fmt: skip


def keywords() -> Scenario:
    at = Space("crd-keywords")
    url = f"/apis/{GROUP}/v1/namespaces/{at.name}/keys"
    formats = {name: {**STRING, "format": name} for name in FORMATS}
    root = objects(
        metadata=objects(name={**STRING, "maxLength": 12}),
        spec=objects(**KEYWORDS, formats=objects(**formats)),
    )
    made = crd("keys", {}, {"schema": {"openAPIV3Schema": root}})
    steps: list[Step] = [at.made, post("crd", CRDS, made), get("served", url, until=("kind", "KeyList"))]
    for n, (field, value) in enumerate(VALUES):
        steps.append(post(f"{field}_{n}", f"{url}?dryRun=All", _key({field: value})))
    steps += (post(f"bad_{f}", f"{url}?dryRun=All", _key({"formats": {f: "no!"}})) for f in FORMATS)
    steps.append(post("good_formats", f"{url}?dryRun=All", _key({"formats": GOOD_FORMATS})))
    steps.append(post("long_name", f"{url}?dryRun=All", _key({}, "longer-than-twelve")))
    steps.append(post("strict", f"{url}?dryRun=All&fieldValidation=Strict", _key({"unknown": 1})))
    return Scenario(at.name, (*steps, delete("crd_deleted", f"{CRDS}/keys.{GROUP}")))


def _key(spec: Any, name: str = "k") -> dict[str, Any]:
    return obj(f"{GROUP}/v1", "Key", name, spec=spec)


# --- versions, defaults and selectable fields ------------------------------------------------------------------------


def versions() -> Scenario:
    at = Space("crd-versions")
    base = f"/apis/{GROUP}"
    one, two, old = (f"{base}/{v}/namespaces/{at.name}/levels" for v in ("v1", "v2", "v1alpha1"))
    plain = objects(spec=objects(a=STRING, n=INTEGER), status=objects(n=INTEGER, selector=STRING))
    with_defaults = objects(
        spec=objects(
            a=STRING,
            n={**INTEGER, "default": 7},
            parts=items(objects(k=STRING, v={**INTEGER, "default": 1})),
            deep={**objects(x={**STRING, "default": "y"}), "default": {}},
            nothing={**STRING, "nullable": True, "default": "some"},
            map={"type": "object", "additionalProperties": objects(z={**INTEGER, "default": 3})},
        ),
        status=objects(n=INTEGER, selector=STRING),
    )
    scale = {
        "specReplicasPath": ".spec.n",
        "statusReplicasPath": ".status.n",
        "labelSelectorPath": ".status.selector",
    }
    v1 = {
        "name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": plain},
        "subresources": {"status": {}, "scale": scale},
        "selectableFields": [{"jsonPath": ".spec.a"}, {"jsonPath": ".spec.n"}],
    }  # fmt: skip
    alpha = {
        "name": "v1alpha1", "served": True, "storage": False, "deprecated": True, "schema": {"openAPIV3Schema": plain},
        "additionalPrinterColumns": [{"name": "A", "type": "string", "jsonPath": ".spec.a"}],
    }  # fmt: skip
    v2 = {
        "name": "v2", "served": True, "storage": False, "deprecated": True, "deprecationWarning": "v2 was a mistake",
        "schema": {"openAPIV3Schema": with_defaults},
    }  # fmt: skip
    made = crd("levels", {}, versions=[v1, alpha, v2])
    name = f"{CRDS}/levels.{GROUP}"

    def level(version: str = "v1", name: str = "l", **spec: Any) -> dict[str, Any]:
        return obj(f"{GROUP}/{version}", "Level", name, spec=spec, status={"n": 2})

    return Scenario(
        at.name,
        (
            at.made,
            post("crd", CRDS, made),
            get("served", one, until=("kind", "LevelList")),
            get("served_two", two, until=("kind", "LevelList")),
            get("served_old", old, until=("kind", "LevelList")),
            get("discovery", f"{base}/v1"),
            get("discovery_old", f"{base}/v1alpha1"),
            get("group", base),
            post("create", one, level(a="x", n=1)),
            post("create_plain", one, level(name="plain", a="y", parts=[{"k": "a"}])),
            post(
                "create_defaulted",
                two,
                level("v2", "d", a="z", parts=[{"k": "a"}, {"v": 2}], nothing=None, map={"m": {}}),
            ),
            post("create_null", two, level("v2", "null", a="z", n=None, deep=None, parts=[{"v": None}])),
            post("create_old", old, level("v1alpha1", "old", a="x")),
            get("read_two", f"{two}/plain"),
            get("read_old", f"{old}/plain"),
            get("list_two", two),
            get("list_old", old),
            get("list_table", old, accept="application/json;as=Table;v=v1;g=meta.k8s.io"),
            get(
                "watch_two",
                f"{two}?watch=1&timeoutSeconds=1&resourceVersion=0&fieldSelector=metadata.name%3Dplain",
            ),
            get("absent_two", f"{two}/absent"),
            get("select_a", f"{one}?fieldSelector=spec.a%3Dx"),
            get("select_n", f"{one}?fieldSelector=spec.n%3D1"),
            get("select_both", f"{one}?fieldSelector=spec.a%3Dx,spec.n!%3D1"),
            get("select_none", f"{one}?fieldSelector=spec.a%3D"),
            get("select_unknown", f"{one}?fieldSelector=spec.b%3Dx"),
            get("select_old", f"{old}?fieldSelector=spec.a%3Dx"),
            put("status", f"{one}/l/status", level(a="other", n=1) | {"status": {"n": 5, "selector": "a=b"}}),
            get("status_old", f"{old}/l/status"),
            get("scale", f"{one}/l/scale"),
            get("scale_old", f"{old}/l/scale"),
            patch("scale_patch", f"{one}/l/scale", {"spec": {"replicas": 9}}),
            patch("scale_negative", f"{one}/l/scale", {"spec": {"replicas": -1}}),
            apply(
                "apply_two",
                f"{two}/applied",
                level("v2", "applied", a="q"),
            ),
            patch("update_old", f"{old}/l", {"spec": {"a": "w"}}),
            delete("delete_selected", f"{one}?fieldSelector=spec.a%3Dw"),
            get("after", one),
            patch(
                "storage",
                name,
                {"spec": {"versions": [{**v1, "storage": False}, alpha, {**v2, "storage": True}]}},
            ),
            patch("unserve", name, {"spec": {"versions": [v1, {**alpha, "served": False}, v2]}}),
            get("not_served", old, until=("", "404")),
            patch("drop", name, {"spec": {"versions": [alpha, {**v2, "storage": True}]}}),
            delete("crd_deleted", name),
        ),
    )


# --- a schema that changes ----------------------------------------------------------------------------------------------


def changes() -> Scenario:
    """Objects that were stored before their schema got defaults, or became stricter."""
    at = Space("crd-changes")
    url = f"/apis/{GROUP}/v1/namespaces/{at.name}/doors"
    name = f"{CRDS}/doors.{GROUP}"
    part = {**objects(k=STRING, v=STRING), "required": ["k"]}
    before = objects(
        a=STRING, gone=STRING, null={**STRING, "nullable": True}, n=INTEGER,
        list=items(STRING), keyed=items(part, **{LIST: "map", KEYS: ["k"]}),
    )  # fmt: skip
    short = {**STRING, "maxLength": 3}
    strict = {**part, "properties": {"k": STRING, "v": short}}
    after = objects(
        a=short, null={**STRING, "default": "filled"}, n={**INTEGER, "maximum": 5}, fresh={**STRING, "default": "new"},
        list=items(short), keyed=items(strict, **{LIST: "map", KEYS: ["k"]}),
    )  # fmt: skip

    def changed(spec: Any) -> Any:
        version = {
            "name": "v1",
            "served": True,
            "storage": True,
            "schema": {"openAPIV3Schema": objects(spec=spec)},
        }
        return {"spec": {"versions": [version]}}

    def door(name: str = "old", **spec: Any) -> dict[str, Any]:
        return obj(f"{GROUP}/v1", "Door", name, spec=spec)

    long: dict[str, Any] = {
        "a": "too long",
        "list": ["long one"],
        "keyed": [{"k": "x", "v": "long too"}],
        "n": 9,
    }
    table = "application/json;as=Table;v=v1;g=meta.k8s.io"
    return Scenario(
        at.name,
        (
            at.made,
            post("crd", CRDS, crd("doors", before)),
            get("served", url, until=("kind", "DoorList")),
            post("create", url, door(gone="x", null=None, **long)),
            post("create_short", url, door("short", a="abc")),
            patch("change", name, changed(after)),
            get("defaulted", f"{url}/old", until=("spec.fresh", "new")),
            get("list", url),
            get("watch", f"{url}?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Dold"),
            get("table", f"{url}?includeObject=Object", accept=table),
            patch("unchanged", f"{url}/old", {"metadata": {"labels": {"a": "b"}}}),
            patch("other_field", f"{url}/old", {"spec": {"fresh": "other"}}),
            patch("changed_field", f"{url}/old", {"spec": {"a": "even longer"}}),
            patch("changed_list", f"{url}/old", {"spec": {"list": ["long one", "x"]}}),
            patch("more_keyed", f"{url}/old", {"spec": {"keyed": [{"k": "y"}, {"k": "x", "v": "long too"}]}}),
            patch("renamed_key", f"{url}/old", {"spec": {"keyed": [{"k": "z", "v": "long too"}]}}),
            patch("number", f"{url}/old", {"spec": {"n": 8}}),
            patch("number_ends", f"{url}/old", {"spec": {"n": 5}}),
            patch("number_again", f"{url}/old", {"spec": {"n": 9}}),
            post("create_long", url, door("other", **long)),
            patch(
                "test_default",
                f"{url}/short",
                [{"op": "test", "path": "/spec/fresh", "value": "new"}],
                "json",
            ),
            get("read", f"{url}/short"),
            delete("crd_deleted", name),
        ),
    )


SCENARIOS = (invalid(), keywords(), versions(), changes())
