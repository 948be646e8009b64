"""What expressions cost: no rule that is accepted, and no object, can hold up the event loop."""

from __future__ import annotations

from typing import Any

import pytest

from towline.kube import cel, cel_costs, rules
from towline.kube.cel_costs import COST_MAX, SchemaSize, ValueSize
from towline.kube.cel_types import Types
from towline.kube.structure import Schema

TEXT = {"type": "string", "maxLength": 25}  # up to 100 bytes
OPEN = {"type": "string"}
TEXTS = {"type": "array", "maxItems": 10, "items": TEXT}
NODE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "n": {"type": "integer"},
        "text": TEXT,
        "open": OPEN,
        "colour": {"type": "string", "enum": ["red", "green"]},
        "texts": TEXTS,
        "opens": {"type": "array", "items": OPEN},
        "map": {"type": "object", "maxProperties": 10, "additionalProperties": TEXT},
    },
}
SCHEMA = Schema.of(NODE)
TYPES = Types()
KIND = TYPES.of(SCHEMA)
POOL = TYPES.pool()


def largest(expression: str) -> int:
    program = cel.compile(expression, {"self": KIND}, messages=POOL)
    return cel_costs.cost(program.tree, {"self": SchemaSize(SCHEMA)})


@pytest.mark.parametrize(
    ("expression", "low", "high"),
    [
        ("1 + 1", 1, 1),
        ("self.n > 1", 3, 3),
        ("self.text == 'abc'", 3, 4),
        ("self.text.contains('abc')", 12, 12),
        ("self.text.startsWith('abc')", 3, 4),
        ("self.colour == self.colour", 5, 5),
        ("self.open == self.open", 300_000, 320_000),
        ("self.texts.all(t, t == 'abc')", 40, 120),
        ("self.texts.all(a, self.texts.all(b, a != b))", 1_000, 3_000),
        ("self.map.all(k, self.map[k] == 'abc')", 50, 150),
        ("self.opens.all(a, self.opens.all(b, a == b))", 10**15, COST_MAX),
        ("self.texts.map(t, t + t).all(t, t.size() > 0)", 300, 800),
        ("self.opens.isSorted()", 1_000_000, 9_000_000),
        ("lists.range(1000000000).size() > 0", 0, 10**10),
    ],
)
def test_with_the_largest_object(expression: str, low: int, high: int) -> None:
    assert low <= largest(expression) <= high


@pytest.mark.parametrize(
    "expression",
    [
        f"[self.open]{'.map(s, s + s)' * 25}.size() > 0",
        f"[self.open]{'.map(s, s + s)' * 25}.all(s, s.size() > 0)",
        "self.open.replace('', '" + "x" * 9_000 + "').size() > 0 && self.open.replace('', self.open).contains('y')",
        "self.opens.join(self.open) == 'x'",
        "self.opens.all(a, self.opens.all(b, self.opens.all(c, a == c)))",
        "self.opens.all(a, a.matches(self.open))",
        "sets.contains(self.opens, self.opens)",
        "lists.range(self.n).all(i, lists.range(self.n).all(j, i == j))",
        "self.texts.all(a, lists.range(10000).isSorted() && lists.range(1000000000).isSorted())",
    ],
)  # fmt: skip
def test_what_would_take_seconds_or_gigabytes_is_no_rule(expression: str) -> None:
    node = {**NODE, rules.RULES: [{"rule": expression}]}
    schema = Schema.of_kind({"type": "object", "properties": {"spec": node}})
    found = rules.problems(schema, "root")
    path = f"root.properties[spec].{rules.RULES}[0].rule"
    assert (path, "FieldValueForbidden") in {(error.path, error.reason) for error in found}
    assert "exceeds budget" in found[0].message and "maxLength" in found[0].message


def test_a_rule_costs_as_often_as_an_object_may_hold_its_node() -> None:
    def problems(bound: dict[str, Any]) -> list[str]:
        item = {**TEXT, rules.RULES: [{"rule": "self.size() < 9 || self.contains('abcdefghijklm')"}]}
        items = {"type": "array", "items": item, **bound}
        schema = Schema.of_kind({"type": "object", "properties": {"spec": items}})
        return [error.path.rpartition(".")[2] for error in rules.problems(schema, "root")]

    assert problems({"maxItems": 1_000}) == []
    assert problems({}) == ["rule"]
    assert problems({"maxItems": 9_000_000}) == ["rule", "root"]


