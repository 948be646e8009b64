"""Rules: what they allow, and what covers what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.kube import rbac
from towline.kube.objects import Object
from towline.kube.rbac import Rule


@pytest.mark.parametrize(
    ("rule", "asked", "allowed"),
    [
        (Rule(("get",), ("",), ("pods",)), ("get", "", "pods"), True),
        (Rule(("get",), ("",), ("pods",)), ("list", "", "pods"), False),
        (Rule(("get",), ("",), ("pods",)), ("get", "apps", "pods"), False),
        (Rule(("get",), ("",), ("pods",)), ("get", "", "pods", "log"), False),
        (Rule(("get",), ("",), ("pods/log",)), ("get", "", "pods", "log"), True),
        (Rule(("get",), ("",), ("pods/log",)), ("get", "", "pods"), False),
        (Rule(("get",), ("*",), ("*/scale",)), ("get", "apps", "deployments", "scale"), True),
        (Rule(("get",), ("*",), ("*/scale",)), ("get", "apps", "deployments"), False),
        (Rule(("get",), ("",), ("pods/*",)), ("get", "", "pods", "log"), False),
        (Rule(("*",), ("*",), ("*",)), ("delete", "x", "y", "z", "n"), True),
        (Rule(("get",), ("",), ("pods",), ("a",)), ("get", "", "pods", "", "a"), True),
        (Rule(("get",), ("",), ("pods",), ("a",)), ("get", "", "pods", "", "b"), False),
        (Rule(("list",), ("",), ("pods",), ("a",)), ("list", "", "pods"), False),
        (Rule(("*",), urls=("*",)), ("get", "", "pods"), False),
    ],
)
def test_resources(rule: Rule, asked: tuple[str, ...], allowed: bool) -> None:
    assert rule.allows(*asked) is allowed


@pytest.mark.parametrize(
    ("url", "path", "allowed"),
    [
        ("/api", "/api", True),
        ("/api", "/api/", False),
        ("/api/*", "/api/v1", True),
        ("/api/*", "/api", False),
        ("/health*", "/healthz", True),
        ("*", "/anything", True),
    ],
)
def test_urls(url: str, path: str, allowed: bool) -> None:
    assert Rule(("get",), urls=(url,)).allows_url("get", path) is allowed
    assert not Rule(("get",), urls=(url,)).allows_url("post", path)


def test_subjects() -> None:
    account = {"kind": "ServiceAccount", "name": "robot"}
    assert rbac.subject_name(account, "shop") == ("User", "system:serviceaccount:shop:robot")
    assert rbac.subject_name(account, "") is None
    assert rbac.subject_name({"kind": "Group", "name": "g"}, "") == ("Group", "g")


def test_aggregation_takes_each_selected_rule_once() -> None:
    pods = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}
    role = {
        "metadata": {"name": "all", "labels": {"to": "all"}},
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to": "all"}}]},
        "rules": [{"verbs": ["delete"], "apiGroups": [""], "resources": ["pods"]}],
    }
    others: list[Object] = [
        role,
        {"metadata": {"name": "b", "labels": {"to": "all"}}, "rules": [pods]},
        {"metadata": {"name": "a", "labels": {"to": "all"}}, "rules": [pods]},
        {"metadata": {"name": "c"}, "rules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]},
    ]
    assert rbac.aggregated(role, others) == [pods]


def test_what_is_missing_is_told_apart() -> None:
    owned = [Rule(("get", "list"), ("",), ("pods",)), Rule(("get",), ("",), ("secrets",), ("a",))]
    assert rbac.rules_cover(owned, [Rule(("list",), ("",), ("pods",), ("x",))])
    wanted = [Rule(("get", "delete"), ("",), ("pods",)), Rule(("get",), ("",), ("secrets",))]
    assert list(rbac.uncovered(owned, wanted)) == [
        Rule(("delete",), ("",), ("pods",)),
        Rule(("get",), ("",), ("secrets",)),
    ]


def test_a_huge_rule_is_not_taken_apart() -> None:
    many = tuple(map(str, range(1000)))
    assert list(rbac.uncovered([Rule(("get",), ("",), ("pods",))], [Rule(many, many, many)]))


def test_many_large_rules_are_not_taken_apart_either() -> None:
    some = tuple(map(str, range(20)))
    missing = list(rbac.uncovered([], [Rule(some, some, some)] * 50))
    assert len(missing) < rbac.COVERED_MAX + 50


def test_missing_permissions_are_told_by_resource() -> None:
    singles = [Rule((verb,), ("",), ("pods",)) for verb in ("get", "list")]
    singles += [Rule(("get",), ("",), ("pods",), ("a",)), Rule(("get",), urls=("/a",))]
    assert [str(rule) for rule in rbac.merged(singles)] == [
        '{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}',
        '{APIGroups:[""], Resources:["pods"], ResourceNames:["a"], Verbs:["get"]}',
        '{NonResourceURLs:["/a"], Verbs:["get"]}',
    ]


def _some(*values: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True).map(tuple)


RESOURCE_RULES = st.builds(
    Rule,
    _some("get", "list", "*"),
    _some("", "apps", "*"),
    _some("pods", "pods/log", "*/log", "*"),
    st.just(()) | _some("a", "b"),
)
URL_RULES = st.builds(lambda verbs, urls: Rule(verbs, urls=urls), _some("get", "*"), _some("/a", "/a/*", "*"))
RULES = st.lists(RESOURCE_RULES | URL_RULES, max_size=3)


@given(RULES)
def test_rules_cover_themselves(rules: list[Rule]) -> None:
    assert rbac.rules_cover(rules, rules)


@given(RULES, RULES, RULES)
def test_covering_is_transitive(a: list[Rule], b: list[Rule], c: list[Rule]) -> None:
    if rbac.rules_cover(a, b) and rbac.rules_cover(b, c):
        assert rbac.rules_cover(a, c)


@given(RULES, RULES)
def test_who_covers_rules_may_what_they_allow(owned: list[Rule], wanted: list[Rule]) -> None:
    if rbac.rules_cover(owned, wanted):
        for verb, group, resource, sub, name in [
            ("get", "", "pods", "", ""), ("get", "apps", "pods", "log", "a"), ("list", "", "pods", "log", ""),
            ("delete", "x", "y", "", "b"),
        ]:  # fmt: skip
            if any(rule.allows(verb, group, resource, sub, name) for rule in wanted):
                assert any(rule.allows(verb, group, resource, sub, name) for rule in owned)
        for path in ("/a", "/a/b", "/c"):
            if any(rule.allows_url("get", path) for rule in wanted):
                assert any(rule.allows_url("get", path) for rule in owned)
