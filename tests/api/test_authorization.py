"""RBAC through the API: several users, what they may, and what they are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.api.served import ADMIN, Served, end, serve
from towline.hub.api.authorization import Rbac
from towline.hub.api.local import Local
from towline.hub.api.user import User

RBAC = "/apis/rbac.authorization.k8s.io/v1"
ANN = User("ann", ("system:authenticated",))


@pytest.fixture
async def api() -> AsyncIterator[Served]:
    served = Served()
    rules: list[Rbac] = []
    async with asyncio.TaskGroup() as tasks, aiohttp.ClientSession() as served.session:
        await serve(served, tasks, authorize=lambda user, at: rules[0](user, at))
        rules.append(Rbac(served.cache))
        rules[0].start()
        await Local(served.server.engine).ensure_roles()
        await served.create("/api/v1/namespaces", {"metadata": {"name": "shop"}})
        yield served
        rules[0].stop()
        await end(served)


async def grant(api: Served, role: str, rule: dict[str, Any], subject: Any = None) -> None:
    await api.create(f"{RBAC}/namespaces/shop/roles", {"metadata": {"name": role}, "rules": [rule]})
    await bind(api, role, subject or {"kind": "User", "name": "ann"})


async def bind(api: Served, role: str, subject: dict[str, str]) -> None:
    binding = {
        "metadata": {"name": role},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
        "subjects": [subject],
    }
    await api.create(f"{RBAC}/namespaces/shop/rolebindings", binding)


PODS = {"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]}


async def test_a_role_allows_until_its_binding_goes(api: Served) -> None:
    await grant(api, "reader", PODS)
    api.user = ANN
    assert (await api.get("/api/v1/namespaces/shop/pods")).code == 200
    refused = await api.get("/api/v1/pods")
    assert (refused.code, refused.message) == (
        403,
        'pods is forbidden: User "ann" cannot list resource "pods" in API group "" at the cluster scope',
    )
    api.user = ADMIN
    await api("DELETE", f"{RBAC}/namespaces/shop/rolebindings/reader")
    api.user = ANN
    assert (await api.get("/api/v1/namespaces/shop/pods")).code == 403


async def test_a_missing_role_is_told(api: Served) -> None:
    await bind(api, "gone", {"kind": "User", "name": "ann"})
    api.user = ANN
    refused = await api.get("/api/v1/namespaces/shop/pods")
    assert refused.message.endswith(': RBAC: role.rbac.authorization.k8s.io "gone" not found')


async def test_service_accounts_and_reasons(api: Served) -> None:
    await grant(api, "reader", PODS, {"kind": "ServiceAccount", "name": "robot", "namespace": "shop"})
    api.user = User("system:serviceaccount:shop:robot", ("system:authenticated",))
    asked = {"spec": {"resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "shop"}}}
    answer = await api.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", asked)
    assert answer["status"] == {
        "allowed": True,
        "reason": 'RBAC: allowed by RoleBinding "reader/shop" of Role "reader" to ServiceAccount "robot/shop"',
    }


async def test_agents_may_nothing_and_nobody_gives_away_more_than_they_have(api: Served) -> None:
    await grant(api, "reader", PODS)
    everything = {"verbs": ["*"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"]}
    await grant(api, "writer", everything)
    api.user = ANN
    role = {"metadata": {"name": "mine"}, "rules": [PODS]}
    assert (await api("POST", f"{RBAC}/namespaces/shop/roles", role)).code == 403
    assert (await api.get("/apis")).code == 200
    api.user = User("system:towline:agent:m1", ("system:authenticated",))
    assert (await api.get("/apis")).code == 403
