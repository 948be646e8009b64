"""RBAC through the API: several users, what they may, and what they are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.api.served import ADMIN, Served, end, serve
from towline.hub.api.local import Local
from towline.hub.api.paths import Attributes
from towline.hub.api.user import User

RBAC = "/apis/rbac.authorization.k8s.io/v1"
ANN = User("ann", ("system:authenticated",))


@pytest.fixture
async def api() -> AsyncIterator[Served]:
    served = Served()
    async with asyncio.TaskGroup() as tasks, aiohttp.ClientSession() as served.session:
        await serve(served, tasks, rbac=True)
        await served.create("/api/v1/namespaces", {"metadata": {"name": "shop"}})
        yield served
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


async def test_agents_may_nothing(api: Served) -> None:
    api.user = User("system:towline:agent:m1", ("system:authenticated",))
    assert (await api.get("/apis")).code == 403


async def test_hubs_may_ask_each_other_and_nothing_else(api: Served) -> None:
    """Whatever a binding says: the certificate of a hub lies on its disk, and is good at the others."""
    hub = User("system:towline:hub:h1", ("system:towline:hubs", "system:authenticated"))
    await grant(api, "reader", PODS, {"kind": "Group", "name": "system:towline:hubs"})
    api.user = hub
    for path in (
        "/apis",
        "/version",
        "/api/v1/namespaces/shop/pods",
        "/api/v1/secrets",
        "/apis/cluster.karmada.io/v1alpha1/clusters",
    ):
        assert (await api.get(path)).code == 403
    mine = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": "shop"},
    }
    assert (await api("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", mine)).code == 403
    assert api.rbac is not None
    allowed = {
        (verb, resource)
        for verb in ("get", "list", "create", "update", "delete")
        for resource in ("questions", "jointokens", "revocations", "authorities", "clusters")
        if api.rbac(hub, Attributes(verb, "", True, "towline.io", "v1", resource)).allowed
    }
    assert allowed == {("create", "questions")}


ROLES = f"{RBAC}/namespaces/shop/roles"
BINDINGS = f"{RBAC}/namespaces/shop/rolebindings"
NODES = {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["nodes", "pods"]}


def binding(role: str, kind: str = "ClusterRole", name: str = "b", **fields: Any) -> dict[str, Any]:
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role}
    return {"metadata": {"name": name}, "roleRef": ref, **fields}


async def writer(api: Served, *rules: dict[str, Any], verbs: tuple[str, ...] = ()) -> None:
    """ann may write all roles and bindings of the namespace, list pods, and what `rules` say."""
    own = {"verbs": ["create", "get", "update", "patch", *verbs], "apiGroups": ["rbac.authorization.k8s.io"],
           "resources": ["*"]}  # fmt: skip
    await api.create(ROLES, {"metadata": {"name": "own"}, "rules": [own, PODS, *rules]})
    await bind(api, "own", {"kind": "User", "name": "ann", "apiGroup": "rbac.authorization.k8s.io"})
    api.user = ANN


async def test_a_role_gives_no_more_than_its_writer_has(api: Served) -> None:
    await writer(api)
    await api.create(ROLES, {"metadata": {"name": "mine"}, "rules": [PODS]})
    refused = await api("POST", ROLES, {"metadata": {"name": "more"}, "rules": [PODS, NODES]})
    assert (refused.code, refused.message) == (
        403,
        'roles.rbac.authorization.k8s.io "more" is forbidden: user "ann" (groups=["system:authenticated"]) is attempting '
        "to grant RBAC permissions not currently held:\n"
        '{APIGroups:[""], Resources:["nodes"], Verbs:["get" "list"]}\n{APIGroups:[""], Resources:["pods"], Verbs:["get"]}',
    )
    assert (await api.patch(f"{ROLES}/mine", {"rules": [NODES]})).code == 403
    assert (await api.apply(f"{ROLES}/applied", {**ROLE, "rules": [NODES]})).code == 403
    assert (
        await api("POST", f"{ROLES}?dryRun=All", {"metadata": {"name": "m"}, "rules": [NODES]})
    ).code == 403


ROLE = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "applied"}}


async def test_a_role_of_others_changes_in_nothing_but_its_owners(api: Served) -> None:
    """Labels would make it part of an aggregating role."""
    await api.create(ROLES, {"metadata": {"name": "theirs"}, "rules": [NODES]})
    await writer(api)
    theirs = f"{ROLES}/theirs"
    assert (await api.patch(theirs, {})).code == 200
    assert (await api.patch(theirs, {"metadata": {"finalizers": ["example.com/held"]}})).code == 200
    assert (await api.patch(theirs, {"metadata": {"labels": {"a": "b"}}})).code == 403


async def test_escalate_allows_any_role(api: Served) -> None:
    await writer(api, verbs=("escalate",))
    await api.create(ROLES, {"metadata": {"name": "more"}, "rules": [NODES]})


async def test_a_binding_gives_no_more_than_its_writer_has(api: Served) -> None:
    await api.create(ROLES, {"metadata": {"name": "pods"}, "rules": [PODS]})
    await writer(api)
    await api.create(BINDINGS, binding("pods", "Role", "fits"))
    refused = await api("POST", BINDINGS, binding("cluster-admin"))
    assert refused.code == 403
    assert refused.message.endswith(
        '{APIGroups:["*"], Resources:["*"], Verbs:["*"]}\n{NonResourceURLs:["*"], Verbs:["*"]}'
    )
    assert (await api("POST", BINDINGS, binding("nowhere"))).code == 404
    api.user = ADMIN
    await api.create(BINDINGS, binding("cluster-admin", name="root"))
    api.user = ANN
    me = {"subjects": [{"kind": "User", "name": "ann", "apiGroup": "rbac.authorization.k8s.io"}]}
    assert (await api.patch(f"{BINDINGS}/root", me)).code == 403
    assert (await api.patch(f"{BINDINGS}/fits", me)).code == 200


async def test_bind_allows_a_binding_to_what_it_names(api: Served) -> None:
    bind = {"verbs": ["bind"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"],
            "resourceNames": ["cluster-admin"]}  # fmt: skip
    await writer(api, bind)
    await api.create(BINDINGS, binding("cluster-admin"))
    assert (await api("POST", BINDINGS, binding("system:aggregate-to-edit", name="c"))).code == 403


async def test_aggregation_takes_everything(api: Served) -> None:
    write = {
        "verbs": ["create", "patch"],
        "apiGroups": ["rbac.authorization.k8s.io"],
        "resources": ["clusterroles"],
    }
    await api.create(f"{RBAC}/clusterroles", {"metadata": {"name": "writer"}, "rules": [write]})
    subjects = [{"kind": "User", "name": "ann", "apiGroup": "rbac.authorization.k8s.io"}]
    await api.create(f"{RBAC}/clusterrolebindings", binding("writer", subjects=subjects))
    api.user = ANN
    gathers = {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}
    refused = await api(
        "POST", f"{RBAC}/clusterroles", {"metadata": {"name": "g"}, "aggregationRule": gathers}
    )
    assert refused.code == 403
    assert refused.message.endswith("must have cluster-admin privileges to use the aggregationRule")
    assert (await api.patch(f"{RBAC}/clusterroles/admin", {"aggregationRule": None})).code == 403


async def test_default_bindings_come_back(api: Served) -> None:
    path = f"{RBAC}/clusterrolebindings/system:discovery"
    await api("DELETE", path)
    await api.create(f"{RBAC}/clusterrolebindings", binding("cluster-admin", name="system:discovery"))
    await Local(api.server.engine).ensure_roles()
    found = (await api.get(path)).body
    assert found["roleRef"]["name"] == "system:discovery"
    await Local(api.server.engine).ensure_roles()
    assert (await api.get(path)).body == found
