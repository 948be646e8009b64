"""The same webhooks for our API engine and for a real kube-apiserver: they are asked the same, and answered the same.

Only with KUBEBUILDER_ASSETS. Unlike in test_api the words of errors are compared too: people search for them.
"""

from __future__ import annotations

import asyncio
import fnmatch
import json
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.api.objects import configmap, crd, deployment
from tests.api.served import Served, end, serve
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
from tests.contract import differential
from tests.contract.differential import Normalizer, Target
from tests.e2e.harness import Fleet

pytestmark = pytest.mark.skipif(
    not os.environ.get("KUBEBUILDER_ASSETS"), reason="KUBEBUILDER_ASSETS names no kube-apiserver"
)

CONFIGMAPS = "/api/v1/namespaces/hooked/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/hooked/deployments"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WIDGETS = "/apis/example.com/v1/namespaces/hooked/widgets"
MERGE = "application/merge-patch+json"

KNOWN: tuple[tuple[str, str], ...] = (
    ("*f:*..", "See test_api."),
    ("*body.status", "The same."),
    ("*bject.status", "The same."),
    (
        "every_verb/asked[[]2].object.metadata.*",
        "Kubernetes shows mutating webhooks an update as it was sent, here it has its system fields already.",
    ),
    ("every_verb/asked[[]1[23]].name", "Kubernetes names no object when it deletes a collection."),
    ("every_verb/asked[[]14].object.spec.finalizers", "Here a namespace has its finalizer from the start."),
    ("every_verb/asked[[]1[67]].options.preconditions", "Kubernetes adds a precondition of its own."),
    ("patch_[01]/*.message", "Where Go's own words say what is wrong with a patch."),
    ("broken_0/*.message", "The words of another JSON parser."),
    ("condition_fails/*.message", "The words of another CEL engine."),
)
"""Differences that stay: (pattern of `case/step: path`, why)."""


@dataclass(frozen=True)
class Case:
    """`mutating` and `validating` are webhooks as `WebhookServer.webhook` makes them: (path, resources, fields)."""

    name: str
    paths: dict[str, Any]
    requests: tuple[tuple[Any, ...], ...]
    """(method, path, body, media type)"""
    mutating: tuple[tuple[str, tuple[str, ...], dict[str, Any]], ...] = ()
    validating: tuple[tuple[str, tuple[str, ...], dict[str, Any]], ...] = ()


def broken(text: str, code: int = 200) -> Any:
    return lambda request: web.Response(text=text, status=code)