def test_with_the_object_that_is_there() -> None:
    program = cel.compile("self.opens.all(a, self.opens.all(b, a == b))", {"self": KIND}, messages=POOL)
    few = cel_costs.cost(program.tree, {"self": ValueSize([{"opens": ["a", "b"], "open": "x" * 1_000_000}])})
    many = cel_costs.cost(program.tree, {"self": ValueSize([{"opens": ["a" * 1_000] * 100}])})
    assert few < 200
    assert many > 100 * 100 * 100


def test_an_object_has_a_budget_for_all_its_rules() -> None:
    rule = {"rule": "self.opens.all(a, self.open.contains(a))"}
    node = {
        **NODE,
        "properties": {**NODE["properties"], "opens": {"type": "array", "maxItems": 60, "items": TEXT}},
    }
    schema = Schema.of_kind({"type": "object", "properties": {"spec": {**node, rules.RULES: [rule]}}})
    validate = rules.validator(schema)
    assert validate is not None
    fine = {"spec": {"opens": ["b"] * 60, "open": "ab" * 10_000}}
    dear = {"spec": {"opens": ["b" * 90] * 60, "open": "b" * 1_000_000}}
    assert validate(fine, None) == []
    [error] = validate(dear, None)
    assert (error.path, error.reason) == ("spec", "FieldValueInvalid")
    assert "cost more than one object may" in error.message


def test_many_small_items_share_the_budget_and_are_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "OBJECT_COST_MAX", 50)
    item = {**TEXT, rules.RULES: [{"rule": "self.size() > 0"}]}
    schema = Schema.of_kind(
        {"type": "object", "properties": {"spec": {"type": "array", "maxItems": 99, "items": item}}}
    )
    validate = rules.validator(schema)
    assert validate is not None
    assert validate({"spec": ["a"] * 9}, None) == []
    [error] = validate({"spec": ["a"] * 99}, None)
    assert error.path.startswith("spec[")


def test_a_crd_has_few_enough_rules_to_check_them_while_others_wait() -> None:
    def schema(count: int, text: str) -> Schema:
        node = {**NODE, rules.RULES: [{"rule": text}] * count}
        return Schema.of_kind({"type": "object", "properties": {"spec": node}})

    assert rules.too_many([schema(rules.RULES_MAX, "true")], "spec") == []
    [many] = rules.too_many([schema(rules.RULES_MAX, "true"), schema(1, "true")], "spec")
    [long] = rules.too_many([schema(10, "true || " * 2_000 + "true")], "spec")
    assert {many.reason, long.reason} == {"FieldValueTooMany"}


def test_the_same_rule_of_the_same_schema_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    real = cel.compile

    def counted(text: str, *rest: Any, **more: Any) -> cel.Program:
        compiled.append(text)
        return real(text, *rest, **more)

    monkeypatch.setattr(cel, "compile", counted)

    def checked(rule: str) -> None:
        node = {**NODE, rules.RULES: [{"rule": rule}]}
        schema = Schema.of_kind({"type": "object", "properties": {"spec": node}})
        assert rules.problems(schema, "root") == []
        validate = rules.validator(schema)
        assert validate is not None and validate({"spec": {"n": 4321}}, None) == []

    checked("self.n == 4321")
    checked("self.n == 4321")
    assert compiled == ["self.n == 4321"]


def test_rules_of_one_object_share_its_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    class Counted(cel.Bound):
        def __init__(self, bindings: Any) -> None:
            super().__init__(bindings)
            made.append(bindings)

    monkeypatch.setattr(cel, "Bound", Counted)
    node = {
        **NODE,
        rules.RULES: [{"rule": f"self.n != {n}"} for n in range(20)] + [{"rule": "self.n >= oldSelf.n"}],
    }
    schema = Schema.of_kind({"type": "object", "properties": {"spec": node}})
    validate = rules.validator(schema)
    assert validate is not None
    assert [e.path for e in validate({"spec": {"n": 7}}, {"spec": {"n": 8}})] == ["spec", "spec"]
    assert len(made) == 1
