"""x-kubernetes-validations: which objects the rules of a schema refuse, and which rules are refused themselves."""

from __future__ import annotations

from typing import Any

import pytest

from towline.kube import rules
from towline.kube.structure import Schema

STRING, INTEGER = {"type": "string"}, {"type": "integer"}


def spec_of(rule: str | dict[str, Any], node: dict[str, Any] | None = None) -> Schema:
    rule = {"rule": rule} if isinstance(rule, str) else rule
    properties = {"a": INTEGER, "b": INTEGER, "a.b": STRING, "namespace": STRING, "free": {"x-kubernetes-preserve-unknown-fields": True},
                  "at": {"type": "string", "format": "date-time"}, "for": {"type": "string", "format": "duration"},
                  "ratio": {"type": "number"}, "port": {"x-kubernetes-int-or-string": True},
                  "tags": {"type": "array", "items": STRING}, "labels": {"type": "object", "additionalProperties": STRING}}  # fmt: skip
    spec = {"type": "object", "properties": properties, **(node or {}), rules.RULES: [rule]}
    return Schema.of_kind({"type": "object", "properties": {"spec": spec}})


def refused(schema: Schema, new: Any, old: Any = None) -> list[tuple[str, str, str]]:
    validate = rules.validator(schema)
    assert validate is not None
    found = validate({"metadata": {"name": "n"}, "spec": new}, None if old is None else {"spec": old})
    return [(error.path, error.reason, error.message) for error in found]


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        ("self.a < self.b", {"a": 1, "b": 2}, {"a": 2, "b": 1}),
        ("has(self.a)", {"a": 1}, {"b": 1}),
        ("!has(self.a) || self.a > 0", {}, {"a": 0}),
        ("self.a__dot__b == 'x'", {"a.b": "x"}, {"a.b": "y"}),
        ("self.__namespace__ == 'x'", {"namespace": "x"}, {"namespace": "y"}),
        ("self.at > timestamp('2020-01-01T00:00:00Z')", {"at": "2021-01-01T00:00:00Z"}, {"at": "2019-01-01T00:00:00Z"}),
        ("self.__for__ > duration('1h')", {"for": "1h30m"}, {"for": "3s"}),
        ("self.ratio / 2.0 == 0.5", {"ratio": 1}, {"ratio": 2}),
        ("type(self.port) == int || self.port.endsWith('%')", {"port": "5%"}, {"port": "5"}),
        ("self.tags.isSorted()", {"tags": ["a", "b"]}, {"tags": ["b", "a"]}),
        ("self.tags.all(i, t, i > 0 || t == 'a')", {"tags": ["a", "b"]}, {"tags": ["b"]}),
        ("sets.contains(self.tags, ['a'])", {"tags": ["a", "b"]}, {"tags": ["b"]}),
        ("self.labels.all(k, k.startsWith('x'))", {"labels": {"x-a": ""}}, {"labels": {"a": ""}}),
        ("quantity(self.labels.q).isLessThan(quantity('1Gi'))", {"labels": {"q": "5Mi"}}, {"labels": {"q": "2Gi"}}),
        ("cidr('10.0.0.0/8').containsIP(self.labels.ip)", {"labels": {"ip": "10.1.1.1"}}, {"labels": {"ip": "1.1.1.1"}}),
        ("self.?a.orValue(1) == 1", {}, {"a": 2}),
    ],
)  # fmt: skip
def test_a_rule_of_an_object(rule: str, good: Any, bad: Any) -> None:
    schema = spec_of(rule)
    assert rules.problems(schema, "") == []
    assert refused(schema, good) == []
    if bad is not None:
        assert refused(schema, bad) == [("spec", "FieldValueInvalid", f"Invalid value: failed rule: {rule}")]


def test_what_a_rule_says() -> None:
    rule = {"rule": "self.a == 1", "messageExpression": "'a is %d'.format([self.a])", "message": "no", "reason": "FieldValueForbidden", "fieldPath": ".a"}  # fmt: skip
    assert refused(spec_of(rule), {"a": 2}) == [("spec.a", "FieldValueForbidden", "Forbidden: a is 2")]