ANY = ["*"]
CREATED = ("POST", CONFIGMAPS, configmap())
LABEL = {"op": "add", "path": "/metadata/labels", "value": {"seen": "yes"}}
BAD_OPERATIONS: tuple[dict[str, Any], ...] = (
    {"op": "remove", "path": "/nothing"},
    {"op": "add", "path": "/data", "value": 1},
    {"op": "replace", "path": "/metadata/namespace", "value": "default"},
)
CASES = (
    Case(
        "denied",
        {"/deny": deny},
        (CREATED, ("POST", f"{CONFIGMAPS}?dryRun=All&fieldManager=me&fieldValidation=Strict", configmap())),
        validating=(("/deny", ("configmaps",), {}),),
    ),
    Case(
        "without_reason",
        {"/deny": lambda request: {"allowed": False, "warnings": ["careful"]}},
        (CREATED,),
        validating=(("/deny", ("configmaps",), {}),),
    ),
    Case(
        "own_status",
        {
            "/deny": lambda request: {
                "allowed": False,
                "status": {"code": 422, "reason": "Invalid", "details": {"causes": [{"field": "a"}]}},
            }
        },
        (CREATED,),
        validating=(("/deny", ("configmaps",), {}),),
    ),
    Case(
        "every_verb",
        {"/seen": allow, "/seen2": allow},
        (
            CREATED,
            ("PUT", f"{CONFIGMAPS}/c", configmap(data={"a": "2"})),
            ("PATCH", f"{CONFIGMAPS}/c", {"data": {"a": "3"}}, MERGE),
            (
                "PATCH",
                f"{CONFIGMAPS}/d?fieldManager=me&force=true",
                configmap("d"),
                "application/apply-patch+yaml",
            ),
            ("DELETE", f"{CONFIGMAPS}/c?gracePeriodSeconds=5"),
            ("DELETE", f"{CONFIGMAPS}/d", {"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"]}),
            ("DELETE", CONFIGMAPS),
            ("POST", "/api/v1/namespaces", {"metadata": {"name": "hooked-other", "labels": {"a": "b"}}}),
            ("DELETE", "/api/v1/namespaces/hooked-other"),
        ),
        mutating=(("/seen", ("configmaps", "namespaces"), {"operations": ANY}),),
        validating=(("/seen2", ("configmaps", "namespaces"), {"operations": ANY}),),
    ),
    Case(
        "subresources",
        {"/seen": allow},
        (
            ("POST", DEPLOYMENTS, deployment()),
            ("PATCH", f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": 2}}, MERGE),
            ("PATCH", f"{DEPLOYMENTS}/web/status", {"status": {"replicas": 2}}, MERGE),
            ("DELETE", f"{DEPLOYMENTS}/web"),
        ),
        validating=(("/seen", ("deployments/*",), {"operations": ANY}),),
    ),
    Case(
        "mutated",
        {"/label": patching(LABEL), "/seen": allow},
        (CREATED, ("PATCH", f"{CONFIGMAPS}/c", {"data": {"a": "3"}}, MERGE), ("DELETE", f"{CONFIGMAPS}/c")),
        mutating=(("/label", ("configmaps",), {}),),
        validating=(("/seen", ("configmaps",), {}),),
    ),
    Case(
        "asked_again",
        {"/a": adding("a"), "/b": adding("b"), "/c": allow},
        (CREATED, ("DELETE", f"{CONFIGMAPS}/c")),
        mutating=tuple((path, ("configmaps",), {"reinvocationPolicy": "IfNeeded"}) for path in ("/a", "/b", "/c")),
    ),
    Case(
        "custom",
        {"/red": patching({"op": "replace", "path": "/spec/colour", "value": "red"}), "/seen": allow},
        (
            ("POST", WIDGETS, {"apiVersion": "example.com/v1", "kind": "Widget",
             "metadata": {"name": "w"}, "spec": {"size": 2}}),
            ("DELETE", f"{WIDGETS}/w"),
        ),
        mutating=(("/red", ("widgets",), {}),),
        validating=(("/seen", ("widgets",), {"operations": ANY}),),
    ),
    *(
        Case(f"broken_{n}", {"/x": answers}, (CREATED,), validating=(("/x", ("configmaps",), {}),))
        for n, answers in enumerate(
            (
                broken("<html>"),
                broken("{}"),
                broken("oops", 500),
                broken("", 404),
                lambda request: {"uid": "x", "allowed": True},
                lambda request: {"allowed": True, "patch": "W10=", "patchType": "JSONPatch"},
            )
        )
    ),
    *(
        Case(f"patch_{n}", {"/x": patching(operation)}, (CREATED,), mutating=(("/x", ("configmaps",), {}),))
        for n, operation in enumerate(BAD_OPERATIONS)
    ),
    Case(
        "condition_fails",
        {"/x": allow},
        (CREATED,),
        validating=(("/x", ("configmaps",), {"matchConditions": [{"name": "c", "expression": "object.no == 1"}]}),),
    ),
    Case(
        "deletion_patched",
        {"/x": patching(LABEL)},
        (CREATED, ("DELETE", f"{CONFIGMAPS}/c")),
        mutating=(("/x", ("configmaps",), {"operations": ["DELETE"]}),),
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path_factory.mktemp("real"), members=("api",), real_members=True)
    try:
        fleet.start_member("api")
        fleet.connect_member("api")
        yield fleet
    finally:
        fleet.stop()


@pytest.fixture
async def ours() -> AsyncIterator[Target]:
    served = Served()
    async with asyncio.TaskGroup() as tasks, aiohttp.ClientSession() as served.session:
        await serve(served, tasks, make_plugins=plugin)
        await served.create("/api/v1/namespaces", {"metadata": {"name": "default"}})
        yield Target(served.url, served.session)
        await end(served)
        [webhooks] = served.server.engine.plugins
        await webhooks.stop()


@pytest.fixture
async def hooks(tmp_path: Path) -> AsyncIterator[WebhookServer]:
    async with webhook_server(tmp_path, keep_alive=False) as hooks:
        yield hooks


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_webhooks_are_asked_and_answered_alike(
    case: Case, ours: Target, hooks: WebhookServer, real: Fleet
) -> None:
    api = real.members["api"]
    mine = await _played(ours, case, hooks)
    theirs = await _played(Target(api.url.geturl(), ours.session, api.tls), case, hooks)
    found = {
        f"{case.name}/{path}": f"ours {left!r}, Kubernetes {right!r}"
        for path, left, right in differential.differences(mine, theirs)
    }
    new = {at: what for at, what in found.items() if not any(fnmatch.fnmatch(at, p) for p, _ in KNOWN)}
    assert not new, "\n" + "\n".join(f"{at}: {what}" for at, what in new.items())


async def _played(target: Target, case: Case, hooks: WebhookServer) -> dict[str, Any]:
    """{"answers": [...], "asked": [...]}, normalized."""
    normal = Normalizer()
    hooks.paths, hooks.asked = case.paths, []
    await _send(target, "POST", "/api/v1/namespaces", {"metadata": {"name": "hooked"}})
    if case.name == "custom":
        await _send(target, "POST", CRDS, crd())
        await _until(target, WIDGETS, 200)
    configurations = []
    for at, webhooks in ((MUTATING, case.mutating), (VALIDATING, case.validating)):
        if webhooks:
            made = [hooks.webhook(path, *resources, **fields) for path, resources, fields in webhooks]
            configurations.append(f"{at}/{case.name.replace('_', '-')}")
            body = configuration(case.name.replace("_", "-"), *made)
            code, _, answer = await _send(target, "POST", at, body)
            assert code == 201, answer
    await _in_force(target, hooks, case)
    hooks.asked = []
    answers = []
    for request in case.requests:
        code, warnings, body = await _send(target, *request)
        answers.append({"code": code, "warnings": warnings, "body": normal.value(body)})
    asked = [{"path": path, **normal.value(sent)} for path, sent in hooks.asked]
    for path in configurations:
        await _send(target, "DELETE", path)
    await _send(target, "DELETE", CONFIGMAPS)
    for one in asked:
        del one["userInfo"]
    return {"answers": answers, "asked": asked}


async def _in_force(target: Target, hooks: WebhookServer, case: Case) -> None:
    """Kubernetes takes a moment until it asks; dry runs of an update or creation tell."""
    if target.tls is None:
        return
    paths = {path for path, _, _ in (*case.mutating, *case.validating)}
    if case.name in ("deletion_patched", "condition_fails", "subresources"):
        await asyncio.sleep(2.0)  # nothing can be asked that changes nothing
        return
    probe = CREATED if case.name != "custom" else case.requests[0]
    async with asyncio.timeout(20):
        while True:
            hooks.asked = []
            await _send(target, probe[0], f"{probe[1]}?dryRun=All", probe[2])
            asked = {path for path, _ in hooks.asked}
            if asked and (
                asked == paths or case.name.startswith(("denied", "broken", "patch", "without", "own"))
            ):
                return
            await asyncio.sleep(0.1)


async def _until(target: Target, path: str, code: int) -> None:
    async with asyncio.timeout(20):
        while (await _send(target, "GET", path))[0] != code:
            await asyncio.sleep(0.1)


async def _send(
    target: Target, method: str, path: str, body: Any = None, media_type: str = differential.JSON
) -> tuple[int, list[str], Any]:
    headers = {"User-Agent": "tester/1.0", "Accept": differential.JSON}
    if body is not None:
        headers["Content-Type"] = media_type
    data = None if body is None else json.dumps(body)
    async with target.session.request(
        method, target.url + path, data=data, headers=headers, ssl=target.tls or True
    ) as answer:
        raw = await answer.read()
        parsed = json.loads(raw) if raw.startswith(b"{") else raw.decode()
        return answer.status, answer.headers.getall("Warning", []), parsed
