"""Webhooks asked for real: a server in the process, and webhook servers over HTTPS."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.api.objects import CONFIGMAPS, DEPLOYMENTS, configmap, deployment
from tests.api.served import ADMIN, Served, end, serve
from tests.api.webhook_server import (
    MUTATING,
    VALIDATING,
    WebhookServer,
    adding,
    allow,
    configuration,
    deny,
    patching,
    plugin,
    webhook_server,
)
from towline.hub.api.plugins import AdmissionRequest
from towline.hub.api.status import StatusError
from towline.hub.api.user import User


@pytest.fixture
async def api() -> AsyncIterator[Served]:
    served = Served()
    async with asyncio.TaskGroup() as tasks, aiohttp.ClientSession() as served.session:
        await serve(served, tasks, make_plugins=plugin)
        for name in ("default", "shop"):
            await served.create("/api/v1/namespaces", {"metadata": {"name": name}})
        yield served
        await end(served)
        [webhooks] = served.server.engine.plugins
        await webhooks.stop()


@pytest.fixture
async def hooks(tmp_path: Path) -> AsyncIterator[WebhookServer]:
    async with webhook_server(tmp_path) as hooks:
        yield hooks


# --- validating ------------------------------------------------------------------------------------------------


async def test_a_webhook_denies(api: Served, hooks: WebhookServer) -> None:
    hooks.paths["/deny"] = deny
    await api.create(VALIDATING, configuration("v", hooks.webhook("/deny")))
    answer = await api("POST", f"{CONFIGMAPS}?fieldManager=me", configmap())
    told = 'admission webhook "deny.example.com" denied the request: not on Fridays'
    assert answer.body == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": told,
        "reason": "Forbidden",
        "code": 403,
    }
    [asked] = hooks.of("/deny")
    assert asked["operation"] == "CREATE"
    assert asked["kind"] == asked["requestKind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert asked["resource"] == {"group": "", "version": "v1", "resource": "configmaps"}
    assert (asked["namespace"], asked["name"], asked["dryRun"]) == ("shop", "c", False)
    assert asked["object"]["data"] == {"a": "1"}
    assert asked["oldObject"] is None
    assert asked["userInfo"]["username"] == "admin"
    assert asked["options"] == {
        "kind": "CreateOptions",
        "apiVersion": "meta.k8s.io/v1",
        "fieldManager": "me",
    }
    assert asked["query"] == "timeout=10s"
    assert (await api.get(f"{CONFIGMAPS}/c")).code == 404


async def test_a_denial_without_a_status_is_400(api: Served, hooks: WebhookServer) -> None:
    hooks.paths["/deny"] = lambda request: {"allowed": False}
    await api.create(VALIDATING, configuration("v", hooks.webhook("/deny")))
    answer = await api("POST", CONFIGMAPS, configmap())
    assert answer.code == 400
    assert "reason" not in answer.body
    assert answer.message == 'admission webhook "deny.example.com" denied the request without explanation'


async def test_deletions_show_the_old_object_only(api: Served, hooks: WebhookServer) -> None:
    hooks.paths["/deny"] = deny
    await api.create(VALIDATING, configuration("v", hooks.webhook("/deny", operations=["DELETE"])))
    await api.create(CONFIGMAPS, configmap())
    answer = await api("DELETE", f"{CONFIGMAPS}/c?propagationPolicy=Foreground")
    assert answer.code == 403
    [asked] = hooks.of("/deny")
    assert asked["object"] is None
    assert asked["oldObject"]["metadata"]["name"] == "c"
    assert asked["options"]["propagationPolicy"] == "Foreground"
    assert (await api("DELETE", CONFIGMAPS)).code == 403


async def test_the_scale_subresource_shows_scales(api: Served, hooks: WebhookServer) -> None:
    hooks.paths["/deny"] = deny
    hooks.paths["/three"] = patching({"op": "replace", "path": "/spec/replicas", "value": 3})
    await api.create(DEPLOYMENTS, deployment())
    await api.create(VALIDATING, configuration("v", hooks.webhook("/deny", "deployments/scale")))
    body = {"spec": {"replicas": 2}}
    answer = await api.patch(f"{DEPLOYMENTS}/web/scale", body)
    assert answer.code == 403, answer.body
    [asked] = hooks.of("/deny")
    assert asked["kind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert asked["resource"] == {"group": "apps", "version": "v1", "resource": "deployments"}
    assert (asked["subResource"], asked["object"]["spec"], asked["oldObject"]["spec"]) == (
        "scale",
        {"replicas": 2},
        {"replicas": 1},
    )
    await api("DELETE", f"{VALIDATING}/v")
    await api.create(MUTATING, configuration("m", hooks.webhook("/three", "*/scale")))
    answer = await api.patch(f"{DEPLOYMENTS}/web/scale", body)
    assert answer.body["spec"] == {"replicas": 3}
    assert (await api.get(f"{DEPLOYMENTS}/web")).body["spec"]["replicas"] == 3


async def test_all_validating_webhooks_are_asked_at_once(api: Served, hooks: WebhookServer) -> None:
    both = asyncio.Barrier(2)

    async def together(request: dict[str, Any]) -> dict[str, Any]:
        await both.wait()
        return {"allowed": True, "warnings": ["careful", "careful"]}

    hooks.paths |= {"/a": together, "/b": together}
    await api.create(VALIDATING, configuration("v", hooks.webhook("/a"), hooks.webhook("/b")))
    answer = await api("POST", CONFIGMAPS, configmap())
    assert answer.code == 201
    assert answer.headers.getall("Warning") == ['299 - "careful"'] * 2


async def test_a_webhook_that_hangs_stops_nobody_else(api: Served, hooks: WebhookServer) -> None:
    asked, free = asyncio.Event(), asyncio.Event()

    async def hanging(request: dict[str, Any]) -> dict[str, Any]:
        asked.set()
        await free.wait()
        read = await api.get(
            "/api/v1/namespaces/shop"
        )  # a webhook may ask the hub while the hub waits for it
        return {"allowed": read.code == 200}

    hooks.paths["/hang"] = hanging
    await api.create(VALIDATING, configuration("v", hooks.webhook("/hang")))
    slow = asyncio.ensure_future(api("POST", CONFIGMAPS, configmap()))
    await asked.wait()
    await api.create(DEPLOYMENTS, deployment())
    assert not slow.done()
    free.set()
    assert (await slow).code == 201


async def test_nobody_asks_about_webhook_configurations(api: Served, hooks: WebhookServer) -> None:
    hooks.paths["/deny"] = deny
    await api.create(VALIDATING, configuration("v", hooks.webhook("/deny", "*/*", operations=["*"])))
    assert (await api("DELETE", f"{VALIDATING}/v")).code == 200
    await api.create(CONFIGMAPS, configmap())


# --- mutating --------------------------------------------------------------------------------------------------


async def test_webhooks_change_what_is_stored_in_order(api: Served, hooks: WebhookServer) -> None:
    hooks.paths |= {"/a": adding("a"), "/b": adding("b"), "/c": adding("c"), "/v": allow}
    await api.create(MUTATING, configuration("z", hooks.webhook("/c")))
    await api.create(MUTATING, configuration("y", hooks.webhook("/a"), hooks.webhook("/b")))
    await api.create(VALIDATING, configuration("v", hooks.webhook("/v")))
    made = await api.create(f"{CONFIGMAPS}?fieldManager=me", configmap())
    assert made["data"] == {"a": "1", "order": "abc"}
    owned = made["metadata"]["managedFields"][0]["fieldsV1"]["f:data"]
    assert "f:order" not in owned
    assert hooks.of("/v")[0]["object"]["data"]["order"] == "abc"
    assert (await api.get(f"{CONFIGMAPS}/c")).body["data"]["order"] == "abc"


async def test_webhooks_are_asked_again_when_a_later_one_changed_the_object(
    api: Served, hooks: WebhookServer
) -> None:
    hooks.paths |= {"/a": adding("a"), "/b": adding("b"), "/c": allow}
    webhooks = [hooks.webhook(path, reinvocationPolicy="IfNeeded") for path in ("/a", "/b", "/c")]
    await api.create(MUTATING, configuration("m", *webhooks))
    made = await api.create(CONFIGMAPS, configmap())
    assert made["data"]["order"] == "abab"
    assert [path for path, _ in hooks.asked] == ["/a", "/b", "/c", "/a", "/b", "/c"]


async def test_patches_and_applies_pass_webhooks_too(api: Served, hooks: WebhookServer) -> None:
    hooks.paths["/label"] = patching({"op": "add", "path": "/metadata/labels", "value": {"seen": "yes"}})
    await api.create(MUTATING, configuration("m", hooks.webhook("/label")))
    applied = await api.apply(f"{CONFIGMAPS}/c", configmap())
    assert applied.code == 201
    patched = await api.patch(f"{CONFIGMAPS}/c", {"data": {"a": "2"}})
    assert patched.body["metadata"]["labels"] == {"seen": "yes"}
    assert [(r["operation"], r["options"]["kind"]) for r in hooks.of("/label")] == [
        ("CREATE", "CreateOptions"),
        ("UPDATE", "UpdateOptions"),
    ]
    assert hooks.of("/label")[1]["oldObject"]["data"] == {"a": "1"}


@pytest.mark.parametrize(
    ("operations", "told"),
    [
        ([{"op": "remove", "path": "/nothing"}], "Internal error occurred: /nothing"),
        ([{"op": "replace", "path": "/metadata/name", "value": "d"}], "may not change"),
        ([{"op": "add", "path": "/data", "value": 1}], "cannot be handled as a ConfigMap"),
        ([{"op": "add", "path": "/metadata/labels", "value": 1}], "cannot be handled as a ConfigMap"),
    ],
)
async def test_a_patch_that_fits_nothing_is_an_internal_error(
    api: Served, hooks: WebhookServer, operations: list[dict[str, Any]], told: str
) -> None:
    hooks.paths["/m"] = patching(*operations)
    await api.create(MUTATING, configuration("m", hooks.webhook("/m", failurePolicy="Ignore")))
    answer = await api("POST", CONFIGMAPS, configmap())
    assert (answer.code, answer.reason) == (500, "InternalError")
    assert told in answer.message


async def test_what_a_webhook_makes_of_an_object_is_validated(api: Served, hooks: WebhookServer) -> None:
    hooks.paths["/m"] = patching({"op": "add", "path": "/spec/replicas", "value": -1})
    await api.create(MUTATING, configuration("m", hooks.webhook("/m", "deployments")))
    answer = await api("POST", DEPLOYMENTS, deployment())
    assert (answer.code, answer.fields) == (422, ["spec.replicas"])


async def test_a_deletion_has_nothing_to_patch(api: Served, hooks: WebhookServer) -> None:
    hooks.paths["/m"] = patching({"op": "add", "path": "/data/x", "value": "y"})
    await api.create(MUTATING, configuration("m", hooks.webhook("/m", operations=["DELETE"])))
    await api.create(CONFIGMAPS, configmap())
    answer = await api("DELETE", f"{CONFIGMAPS}/c")
    assert answer.code == 500
    assert "attempted to modify the object, which is not supported for this operation" in answer.message


async def test_a_webhook_sees_the_version_that_its_rule_names(api: Served, hooks: WebhookServer) -> None:
    hooks.paths["/m"] = patching(
        {"op": "replace", "path": "/spec/targetCPUUtilizationPercentage", "value": 7}
    )
    webhook = hooks.webhook("/m", "horizontalpodautoscalers")
    webhook["rules"][0]["apiVersions"] = ["v1"]
    await api.create(MUTATING, configuration("m", webhook))
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    cpu = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
    }
    spec = {"scaleTargetRef": target, "maxReplicas": 3, "metrics": [cpu]}
    at = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers"
    made = await api.create(at, {"metadata": {"name": "h"}, "spec": spec})
    [asked] = hooks.of("/m")
    assert asked["object"]["apiVersion"] == "autoscaling/v1"
    assert asked["object"]["spec"]["targetCPUUtilizationPercentage"] == 50
    assert made["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 7


async def test_the_audit_log_says_what_webhooks_noted(api: Served, hooks: WebhookServer) -> None:
    noting = {"allowed": True, "auditAnnotations": {"rule": "r1"}}
    hooks.paths |= {"/m": lambda request: noting, "/v": lambda request: {**noting, "allowed": False}}
    await api.create(MUTATING, configuration("m", hooks.webhook("/m", operations=["*"])))
    await api.create(VALIDATING, configuration("v", hooks.webhook("/v", operations=["DELETE"])))
    await api.create(CONFIGMAPS, configmap())
    await api("DELETE", f"{CONFIGMAPS}/c")
    noted = [line.get("annotations") for line in api.audited if line["resource"] == "configmaps"]
    assert noted == [
        {"m.example.com/rule": "r1"},
        {"m.example.com/rule": "r1", "v.example.com/rule": "r1"},
    ]


async def test_mutating_webhooks_have_a_time_together(api: Served, hooks: WebhookServer) -> None:
    async def never(request: dict[str, Any]) -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    hooks.paths["/m"] = never
    await api.create(MUTATING, configuration("m", hooks.webhook("/m", failurePolicy="Ignore")))
    [webhooks] = plugin(api, webhooks_seconds=0.01)
    kind = api.kinds.resource("", "v1", "configmaps")
    request = AdmissionRequest(ADMIN, kind, "CREATE", kind.key("shop", "c"), object=configmap())
    with pytest.raises(StatusError, match="did not complete within requested timeout"):
        await webhooks.admit(request)
    await webhooks.stop()


# --- failures --------------------------------------------------------------------------------------------------


def _answering(body: Any, code: int = 200) -> Any:
    return lambda request: web.Response(text=body if isinstance(body, str) else json.dumps(body), status=code)


BROKEN: list[tuple[str, Any, str]] = [
    ("no json", _answering("<html>"), "failed to call webhook: couldn't get version/kind; json parse error"),
    ("no response", _answering({"kind": "AdmissionReview"}), "webhook response was absent"),
    ("a list", _answering([]), "webhook response was absent"),
    ("wrong uid", lambda r: {"uid": "x", "allowed": True}, "expected response.uid="),
    (
        "500",
        _answering("oops", 500),
        'an error on the server ("oops") has prevented the request from succeeding',
    ),
    ("404", _answering("", 404), "the server could not find the requested resource"),
    ("redirect", _answering("", 302), "redirects are not followed"),
    ("large", _answering("x" * 65 * 1024), "the answer is larger than 65536 bytes"),
    (
        "patch",
        lambda r: {"allowed": True, "patch": "W10="},
        "validating webhook may not return response.patch",
    ),
]


@pytest.mark.parametrize("policy", ["Fail", "Ignore"])
@pytest.mark.parametrize(("answers", "told"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
async def test_a_broken_answer_follows_the_failure_policy(
    api: Served, hooks: WebhookServer, answers: Any, told: str, policy: str
) -> None:
    hooks.paths["/x"] = answers
    await api.create(VALIDATING, configuration("v", hooks.webhook("/x", failurePolicy=policy)))
    answer = await api("POST", CONFIGMAPS, configmap())
    if policy == "Ignore":
        assert answer.code == 201
        return
    assert (answer.code, answer.reason) == (500, "InternalError")
    assert answer.message.startswith('Internal error occurred: failed calling webhook "x.example.com": ')
    assert told in answer.message
    assert "Internal error occurred: " + answer.causes[0]["message"] == answer.message


async def test_a_slow_webhook_is_given_up(api: Served, hooks: WebhookServer) -> None:
    async def never(request: dict[str, Any]) -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    hooks.paths["/slow"] = never
    await api.create(VALIDATING, configuration("v", hooks.webhook("/slow", timeoutSeconds=1)))
    answer = await api("POST", CONFIGMAPS, configmap())
    assert answer.code == 500
    assert answer.message.endswith('/slow?timeout=1s": context deadline exceeded')


async def test_a_webhook_is_trusted_only_with_its_authority(
    api: Served, hooks: WebhookServer, tmp_path: Path
) -> None:
    hooks.paths["/x"] = allow
    (tmp_path / "other").mkdir()
    async with webhook_server(tmp_path / "other") as other:
        webhook = hooks.webhook("/x")
        webhook["clientConfig"]["caBundle"] = other.ca
        await api.create(VALIDATING, configuration("v", webhook))
    answer = await api("POST", CONFIGMAPS, configmap())
    assert answer.code == 500
    assert "x509: certificate signed by unknown authority" in answer.message
    right = {"webhooks": [hooks.webhook("/x")]}
    assert (await api.patch(f"{VALIDATING}/v", right)).code == 200
    await api.create(CONFIGMAPS, configmap())


async def test_nobody_listens(api: Served, hooks: WebhookServer, unused_tcp_port: int) -> None:
    webhook = hooks.webhook("/x")
    webhook["clientConfig"]["url"] = f"https://127.0.0.1:{unused_tcp_port}/x"
    await api.create(VALIDATING, configuration("v", webhook))
    answer = await api("POST", CONFIGMAPS, configmap())
    assert answer.message.endswith(f"dial tcp 127.0.0.1:{unused_tcp_port}: connect: connection refused")


# --- which -----------------------------------------------------------------------------------------------------


async def test_selectors_and_conditions(api: Served, hooks: WebhookServer) -> None:
    hooks.paths |= {"/space": allow, "/object": allow, "/condition": allow, "/broken": allow}
    await api.create("/api/v1/namespaces", {"metadata": {"name": "free", "labels": {"free": "yes"}}})
    expression = "request.userInfo.username != 'robot' && object.data.a == '1'"
    await api.create(
        VALIDATING,
        configuration(
            "v",
            hooks.webhook(
                "/space",
                namespaceSelector={"matchExpressions": [{"key": "free", "operator": "DoesNotExist"}]},
            ),
            hooks.webhook("/object", objectSelector={"matchLabels": {"app": "web"}}),
            hooks.webhook("/condition", matchConditions=[{"name": "c", "expression": expression}]),
        ),
    )
    await api.create("/api/v1/namespaces/free/configmaps", configmap("one", labels={"app": "web"}))
    await api.create(CONFIGMAPS, configmap("two", {"a": "2"}))
    api.user = User("robot", ("system:masters",))
    await api.create(CONFIGMAPS, configmap("three"))
    assert {(path, request["name"]) for path, request in hooks.asked} == {
        ("/object", "one"),
        ("/condition", "one"),
        ("/space", "two"),
        ("/space", "three"),
    }


async def test_a_condition_that_fails_follows_the_failure_policy(api: Served, hooks: WebhookServer) -> None:
    hooks.paths["/x"] = allow
    condition = [{"name": "broken", "expression": "object.data.nothing == '1'"}]
    webhook = hooks.webhook("/x", matchConditions=condition)
    await api.create(VALIDATING, configuration("v", webhook))
    answer = await api("POST", CONFIGMAPS, configmap())
    assert (answer.code, answer.reason) == (403, "Forbidden")
    await api.patch(f"{VALIDATING}/v", {"webhooks": [{**webhook, "failurePolicy": "Ignore"}]})
    await api.create(CONFIGMAPS, configmap())
    assert hooks.asked == []


async def test_dry_runs_are_told(api: Served, hooks: WebhookServer) -> None:
    hooks.paths["/x"] = lambda request: {"allowed": True, "warnings": ["dry" if request["dryRun"] else "wet"]}
    await api.create(VALIDATING, configuration("v", hooks.webhook("/x", sideEffects="NoneOnDryRun")))
    answer = await api("POST", f"{CONFIGMAPS}?dryRun=All", configmap())
    assert answer.code == 201
    assert answer.headers["Warning"] == '299 - "dry"'
    assert hooks.asked[0][1]["options"]["dryRun"] == ["All"]


async def test_warnings_of_a_denial_are_told(api: Served, hooks: WebhookServer) -> None:
    hooks.paths["/x"] = lambda request: {"allowed": False, "warnings": ["soon gone"]}
    await api.create(VALIDATING, configuration("v", hooks.webhook("/x", operations=["DELETE"])))
    await api.create(CONFIGMAPS, configmap())
    answer = await api("DELETE", f"{CONFIGMAPS}/c")
    assert (answer.code, answer.headers["Warning"]) == (400, '299 - "soon gone"')


async def test_the_bundle_must_hold_certificates(api: Served, hooks: WebhookServer) -> None:
    webhook = hooks.webhook("/x")
    webhook["clientConfig"]["caBundle"] = base64.b64encode(b"no certificate").decode()
    await api.create(VALIDATING, configuration("v", webhook))
    answer = await api("POST", CONFIGMAPS, configmap())
    assert answer.code == 500
    assert "caBundle" in answer.message
