"""Label and field selectors."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towline.kube.selectors import (
    EVERYTHING,
    NOTHING,
    SelectorError,
    from_object,
    parse_fields,
    parse_query,
)

LABELS = {"app": "web", "tier": "front", "n": "5", "empty": "", "example.com/x": "y"}

QUERIES: list[tuple[str, bool]] = [
    ("", True),
    ("  ", True),
    ("app=web", True),
    ("app==web", True),
    ("app=db", False),
    ("app!=db", True),
    ("absent!=x", True),
    ("app != web", False),
    ("app in (web, db)", True),
    ("app in (web,db),tier=front", True),
    ("app in (db)", False),
    ("app notin (db)", True),
    ("absent notin (db)", True),
    ("app notin (web)", False),
    ("app", True),
    ("absent", False),
    ("!absent", True),
    ("! app", False),
    ("n>4", True),
    ("n>5", False),
    ("n<6", True),
    ("app>4", False),
    ("absent<4", False),
    ("empty=", True),
    ("empty=,app=web", True),
    ("absent=", False),
    ("app in (,web)", True),
    ("empty in ()", True),
    ("example.com/x=y", True),
    ("in=in", False),
]


@pytest.mark.parametrize(("query", "expected"), QUERIES)
def test_queries(query: str, expected: bool) -> None:
    selector = parse_query(query)
    assert selector.matches(LABELS) is expected
    assert parse_query(str(selector)).matches(LABELS) is expected


@pytest.mark.parametrize(
    "query",
    ["=", "a=b=c", "a=b c", "a in b", "a in (b", "a in (b c)", "a>x", "!", ",a", "a,", "a=b,,c", "-a=b", "a=-b", "a b", "x/y/z"],
)  # fmt: skip
def test_unreadable_queries(query: str) -> None:
    with pytest.raises(SelectorError):
        parse_query(query)


def expression(operator: str, *values: str, key: str = "app") -> dict[str, Any]:
    return {
        "matchExpressions": [
            {"key": key, "operator": operator, **({"values": list(values)} if values else {})}
        ]
    }


OBJECTS: list[tuple[dict[str, Any] | None, bool]] = [
    (None, False),
    ({}, True),
    ({"matchLabels": {"app": "web", "tier": "front"}}, True),
    ({"matchLabels": {"app": "web", "tier": "back"}}, False),
    (expression("In", "web", "db"), True),
    (expression("NotIn", "web"), False),
    (expression("NotIn", "x", key="absent"), True),
    (expression("Exists"), True),
    (expression("DoesNotExist"), False),
    ({"matchLabels": {"app": "web"}, **expression("Exists", key="absent")}, False),
]


@pytest.mark.parametrize(("selector", "expected"), OBJECTS)
def test_objects(selector: dict[str, Any] | None, expected: bool) -> None:
    assert from_object(selector).matches(LABELS) is expected


@pytest.mark.parametrize(
    "selector",
    [
        expression("In"),
        expression("Exists", "x"),
        expression("Near", "x"),
        expression("In", "x", key="bad key"),
        {"matchLabels": {"a": "not a value"}},
        {"matchLabels": {"a": 1}},
    ],
)
def test_unreadable_objects(selector: dict[str, Any]) -> None:
    with pytest.raises(SelectorError):
        from_object(selector)


def test_everything_and_nothing() -> None:
    assert EVERYTHING.matches({}) and EVERYTHING.matches(None) and not EVERYTHING
    assert not NOTHING.matches(LABELS) and NOTHING


labels = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xyz"), max_size=3)


@settings(max_examples=100, deadline=None)
@given(labels, labels)
def test_match_labels_is_inclusion(wanted: dict[str, str], present: dict[str, str]) -> None:
    assert from_object({"matchLabels": wanted}).matches(present) is (wanted.items() <= present.items())
    query = ",".join(f"{k}={v}" for k, v in wanted.items())
    assert parse_query(query).matches(present) is (wanted.items() <= present.items())


FIELDS = {"metadata.name": "a,b", "metadata.namespace": "x", "status.phase": "Running"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", True),
        (",", True),
        (r"metadata.name=a\,b", True),
        ("metadata.namespace==x,status.phase!=Failed", True),
        ("metadata.namespace!=x", False),
        ("metadata.namespace= x", False),
        ("status.reason=", True),
        ("status.reason!=", False),
    ],
)
def test_fields(query: str, expected: bool) -> None:
    assert parse_fields(query).matches(lambda path: FIELDS.get(path, "")) is expected


def test_fields_for_direct_lookup() -> None:
    selector = parse_fields("metadata.name=a,status.phase!=b")
    assert selector.equal_to("metadata.name") == "a"
    assert selector.equal_to("status.phase") is None
    assert [r.path for r in selector] == ["metadata.name", "status.phase"]


@pytest.mark.parametrize("query", ["metadata.name", "=x", "a=b=c", r"a=\b", "a=b\\"])
def test_unreadable_fields(query: str) -> None:
    with pytest.raises(SelectorError):
        parse_fields(query)