def test_a_transition_rule_is_for_updates() -> None:
    schema = spec_of("self.a >= oldSelf.a")
    assert rules.problems(schema, "") == []
    assert refused(schema, {"a": 1}) == []
    assert refused(schema, {"a": 2}, {"a": 1}) == []
    assert len(refused(schema, {"a": 1}, {"a": 2})) == 1


def test_an_optional_old_value() -> None:
    schema = spec_of({"rule": "oldSelf.hasValue() ? self.a >= oldSelf.value().a : self.a == 0", "optionalOldSelf": True})  # fmt: skip
    assert rules.problems(schema, "") == []
    assert refused(schema, {"a": 0}) == []
    assert len(refused(schema, {"a": 1})) == 1
    assert refused(schema, {"a": 2}, {"a": 1}) == []
    assert len(refused(schema, {"a": 1}, {"a": 2})) == 1


def test_an_unchanged_part_may_stay_wrong() -> None:
    schema = spec_of("self.a == 1")
    assert refused(schema, {"a": 2}, {"a": 2}) == []
    assert len(refused(schema, {"a": 2, "b": 1}, {"a": 2})) == 1


def test_items_are_compared_by_their_key() -> None:
    item = {"type": "object", "required": ["k"], "properties": {"k": STRING, "v": INTEGER}, rules.RULES: [{"rule": "self.v >= oldSelf.v"}]}  # fmt: skip
    items = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": item}  # fmt: skip
    schema = Schema.of_kind({"type": "object", "properties": {"spec": items}})
    assert rules.problems(schema, "") == []
    old = [{"k": "a", "v": 1}, {"k": "b", "v": 5}]
    assert refused(schema, [{"k": "b", "v": 5}, {"k": "c", "v": 0}], old) == []
    assert [path for path, _, _ in refused(schema, [{"k": "b", "v": 4}], old)] == ["spec[0]"]


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"rule": ""}, "rule"),
        ({"rule": "self.a +"}, "rule"),
        ({"rule": "1"}, "rule"),
        ({"rule": "self == 1"}, "rule"),
        ({"rule": "self.nothing == 1"}, "rule"),
        ({"rule": "self.free == 1"}, "rule"),
        ({"rule": "self.a"}, "rule"),
        ({"rule": "self.x.find('a') == ''"}, "rule"),
        ({"rule": "self.a == 1", "optionalOldSelf": True}, "optionalOldSelf"),
        ({"rule": "self.a == 1", "reason": "Other"}, "reason"),
        ({"rule": "self.a == 1", "fieldPath": ".nothing"}, "fieldPath"),
        ({"rule": "self.a == 1", "messageExpression": "1"}, "messageExpression"),
        ({"rule": "self.a == 1", "message": "a\nb"}, "message"),
        ({"rule": "self.a\n == 1"}, "message"),
    ],
)
def test_a_wrong_rule_is_refused(rule: dict[str, Any], field: str) -> None:
    found = rules.problems(spec_of(rule), "root")
    assert [e.path for e in found] == [f"root.properties[spec].{rules.RULES}[0].{field}"]


def test_old_values_of_items_that_have_no_key_cannot_be_named() -> None:
    item = {"type": "string", "maxLength": 9, rules.RULES: [{"rule": "self == oldSelf"}]}
    items = {"type": "array", "maxItems": 9, "items": item}
    schema = Schema.of_kind({"type": "object", "properties": {"spec": items}})
    assert [e.path for e in rules.problems(schema, "root")] == [
        f"root.properties[spec].items.{rules.RULES}[0].rule"
    ]


def test_loops_do_not_begin_that_would_take_too_long() -> None:
    schema = spec_of("self.tags.all(x, self.tags.all(y, x == y))")
    (found,) = refused(schema, {"tags": ["a"] * 1000})
    assert "cost more than one object may" in found[2]


def test_a_schema_without_rules_has_no_validator() -> None:
    assert rules.validator(Schema.of_kind({"type": "object"})) is None
