"""Tolerations: which taint they tolerate (Kubernetes' core/v1 rules, with the numeric operators)."""

from __future__ import annotations

from typing import Any

import pytest

from towline.kube.taints import Taint, repelling, tolerates

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
