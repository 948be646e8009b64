"""What CRDs are asked for, as scenarios for test_api: schemas with validation rules."""

from __future__ import annotations

from typing import Any

from tests.contract.api_steps import CRDS, Space, delete, get, obj, patch, post, put
from tests.contract.differential import Scenario

GROUP = "rules.example.com"
RULES = "x-kubernetes-validations"
STRING, INTEGER = {"type": "string"}, {"type": "integer"}


def ruled() -> Scenario:
    at = Space("crd-rules")
    gauges = f"/apis/{GROUP}/v1/namespaces/{at.name}/gauges"
    g = f"{gauges}/g"
    return Scenario(
        at.name,
        (
            at.made,
            post("crd", CRDS, _crd(_spec())),
            get("served", gauges, until=("kind", "GaugeList")),
            post("create", gauges, gauge()),
            post("broken", gauges, gauge("b", low=9, high=1)),
            post("two_broken", gauges, gauge("b", low=9, high=1, name="x")),
            post("bad_item", gauges, gauge("b", parts=[{"k": "a", "v": 1}, {"k": "b", "v": 99}])),
            post("bad_value", gauges, gauge("b", labels={"a": "x", "b": ""})),
            post("bad_port", gauges, gauge("b", port="x")),
            post("good_port", gauges, gauge("good", port="5%")),
            post("bad_time", gauges, gauge("b", at="2001-01-01T00:00:00Z")),
            post("bad_quantity", gauges, gauge("b", size="2Gi")),
            post("bad_name", gauges, gauge("toolong-name")),
            post("wrong_type", gauges, gauge("b", low="x")),
            put("shrink", g, gauge(high=4)),
            put("fixed", g, gauge(name="other")),
            patch("grow", g, {"spec": {"high": 7}}),
            patch("item_shrinks", g, {"spec": {"parts": [{"k": "a", "v": 0}]}}),
            patch("item_joins", g, {"spec": {"parts": [{"k": "z", "v": 0}, {"k": "a", "v": 1}]}}),
            delete("delete", g),
            *(post(f"bad_rule_{n}", CRDS, _crd(_spec(rule), f"bad{n}")) for n, rule in enumerate(_BAD)),
            delete("crd_deleted", f"{CRDS}/gauges.{GROUP}"),
        ),
    )


_BAD: tuple[dict[str, Any], ...] = (
    {"rule": "self.low +"},
    {"rule": "self.low"},
    {"rule": "self == 1"},
    {"rule": "nothing(self.low)"},
    {"rule": "self.low > 1", "optionalOldSelf": True},
    {"rule": "self.low > 1", "reason": "Other"},
    {"rule": "self.low > 1", "fieldPath": ".nothing"},
    {"rule": "self.low > 1", "messageExpression": "1"},
    {"rule": "self.low > 1", "message": "a\nb"},
    {"rule": ""},
)


def gauge(name_: str = "g", **spec: Any) -> dict[str, Any]:
    given = {"low": 1, "high": 5, "name": "one", "parts": [{"k": "a", "v": 1}], **spec}
    return obj(f"{GROUP}/v1", "Gauge", name_, spec=given)


def _spec(*more: dict[str, Any]) -> dict[str, Any]:
    part = {
        "type": "object",
        "required": ["k"],
        "properties": {"k": {**STRING, "maxLength": 9}, "v": {**INTEGER, RULES: [{"rule": "self < 50"}]}},
        RULES: [{"rule": "self.v >= oldSelf.v"}],
    }
    quantity = {**STRING, "maxLength": 20, RULES: [{"rule": "quantity(self).isLessThan(quantity('1Gi'))"}]}
    port = {"x-kubernetes-int-or-string": True, RULES: [{"rule": "type(self) == int || self.endsWith('%')"}]}
    time = {**STRING, "format": "date-time", RULES: [{"rule": "self > timestamp('2020-01-01T00:00:00Z')"}]}
    properties = {
        "low": INTEGER,
        "high": INTEGER,
        "name": {**STRING, "maxLength": 9, RULES: [{"rule": "self == oldSelf", "message": "name is fixed"}]},
        "labels": {
            "type": "object",
            "maxProperties": 9,
            "additionalProperties": {**STRING, "maxLength": 9, RULES: [{"rule": "self.size() > 0"}]},
        },
        "parts": {
            "type": "array",
            "maxItems": 9,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k"],
            "items": part,
        },
        "port": port,
        "at": time,
        "size": quantity,
    }
    rules = [
        {"rule": "self.low < self.high", "messageExpression": "'%d is not low'.format([self.low])"},
        {"rule": "self.name != 'x'", "reason": "FieldValueForbidden", "fieldPath": ".name"},
        {"rule": "self.high >= oldSelf.high", "message": "high only grows"},
        *more,
    ]
    return {"type": "object", "required": ["low", "high"], "properties": properties, RULES: rules}


def _crd(spec: dict[str, Any], plural: str = "gauges") -> dict[str, Any]:
    root = {
        "type": "object",
        "properties": {"spec": spec},
        RULES: [{"rule": "self.metadata.name.size() < 10"}],
    }
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": root}}
    kind = "Gauge" if plural == "gauges" else plural.capitalize()
    said = {"plural": plural, "kind": kind}
    given = {"group": GROUP, "scope": "Namespaced", "names": said, "versions": [version]}
    return obj("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"{plural}.{GROUP}", spec=given)


SCENARIOS = (ruled(),)
