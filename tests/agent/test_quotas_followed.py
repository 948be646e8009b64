"""ResourceQuotas as the census follows them; estimates do without them where they may not be read."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from tests.agent.test_capacity import node, pod
from tests.agent.test_census import NODES, PODS_PATH, QUOTAS, Script, counting, event, page
from towline.agent.capacity import Capacity
from towline.agent.kubernetes import Refused

LISTS: dict[str, list[Any]] = {NODES: [page(5, node())], PODS_PATH: [page(7, pod())]}


def quota(name: str = "q", cpu: str = "4", namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    hard = {"cpu": cpu}
    return {
        "metadata": {"name": name, "namespace": namespace, "annotations": {"much": "more"}},
        "spec": {"hard": hard, **spec},
        "status": {"hard": hard, "used": {"cpu": "1"}},
    }


def left(capacity: Capacity) -> dict[tuple[str, str], Any]:
    return {
        (namespace, name): dict(quota.left)
        for namespace, named in capacity.quotas.items()
        for name, quota in named.items()
    }


async def test_quotas_are_listed_and_followed() -> None:
    watch = [
        event("ADDED", quota("later", "2"), 4),
        event("MODIFIED", quota("q", "6"), 5),
        event("DELETED", quota("gone"), 6),
    ]
    script = Script(
        {**LISTS, QUOTAS: [page(3, quota(), quota("gone"), quota(namespace="other"))]}, {QUOTAS: [watch]}
    )
    async with counting(script) as counted:
        assert counted.census.estimates
        assert left(counted.capacity) == {
            ("shop", "q"): {"cpu": 5000}, ("shop", "later"): {"cpu": 1000}, ("other", "q"): {"cpu": 3000},
        }  # fmt: skip


async def test_a_new_list_forgets_what_it_lacks() -> None:
    capacity = Capacity()
    capacity.put_quota(quota())
    capacity.put_quota(quota(namespace="other"))
    capacity.keep_quotas({"other/q"})
    assert left(capacity) == {("other", "q"): {"cpu": 3000}}
    capacity.remove_quota("other/q")
    assert capacity.quotas == {}


async def test_scopes_are_read() -> None:
    row = {"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}
    script = Script({**LISTS, QUOTAS: [page(3, quota(scopeSelector={"matchExpressions": [row]}))]})
    async with counting(script) as counted:
        [scope] = counted.capacity.quotas["shop"]["q"].scopes
        assert (scope.name, scope.operator, scope.values) == ("PriorityClass", "In", frozenset({"high"}))


async def test_an_agent_that_may_not_read_quotas_estimates_without_them(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("towline.agent.census._BACKOFF_SECONDS", (0.001, 0.001))
    script = Script({**LISTS, QUOTAS: [Refused(403, "Forbidden", "no list")]})
    with caplog.at_level(logging.WARNING, "towline.agent.census"):
        async with counting(script) as counted:
            while not counted.census.estimates:
                await asyncio.sleep(0.001)
            assert (await counted.heard(1)).nodes == 1, "the sums need no quotas"
    [record] = caplog.records
    assert "resourcequotas cannot be counted: no list; estimates go without them" in record.message


@pytest.mark.parametrize(
    ("change", "opens"),
    [
        pytest.param(lambda c: c.put_quota(quota(cpu="5")), True, id="a quota is raised"),
        pytest.param(lambda c: c.put_quota(quota(cpu="3")), False, id="a quota is lowered"),
        pytest.param(lambda c: c.put_quota(quota(scopes=["BestEffort"])), True, id="a quota is about other pods"),
        pytest.param(lambda c: c.remove_quota("shop/q"), True, id="a quota goes"),
        pytest.param(lambda c: c.put_quota(quota("new")), False, id="a quota comes"),
        pytest.param(lambda c: c.put_node(node(labels={"disk": "ssd"})), True, id="a node's labels"),
        pytest.param(lambda c: c.put_node(node(unschedulable=True)), True, id="a node's cordon"),
        pytest.param(lambda c: c.put_node(node(taints=[{"key": "a", "effect": "NoSchedule"}])), True, id="a node's taints"),
        pytest.param(lambda c: c.put_node(node(allocatable={"cpu": "8"})), False, id="what the sums show"),
        pytest.param(lambda c: c.put_node(node("n2")), False, id="another node"),
    ],
)  # fmt: skip
def test_what_may_make_room_unseen(change: Any, opens: bool) -> None:
    capacity = Capacity()
    capacity.put_node(node())
    capacity.put_quota(quota())
    before = capacity.openings, capacity.changes
    change(capacity)
    assert (capacity.openings != before[0]) is opens
    assert capacity.changes != before[1] or not opens
