"""One user's flood: others are answered as if it were not there, and only the flooder is told to come again. Counted, not timed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.api.objects import CONFIGMAPS, configmap
from tests.api.raw import Raw, head, until
from tests.api.served import Served, end, serve
from towline.hub.api.authorization import Rbac
from towline.hub.api.engine import Limits
from towline.hub.api.local import Local

RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/shop"
BOUNDS = Limits(in_flight=10, flow_seats=4, queued=20, flow_queued=6)


@pytest.fixture
async def api() -> AsyncIterator[Served]:
    """Users flood and other may read ConfigMaps of shop; a list of them is more than the kernel's buffers hold."""
    served = Served()
    rules: list[Rbac] = []
    async with asyncio.TaskGroup() as tasks, aiohttp.ClientSession() as served.session:
        await serve(served, tasks, BOUNDS, authorize=lambda user, at: rules[0](user, at))
        rules.append(Rbac(served.cache))
        rules[0].start()
        await Local(served.server.engine).ensure_roles()
        await served.create("/api/v1/namespaces", {"metadata": {"name": "shop"}})
        rule = {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["configmaps"]}
        await served.create(f"{RBAC}/roles", {"metadata": {"name": "reader"}, "rules": [rule]})
        binding = {
            "metadata": {"name": "readers"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
            "subjects": [{"kind": "User", "name": name} for name in ("flood", "other")],
        }
        await served.create(f"{RBAC}/rolebindings", binding)
        for i in range(16):
            await served.create(CONFIGMAPS, configmap(f"c{i}", {"a": "x" * 900_000}))
        served.audited.clear()
        yield served
        rules[0].stop()
        await end(served)


async def test_one_users_flood_of_lists_costs_another_nothing(api: Served) -> None:
    flood = [await Raw.to(api, limit=65536) for _ in range(40)]
    for raw in flood:
        raw.writer.write(head("GET", CONFIGMAPS, 0, "Impersonate-User: flood"))
    refused = len(flood) - BOUNDS.flow_seats - BOUNDS.flow_queued
    await api.until_audited(refused, code=429)
    load = api.server._gate.levels.load
    await until(lambda: load("everybody") == (BOUNDS.flow_seats, BOUNDS.flow_queued))

    for i in range(100):
        answer = await api.get(f"{CONFIGMAPS}/c{i % 16}", Impersonate_User="other")
        assert answer.code == 200, "while the flooder holds all that it may, and more of it waits"
    metrics = (await api.get("/metrics")).raw.decode()
    assert (
        _value(metrics, 'rejected_requests_total{priority_level="everybody",reason="queue-full"}') == refused
    )
    assert _value(metrics, 'current_inqueue_requests{priority_level="everybody"}') == BOUNDS.flow_queued

    heads = [await asyncio.wait_for(_read(raw), 30) for raw in flood]
    codes = [int(head[9:12]) for head in heads]
    assert codes.count(200) == len(flood) - refused and codes.count(429) == refused
    assert all(
        b"\r\nRetry-After: 1\r\n" in told for told, code in zip(heads, codes, strict=True) if code == 429
    )
    assert {line["impersonated_user"] for line in api.audited if line["code"] == 429} == {"flood"}
    assert load("everybody") == (0, 0)


async def test_labels_hold_no_names_that_clients_made_up(api: Served) -> None:
    for path in ("/made-up", "/apis/made.up/v1/things", "/api/v1/made-ups", f"{CONFIGMAPS}/c0/made-up"):
        for user in ("other", ""):
            await api.get(path, **({"Impersonate_User": user} if user else {}))
            await api("MADEUP", path, **({"Impersonate_User": user} if user else {}))
    metrics = (await api.get("/metrics")).raw.decode().lower()
    assert "made" not in metrics


async def _read(raw: Raw) -> bytes:
    """The head of the answer, whose body is read and dropped."""
    answer = await raw.reader.readuntil(b"\r\n\r\n")
    found = re.search(rb"Content-Length: (\d+)", answer)
    assert found is not None
    await raw.reader.readexactly(int(found[1]))
    raw.abort()
    return answer


def _value(metrics: str, name: str) -> float:
    found = re.search(rf"^apiserver_flowcontrol_{re.escape(name)} (\S+)$", metrics, re.M)
    assert found is not None, name
    return float(found[1])
