"""Bad input: each row is a request that a client may send, and the Status that names what is wrong."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.api.objects import CONFIGMAPS, CRDS, DEPLOYMENTS, configmap, crd, deployment, policy
from tests.api.served import Served, end, serve
from towline.hub.api.engine import Limits
from towline.hub.api.user import User
from towline.hub.store.contract import Unavailable

JSON = "application/json"
POLICIES = "/apis/policy.karmada.io/v1alpha1/namespaces/shop/propagationpolicies"
STRICT = "?fieldValidation=Strict"

Row = tuple[str, str, Any, str, int, str, str]


def changed(obj: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """`obj` with the value at dotted `path`."""
    result: dict[str, Any] = json.loads(json.dumps(obj))
    at: Any = result
    *way, last = [int(p) if p.isdigit() else p for p in path.split(".")]
    for part in way:
        at = at[part]
    at[last] = value
    return result


CONTAINER = "spec.template.spec.containers.0"

MALFORMED: list[Row] = [
    ("POST", CONFIGMAPS, b'{"kind": "ConfigMap",', JSON, 400, "BadRequest", "line 1 column"),
    ("POST", CONFIGMAPS, b'{"a": 1, "b": \xff}', JSON, 400, "BadRequest", "not JSON"),
    ("POST", CONFIGMAPS, b'{"a": NaN}', JSON, 400, "BadRequest", "not JSON"),
    ("POST", CONFIGMAPS, b"", JSON, 400, "BadRequest", "empty"),
    ("POST", CONFIGMAPS, b"[]", JSON, 400, "BadRequest", "a list"),
    ("POST", CONFIGMAPS, b"null", JSON, 400, "BadRequest", "null"),
    ("POST", CONFIGMAPS, b'"text"', JSON, 400, "BadRequest", "a string"),
    ("POST", CONFIGMAPS, b"a: [1, 2\nb: 3\n", "application/yaml", 400, "BadRequest", "line 2 column"),
    ("POST", CONFIGMAPS, b"a: !!python/object/apply:os.system [ls]", "application/yaml", 400, "BadRequest", "not YAML"),
    ("POST", CONFIGMAPS, b"{" * 300 + b"}" * 300, JSON, 400, "BadRequest", "not JSON"),
    ("POST", CONFIGMAPS, b'{"a":' * 300 + b"1" + b"}" * 300, JSON, 400, "BadRequest", "nested"),
    ("POST", CONFIGMAPS, b"[" * 100_000, JSON, 400, "BadRequest", "not JSON"),
    ("POST", CONFIGMAPS, b"<xml/>", "application/xml", 415, "UnsupportedMediaType", "application/xml"),
    ("PATCH", f"{CONFIGMAPS}/c", b"{}", JSON, 415, "UnsupportedMediaType", "merge-patch"),
    ("PATCH", f"{CONFIGMAPS}/c", b"{", "application/merge-patch+json", 400, "BadRequest", "line 1"),
    ("PATCH", f"{CONFIGMAPS}/c", b"[]", "application/merge-patch+json", 400, "BadRequest", "not an object"),
    ("PATCH", f"{CONFIGMAPS}/c", b"{}", "application/json-patch+json", 400, "BadRequest", "list of operations"),
    ("PATCH", f"{CONFIGMAPS}/c", b'[{"op":"jump","path":"/a"}]', "application/json-patch+json", 422, "Invalid", ""),
    ("PATCH", f"{CONFIGMAPS}/c", b'[{"op":"test","path":"/data/a","value":"9"}]', "application/json-patch+json",
     422, "Invalid", ""),
    ("PATCH", f"{CONFIGMAPS}/c", b'[{"op":"remove","path":""}]', "application/json-patch+json", 400, "BadRequest", ""),
    ("PATCH", f"{CONFIGMAPS}/c?fieldManager=m", b"{}", "application/apply-patch+yaml", 400, "BadRequest", "apiVersion"),
    ("PATCH", f"{CONFIGMAPS}/c", b'{"apiVersion":"v1","kind":"ConfigMap"}', "application/apply-patch+yaml",
     422, "Invalid", "fieldManager"),
    ("PATCH", f"{CONFIGMAPS}/c?force=true", b"{}", "application/merge-patch+json", 422, "Invalid", "force"),
    ("DELETE", f"{CONFIGMAPS}/c", b"[1]", JSON, 400, "BadRequest", "a list"),
    ("DELETE", f"{CONFIGMAPS}/c", b'{"kind":"Pod"}', JSON, 400, "BadRequest", "DeleteOptions"),
]  # fmt: skip

WRONG: list[Row] = [
    ("POST", CONFIGMAPS, {**configmap(), "kind": "Secret"}, JSON, 400, "BadRequest", "cannot be handled as a ConfigMap"),
    ("POST", CONFIGMAPS, {**configmap(), "apiVersion": "v2"}, JSON, 400, "BadRequest", "(v2)"),
    ("POST", CONFIGMAPS, {**configmap(), "kind": None}, JSON, 400, "BadRequest", "without kind"),
    ("POST", CONFIGMAPS, {**configmap(), "kind": 7}, JSON, 400, "BadRequest", "7"),
    ("POST", CONFIGMAPS, {**configmap(), "metadata": "m"}, JSON, 400, "BadRequest", "metadata"),
    ("POST", CONFIGMAPS, configmap(labels={"a": 1}), JSON, 400, "BadRequest", "metadata.labels"),
    ("POST", CONFIGMAPS, configmap(generation="x"), JSON, 400, "BadRequest", "metadata.generation"),
    ("POST", CONFIGMAPS, configmap(namespace="other"), JSON, 400, "BadRequest", "namespace"),
    ("POST", CONFIGMAPS, configmap(resourceVersion="5"), JSON, 400, "BadRequest", "resourceVersion"),
    ("POST", "/api/v1/configmaps", configmap(), JSON, 400, "BadRequest", "namespace"),
    ("PUT", f"{CONFIGMAPS}/c", configmap("d"), JSON, 400, "BadRequest", "(d)"),
    ("PUT", f"{CONFIGMAPS}/c", configmap(resourceVersion="new"), JSON, 400, "BadRequest", "resourceVersion"),
    ("PUT", f"{CONFIGMAPS}/c", configmap(resourceVersion="999999"), JSON, 409, "Conflict", "modified"),
    ("PUT", f"{CONFIGMAPS}/c", configmap(uid="other"), JSON, 409, "Conflict", "Precondition"),
    ("PUT", f"{CONFIGMAPS}/gone", configmap("gone"), JSON, 404, "NotFound", 'configmaps "gone" not found'),
    ("POST", CONFIGMAPS, configmap(), JSON, 409, "AlreadyExists", 'configmaps "c" already exists'),
    ("POST", CONFIGMAPS + "?dryRun=Some", configmap("d"), JSON, 422, "Invalid", "dryRun"),
    ("POST", CONFIGMAPS + "?fieldValidation=Hard", configmap("d"), JSON, 422, "Invalid", "fieldValidation"),
    ("POST", CONFIGMAPS + "?fieldManager=" + "m" * 129, configmap("d"), JSON, 422, "Invalid", "fieldManager"),
    ("POST", CONFIGMAPS.replace("shop", "nowhere"), configmap(), JSON, 404, "NotFound", 'namespaces "nowhere"'),
    ("GET", f"{CONFIGMAPS}/gone", None, JSON, 404, "NotFound", 'configmaps "gone" not found'),
    ("DELETE", f"{CONFIGMAPS}/gone", None, JSON, 404, "NotFound", 'configmaps "gone" not found'),
    ("GET", "/apis/apps/v1/namespaces/shop/gadgets", None, JSON, 404, "NotFound", "could not find"),
    ("GET", "/apis/nothing.io/v1/things", None, JSON, 404, "NotFound", "could not find"),
    ("GET", "/apis/nothing.io", None, JSON, 404, "NotFound", "could not find"),
    ("GET", "/apis/apps/v9", None, JSON, 404, "NotFound", "could not find"),
    ("GET", "/nowhere", None, JSON, 404, "NotFound", "could not find"),
    ("GET", f"{CONFIGMAPS}/c/status", None, JSON, 404, "NotFound", "could not find"),
    ("GET", f"{CONFIGMAPS}/c/scale", None, JSON, 404, "NotFound", "could not find"),
    ("GET", f"{CONFIGMAPS}/c/a/b/c", None, JSON, 404, "NotFound", "could not find"),
    ("GET", "/api/v1/namespaces/shop/nodes", None, JSON, 404, "NotFound", "could not find"),
    ("DELETE", f"{DEPLOYMENTS}/web/status", None, JSON, 405, "MethodNotAllowed", "delete"),
    ("POST", f"{CONFIGMAPS}/c", configmap(), JSON, 405, "MethodNotAllowed", "POST"),
    ("PATCH", CONFIGMAPS, b"{}", "application/merge-patch+json", 405, "MethodNotAllowed", "PATCH"),
    ("POST", "/version", b"{}", JSON, 405, "MethodNotAllowed", "/version"),
]  # fmt: skip

INVALID: list[tuple[str, dict[str, Any], str]] = [
    (CONFIGMAPS, configmap(""), "metadata.name"),
    (CONFIGMAPS, configmap("Upper"), "metadata.name"),
    (CONFIGMAPS, configmap("a/b"), "metadata.name"),
    (CONFIGMAPS, configmap("a" * 254), "metadata.name"),
    (CONFIGMAPS, configmap("d", labels={"a b": "c"}), "metadata.labels"),
    (CONFIGMAPS, configmap("d", labels={"a": "x" * 64}), "metadata.labels"),
    (CONFIGMAPS, configmap("d", annotations={"/": "c"}), "metadata.annotations"),
    (CONFIGMAPS, configmap("d", annotations={"a": "c" * 262145}), "metadata.annotations"),
    (CONFIGMAPS, configmap("d", finalizers=["not ok"]), "metadata.finalizers"),
    (CONFIGMAPS, configmap("d", ownerReferences=[{"kind": "X", "name": "x", "uid": "u"}]),
     "metadata.ownerReferences.apiVersion"),
    ("/api/v1/namespaces", {"metadata": {"name": "a.b"}}, "metadata.name"),
    ("/api/v1/namespaces/shop/services", {"metadata": {"name": "-a"}, "spec": {"ports": [{"port": 80}]}},
     "metadata.name"),
    (DEPLOYMENTS, changed(deployment("d"), "spec.selector", None), "spec.selector"),
    (CRDS, changed(crd(), "metadata.name", "other.example.com"), "metadata.name"),
    (POLICIES, changed(policy(), "spec.resourceSelectors", []), "spec.resourceSelectors"),
]  # fmt: skip


UNDECODABLE: list[tuple[str, dict[str, Any], str]] = [
    (CONFIGMAPS, changed(configmap("d"), "data", {"a": 1}), "data.a"),
    (CONFIGMAPS, changed(configmap("d"), "data", "text"), "data"),
    (DEPLOYMENTS, changed(deployment("d"), "spec.replicas", "many"), "spec.replicas"),
    (DEPLOYMENTS, changed(deployment("d"), "spec", []), "spec"),
    (DEPLOYMENTS, changed(deployment("d"), "spec.template.spec.containers", {}), "spec.template.spec.containers"),
    (DEPLOYMENTS, changed(deployment("d"), f"{CONTAINER}.image", 3), "spec.template.spec.containers[0].image"),
    (DEPLOYMENTS, changed(deployment("d"), f"{CONTAINER}.ports", [{"containerPort": "http"}]),
     "spec.template.spec.containers[0].ports[0].containerPort"),
    (DEPLOYMENTS, changed(deployment("d"), "spec.replicas", 2**40), "spec.replicas"),
    (DEPLOYMENTS, changed(deployment("d"), f"{CONTAINER}.resources", {"limits": {"cpu": "lots"}}),
     "spec.template.spec.containers[0].resources.limits.cpu"),
]  # fmt: skip
"""Values of a wrong type in kinds that Kubernetes decodes into types of its own."""


def identifier(row: Any) -> str:
    return f"{row[0]} {str(row[1])[-40:]} {str(row[2])[:30]}" if isinstance(row, tuple) else str(row)


@pytest.mark.parametrize("row", [*MALFORMED, *WRONG], ids=identifier)
async def test_requests_that_are_refused(api: Served, row: Row) -> None:
    method, path, body, content_type, code, reason, says = row
    await api.create(CONFIGMAPS, configmap())
    await api.create(DEPLOYMENTS, deployment())
    before = api.cache.revision
    answer = await api(method, path, body, type=content_type)
    assert (answer.code, answer.reason) == (code, reason), answer.body
    assert says in answer.message
    assert (answer.body["kind"], answer.body["status"], answer.body["code"]) == ("Status", "Failure", code)
    assert api.cache.revision == before, "nothing is stored"


@pytest.mark.parametrize("row", INVALID, ids=lambda row: f"{row[2]} {str(row[1])[:60]}")
async def test_invalid_objects_name_the_field(api: Served, row: tuple[str, dict[str, Any], str]) -> None:
    path, obj, field = row
    answer = await api("POST", path, obj)
    assert (answer.code, answer.reason) == (422, "Invalid"), answer.body
    assert field in answer.fields and field in answer.message
    assert all(cause["reason"].startswith("FieldValue") for cause in answer.causes)


@pytest.mark.parametrize("row", UNDECODABLE, ids=identifier)
async def test_wrong_types_name_the_field(api: Served, row: tuple[str, dict[str, Any], str]) -> None:
    path, obj, field = row
    answer = await api("POST", path, obj)
    assert (answer.code, answer.reason) == (400, "BadRequest"), answer.body
    assert f": {field}: Invalid value" in answer.message


async def test_a_field_that_is_said_twice(api: Served) -> None:
    body = b'{"metadata":{"name":"d"},"data":{"a":"1"},"data":{"b":"\\": 2"}}'
    strict = await api("POST", f"{CONFIGMAPS}?fieldValidation=Strict", body)
    assert (strict.code, strict.reason) == (400, "BadRequest") and 'duplicate field "data"' in strict.message
    warned = await api("POST", CONFIGMAPS, body)
    assert warned.headers["Warning"] == '299 - "duplicate field \\"data\\""'
    assert warned.body["data"] == {"b": '": 2'}


async def test_invalid_applies_name_the_field(api: Served) -> None:
    for obj in (deployment(), changed(deployment(), "metadata.labels", {"a": "b"})):
        bad = changed(obj, "spec.template.spec.containers", "none")
        answer = await api.apply(f"{DEPLOYMENTS}/web", bad)
        assert answer.code == 400 and "spec.template.spec.containers" in answer.message
        assert (await api.apply(f"{DEPLOYMENTS}/web", obj)).code in (200, 201)


UNKNOWN = changed(changed(deployment("d"), "spec.replica", 3), f"{CONTAINER}.imag", "x")


@pytest.mark.parametrize("verb", ["POST", "PUT", "PATCH", "APPLY"])
async def test_unknown_fields(api: Served, verb: str) -> None:
    """Strict refuses, Warn (the default) says so in headers, Ignore is silent; none keeps them. An apply always refuses,
    as in Kubernetes: a field that there is not cannot be owned."""
    await api.create(DEPLOYMENTS, deployment("d"))

    async def send(mode: str) -> Any:
        query = f"?fieldManager=m{mode and f'&fieldValidation={mode}'}"
        path = f"{DEPLOYMENTS}/d{query}"
        if verb == "POST":
            return await api(verb, DEPLOYMENTS + query, changed(UNKNOWN, "metadata.name", f"d{mode.lower()}"))
        if verb == "APPLY":
            return await api("PATCH", path + "&force=true", UNKNOWN, type="application/apply-patch+yaml")
        return await api(
            verb, path, UNKNOWN, type="application/merge-patch+json" if verb == "PATCH" else JSON
        )

    strict = await send("Strict")
    assert (strict.code, strict.reason) == ((422, "Invalid") if verb == "PATCH" else (400, "BadRequest"))
    assert 'unknown field "spec.replica"' in strict.message
    assert 'unknown field "spec.template.spec.containers[0].imag"' in strict.message
    for mode in ("Warn", "Ignore"):
        answer = await send(mode)
        if verb == "APPLY":
            assert answer.code == 400
            continue
        assert answer.code in (200, 201) and "replica" not in answer.body["spec"]
        warned = set(answer.headers.getall("Warning", []))
        expected = {
            '299 - "unknown field \\"spec.replica\\""',
            '299 - "unknown field \\"spec.template.spec.containers[0].imag\\""',
        }
        assert warned == (expected if mode == "Warn" else set())


async def test_a_warning_cannot_end_its_header(api: Served) -> None:
    answer = await api("POST", CONFIGMAPS, {**configmap(), "x\r\nSet-Cookie: a\u2028": 1})
    assert answer.code == 201 and "Set-Cookie" not in answer.headers
    assert "??Set-Cookie: a?" in answer.headers["Warning"]


async def test_a_yaml_bomb_is_refused(api: Served) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    answer = await api("POST", CONFIGMAPS, "\n".join(lines), type="application/yaml")
    assert (answer.code, answer.reason) == (400, "BadRequest") and "alias" in answer.message


async def test_large_bodies(api: Served) -> None:
    limit = 3 * 1024 * 1024
    too_large = await api("POST", CONFIGMAPS, b"{" + b" " * limit)
    assert (too_large.code, too_large.reason) == (413, "RequestEntityTooLarge")
    assert str(limit) in too_large.message

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b" " * 1024 * 1024

    async with api.session.post(api.url + CONFIGMAPS, data=chunks()) as answer:
        assert answer.status == 413, "also when no length is announced"
    revision = {"metadata": {"name": "big"}, "revision": 1, "data": {"a": "x" * (2 * 1024 * 1024)}}
    stored = await api("POST", "/apis/apps/v1/namespaces/shop/controllerrevisions", revision)
    assert (stored.code, stored.reason) == (413, "RequestEntityTooLarge"), "more than a store takes"
    fits = await api("POST", CONFIGMAPS, configmap("fits", data={"a": "x" * (1024 * 1024)}))
    assert fits.code == 201


@pytest.mark.parametrize("accept", ["application/vnd.kubernetes.protobuf", "text/html"])
async def test_representations_that_are_not_offered(api: Served, accept: str) -> None:
    answer = await api.get(CONFIGMAPS, Accept=accept)
    assert (answer.code, answer.reason) == (406, "NotAcceptable")


# --- who may ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", CONFIGMAPS),
        ("POST", CONFIGMAPS),
        ("GET", "/version"),
        ("GET", "/metrics"),
        ("GET", "/nowhere"),
    ],
)
async def test_anonymous_gets_health_only(api: Served, method: str, path: str) -> None:
    api.user = None
    answer = await api(method, path, {} if method == "POST" else None)
    assert (answer.code, answer.reason) == (401, "Unauthorized")
    for health in ("/livez", "/readyz", "/healthz"):
        assert (await api.get(health)).raw == b"ok"


async def test_only_masters_may(api: Served) -> None:
    api.user = User("jane", ("system:authenticated",))
    answer = await api.get(CONFIGMAPS)
    assert (answer.code, answer.reason) == (403, "Forbidden")
    assert 'User "jane" cannot list resource "configmaps"' in answer.message and '"shop"' in answer.message
    assert (await api.get("/metrics")).code == 403
    api.user = User("root", ("system:masters",))
    metrics = await api.get("/metrics")
    assert b'apiserver_request_total{code="403"' in metrics.raw


async def test_access_reviews(api: Served) -> None:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "create", "resource": "pods"}},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert (await api.create(path, review))["status"]["allowed"] is True
    assert (await api("POST", path, {"spec": {}})).fields == ["spec.resourceAttributes"]
    assert (await api("POST", path, {"spec": 4})).code == 400
    assert (await api("POST", f"{path}?fieldValidation=Strict", {"spec": {"a": 1}})).code == 400
    assert (await api.get(path)).code == 405
    assert (await api.get(f"{path}/a")).code == 404
    who = await api.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", {"spec": {}})
    assert who["status"]["userInfo"]["username"] == "admin"


# --- what is not the client's fault ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("maybe", "code", "reason"), [(False, 503, "ServiceUnavailable"), (True, 504, "Timeout")]
)
async def test_a_store_that_cannot_be_reached(
    api: Served, monkeypatch: pytest.MonkeyPatch, maybe: bool, code: int, reason: str
) -> None:
    async def commit(*args: Any, **more: Any) -> int:
        raise Unavailable("gone", maybe_committed=maybe)

    monkeypatch.setattr(api.store, "commit", commit)
    answer = await api("POST", CONFIGMAPS, configmap())
    assert (answer.code, answer.reason) == (code, reason)
    assert answer.body["details"]["retryAfterSeconds"] == 1
    assert ("Retry-After" in answer.headers) is not maybe


async def test_our_own_faults_are_logged_once_with_an_id(
    api: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: Any) -> Any:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(api.cache, "list", broken)
    answer = await api.get(CONFIGMAPS)
    assert (answer.code, answer.reason) == (500, "InternalError") and "secret" not in answer.message
    [record] = [r for r in caplog.records if r.levelname == "ERROR"]
    assert answer.message.rpartition(" ")[2] in record.getMessage()


async def test_more_than_fits_is_told_to_come_again() -> None:
    served = Served()
    async with asyncio.TaskGroup() as tasks, aiohttp.ClientSession() as served.session:
        await serve(served, tasks, Limits(exempt_seats=0, queued=0, watches=0))
        for path in ("/version", f"{CONFIGMAPS}?watch=1"):
            answer = await served.get(path)
            assert (answer.code, answer.reason, answer.headers["Retry-After"]) == (
                429,
                "TooManyRequests",
                "1",
            )
        assert (await served.get("/livez")).code == 200
        await end(served)


async def test_computed_objects_refuse_writes_with_a_sentence() -> None:
    def refuse(verb: str, key: Any) -> str | None:
        if key.name == "computed":
            return "this Work is computed from ResourceBinding shop/web-deployment; change the template or its policy"
        return None

    served = Served()
    async with asyncio.TaskGroup() as tasks, aiohttp.ClientSession() as served.session:
        await serve(served, tasks, refusals={("", "configmaps"): refuse})
        await served.create("/api/v1/namespaces", {"metadata": {"name": "shop"}})
        await served.create(CONFIGMAPS, configmap())
        requests = [
            served("POST", CONFIGMAPS, configmap("computed")),
            served("PUT", f"{CONFIGMAPS}/computed", configmap("computed")),
            served.patch(f"{CONFIGMAPS}/computed", {}),
            served.apply(f"{CONFIGMAPS}/computed", configmap("computed")),
            served("DELETE", f"{CONFIGMAPS}/computed"),
        ]
        for request in requests:
            answer = await request
            assert (answer.code, answer.reason) == (405, "MethodNotAllowed")
            assert "computed from ResourceBinding shop/web-deployment" in answer.message
        await end(served)


async def test_a_compressed_body_is_refused_and_does_not_grow(api: Served) -> None:
    bomb = gzip.compress(b" " * 20_000_000)
    async with api.session.post(
        api.url + CONFIGMAPS,
        data=bomb,
        headers={"Content-Encoding": "gzip", "Content-Type": "application/json"},
    ) as answer:
        assert answer.status == 400 and answer.headers["Audit-Id"]
