"""Tolerations: which taint they tolerate (Kubernetes' core/v1 rules, with the numeric operators)."""

from __future__ import annotations

from typing import Any

import pytest

from towline.kube.taints import Taint, TaintChanges, TaintError, changed, parse_changes, repelling, tolerates

TAINT = Taint("gpu", "5", "NoSchedule")


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        ({"key": "gpu", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}, True),
        ({"key": "other", "operator": "Exists"}, False),
        ({"key": "gpu", "operator": "Equal", "value": "5"}, True),
        ({"key": "gpu", "value": "5"}, True),
        ({"key": "gpu", "value": "6"}, False),
        ({"key": "gpu"}, False),
        ({"value": "5"}, False),
        ({"key": "gpu", "operator": "Gt", "value": "4"}, True),
        ({"key": "gpu", "operator": "Gt", "value": "5"}, False),
        ({"key": "gpu", "operator": "Lt", "value": "6"}, True),
        ({"key": "gpu", "operator": "Lt", "value": "5"}, False),
        ({"key": "gpu", "operator": "Lt", "value": "six"}, False),
        ({"key": "gpu", "operator": "Lt", "value": "06"}, False),
        ({"key": "gpu", "operator": "Lt", "value": "9223372036854775808"}, False),
        ({"key": "gpu", "operator": "Odd", "value": "5"}, False),
    ],
    ids=str,
)
def test_toleration(toleration: dict[str, Any], tolerated: bool) -> None:
    assert tolerates([toleration], TAINT) is tolerated
    assert tolerates([{"key": "unrelated", "operator": "Exists"}, toleration], TAINT) is tolerated


def test_nothing_tolerates_nothing() -> None:
    assert not tolerates(None, TAINT)


def test_a_taint_that_is_only_a_wish_keeps_nothing_away() -> None:
    taints = [{"key": "a", "effect": "PreferNoSchedule"}, {"key": "b", "value": "x", "effect": "NoExecute"}]
    assert repelling(taints) == (Taint("b", "x", "NoExecute"),)
    assert [str(t) for t in (*repelling(taints), Taint("c", "", "NoSchedule"))] == [
        "b=x:NoExecute",
        "c:NoSchedule",
    ]


# --- what a command line asks for ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "add", "remove"),
    [
        (["k=v:NoSchedule"], [Taint("k", "v", "NoSchedule")], []),
        (["k:NoExecute"], [Taint("k", "", "NoExecute")], []),
        (["k=:NoExecute"], [Taint("k", "", "NoExecute")], []),
        (["a.io/k:PreferNoSchedule-"], [], [("a.io/k", "PreferNoSchedule")]),
        (["k=v:NoSchedule-"], [], [("k", "NoSchedule")]),
        (["k-"], [], [("k", "")]),
        (["k:NoSchedule-", "k:NoExecute"], [Taint("k", "", "NoExecute")], [("k", "NoSchedule")]),
        (["k-", "k:NoSchedule"], [Taint("k", "", "NoSchedule")], [("k", "")]),
    ],
)
def test_words_for_taints(words: list[str], add: list[Taint], remove: list[tuple[str, str]]) -> None:
    assert parse_changes(words) == TaintChanges(tuple(add), tuple(remove))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "at least one taint update is required"),
        (["k"], "invalid taint spec: k"),
        (["k=v"], "invalid taint spec: k=v"),
        (["k=v-"], "invalid taint spec: k=v-"),
        (["=v:NoSchedule"], "invalid taint spec: =v:NoSchedule, name part must be non-empty"),
        (["a b:NoSchedule"], "invalid taint spec: a b:NoSchedule, name part must consist of"),
        (["k=a=b:NoSchedule"], "invalid taint spec: k=a=b:NoSchedule, a valid label must be"),
        (["k:Evict"], "invalid taint spec: k:Evict, invalid taint effect: Evict, unsupported taint effect"),
        (["k:NoSchedule:x"], "invalid taint effect: NoSchedule:x"),
        (["k:"], "invalid taint effect: "),
        (["k=a:NoSchedule", "k=b:NoSchedule"], "duplicated taints with the same key and effect: k=b:NoSchedule"),
        (["k:NoSchedule", "k:NoSchedule-"],
         "can not both modify and remove the following taint(s) in the same command: k:NoSchedule"),
    ],
)  # fmt: skip
def test_words_that_are_no_taints(words: list[str], message: str) -> None:
    with pytest.raises(TaintError) as refused:
        parse_changes(words)
    assert message in str(refused.value)


OLD = [
    {"key": "k", "value": "v", "effect": "NoSchedule"},
    {"key": "k", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"},
]


@pytest.mark.parametrize(
    ("words", "overwrite", "expected", "word"),
    [
        (["l:NoSchedule"], False, [*OLD, {"key": "l", "effect": "NoSchedule"}], "tainted"),
        (["k:PreferNoSchedule"], False, [*OLD, {"key": "k", "effect": "PreferNoSchedule"}], "tainted"),
        (["k=w:NoSchedule"], True, [{**OLD[0], "value": "w"}, OLD[1]], "modified"),
        (["k:NoSchedule-"], False, [OLD[1]], "untainted"),
        (["k-"], False, [], "untainted"),
        (["k:NoExecute-", "l:NoExecute"], False, [OLD[0], {"key": "l", "effect": "NoExecute"}], "modified"),
    ],
)
def test_changes_of_taints(words: list[str], overwrite: bool, expected: Any, word: str) -> None:
    assert changed("cluster m1", OLD, parse_changes(words), overwrite=overwrite) == (expected, word)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["k=w:NoSchedule"],
            "cluster m1 already has k taint(s) with same effect(s) and --overwrite is false",
        ),
        (["l-"], 'taint "l" not found'),
        (["k:PreferNoSchedule-"], 'taint "k:PreferNoSchedule" not found'),
    ],
)
def test_changes_that_cannot_be_made(words: list[str], message: str) -> None:
    with pytest.raises(TaintError) as refused:
        changed("cluster m1", OLD, parse_changes(words))
    assert str(refused.value) == message
