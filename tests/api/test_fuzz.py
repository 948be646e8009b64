"""Whatever a client sends, the answer is an object or a Status that is not a 500."""

from __future__ import annotations

import asyncio
import copy
import json
from typing import Any

import aiohttp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.objects import CRDS, crd, deployment, policy, widget
from tests.api.served import ADMIN, Served, end, serve
from towline.hub.api import paths, requests
from towline.hub.api.authentication import masters_only
from towline.hub.api.requests import Call
from towline.hub.api.status import StatusError

BASE: dict[str, dict[str, Any]] = {
    "/apis/apps/v1/namespaces/shop/deployments": deployment("x", labels={"a": "b"}),
    "/api/v1/namespaces/shop/services": {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "x", "annotations": {"a": "b"}},
        "spec": {"selector": {"a": "b"}, "ports": [{"port": 80, "targetPort": "http", "name": "p"}]},
    },
    "/api/v1/namespaces/shop/secrets": {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "stringData": {"a": "b"}, "type": "Opaque"},
    "/api/v1/namespaces": {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}, "spec": {"finalizers": ["kubernetes"]}},
    "/apis/batch/v1/namespaces/shop/cronjobs": {
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "x"},
        "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}},
    },
    "/apis/policy.karmada.io/v1alpha1/namespaces/shop/propagationpolicies": policy("x"),
    "/apis/policy.karmada.io/v1alpha1/clusterpropagationpolicies": {
        **policy("x"), "kind": "ClusterPropagationPolicy"},
    "/apis/cluster.karmada.io/v1alpha1/clusters": {
        "apiVersion": "cluster.karmada.io/v1alpha1", "kind": "Cluster", "metadata": {"name": "x"},
        "spec": {"syncMode": "Pull", "region": "r", "zones": ["z"], "taints": [{"key": "a", "effect": "NoSchedule"}]},
    },
    "/apis/work.karmada.io/v1alpha2/namespaces/shop/resourcebindings": {
        "apiVersion": "work.karmada.io/v1alpha2", "kind": "ResourceBinding", "metadata": {"name": "x"},
        "spec": {"resource": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x", "namespace": "shop"},
                 "clusters": [{"name": "m1", "replicas": 1}]},
    },
    "/apis/example.com/v1/namespaces/shop/widgets": widget("x"),
    CRDS: crd("other.example.com"),
}  # fmt: skip

TYPES = {
    "POST": "application/json",
    "PUT": "application/json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6) | st.sampled_from(["", "x", "-1", "a/b", "$patch", "merge", "delete", "2020-01-01T00:00:00Z"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.text(max_size=4)
        | st.sampled_from(["name", "spec", "$patch", "$retainKeys", "$setElementOrder/containers", "key", "kind", "f:a"]),
        inner, max_size=3,
    ),
    max_leaves=6,
)  # fmt: skip


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(node, dict):
        for key, child in node.items():
            found += places(child, (*path, key))
    elif isinstance(node, list):
        for index, child in enumerate(node):
            found += places(child, (*path, index))
    return found


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, str, Any]:
    """(path, kind of write, body): a good object with up to three of its parts replaced, removed or joined by others."""
    path = draw(st.sampled_from(sorted(BASE)))
    obj = copy.deepcopy(BASE[path])
    if draw(st.integers(0, 3)) == 0:
        managed = {
            "manager": "m",
            "operation": "Apply",
            "apiVersion": "v1",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {}},
        }
        obj["metadata"]["managedFields"] = [managed]
    if draw(st.integers(0, 3)) == 0:
        obj["status"] = {"conditions": [{"type": "A", "status": "True"}]}
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(places(obj)))
        if not place:
            continue
        parent = obj
        for part in place[:-1]:
            parent = parent[part]
        change = draw(st.sampled_from(["replace", "remove", "add"]))
        if change == "remove":
            del parent[place[-1]]
        elif change == "replace":
            parent[place[-1]] = draw(json_values)
        elif isinstance(parent, dict):
            parent[draw(st.text(max_size=5))] = draw(json_values)
        else:
            parent.append(draw(json_values))
    return path, draw(st.sampled_from([*TYPES, "status", "scale"])), obj


async def send(served: Served, path: str, write: str, body: bytes, query: dict[str, str]) -> None:
    """Raises whatever is not a Status below 500."""
    method = write if write in ("POST", "PUT") else "PATCH"
    media = TYPES.get(write, TYPES["merge"])
    url = path if method == "POST" else f"{path}/x"
    if write in ("status", "scale"):
        url += f"/{write}"
    try:
        at = paths.attributes(method, url, query)
        call = Call(ADMIN, at, query, "application/json", media, "fuzz/1", body)
        reply = await requests.answer(served.server.engine, call, masters_only)
        assert json.loads(reply.body)["kind"]
    except StatusError as error:
        assert error.code < 500, error
        json.loads(error.encoded())


async def run(cases: list[tuple[str, str, Any]]) -> None:
    served = Served()
    async with asyncio.TaskGroup() as tasks, aiohttp.ClientSession() as served.session:
        await serve(served, tasks)
        try:
            await served.create("/api/v1/namespaces", {"metadata": {"name": "shop"}})
            await served.create(CRDS, crd())
            for path, good in BASE.items():
                answer = await served("POST", path, good)
                assert answer.code == 201, answer.body
            for path, write, body in cases:
                query = {"fieldManager": "m", "fieldValidation": "Ignore"} | (
                    {"force": "true"} if write == "apply" else {}
                )
                await send(served, path, write, json.dumps(body).encode(), query)
                # What is stored can be read in every form.
                for accept in ("application/json", "application/json;as=Table;v=v1;g=meta.k8s.io"):
                    call = Call(ADMIN, paths.attributes("GET", path, {}), {}, accept)
                    if served.kinds.resource(
                        call.attributes.group, call.attributes.version, call.attributes.resource
                    ):
                        await requests.answer(served.server.engine, call, masters_only)
        finally:
            await end(served)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(mutated(), min_size=1, max_size=30))
def test_mutated_objects(cases: list[tuple[str, str, Any]]) -> None:
    asyncio.run(run(cases))


operations = st.lists(
    st.fixed_dictionaries(
        {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "what"])},
        optional={
            "path": st.sampled_from(["", "/", "/metadata", "/metadata/name", "/spec", "/spec/replicas", "/kind", "/spec/-", "/a~2", "/metadata/labels/a", 7]),
            "from": st.sampled_from(["", "/spec", "/metadata", "/spec/template/spec/containers/0"]),
            "value": json_values,
        },
    ),
    max_size=4,
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(operations, min_size=1, max_size=20))
def test_json_patches(patches: list[Any]) -> None:
    async def go() -> None:
        served = Served()
        async with asyncio.TaskGroup() as tasks, aiohttp.ClientSession() as served.session:
            await serve(served, tasks)
            try:
                await served.create("/api/v1/namespaces", {"metadata": {"name": "shop"}})
                path = "/apis/apps/v1/namespaces/shop/deployments"
                await served.create(path, deployment("x"))
                for patch in patches:
                    at = paths.attributes("PATCH", f"{path}/x", {})
                    media = "application/json-patch+json"
                    call = Call(ADMIN, at, {}, "", media, "fuzz/1", json.dumps(patch).encode())
                    try:
                        await requests.answer(served.server.engine, call, masters_only)
                    except StatusError as error:
                        assert error.code < 500, error
            finally:
                await end(served)

    asyncio.run(go())


WEIRD = ["%ff", "%00", "a%2Fb", "%F0%9F%98%80", "a%0D%0Ab", "x" * 300, "%ED%A0%80"]


async def test_weird_urls_and_headers(api: Served) -> None:
    for text in WEIRD:
        for path in (
            f"/api/v1/namespaces/{text}",
            f"/api/v1/namespaces/shop/configmaps/{text}",
            f"/apis/{text}/v1/x/y",
        ):
            for method, body in (("GET", None), ("DELETE", None), ("PUT", {"metadata": {}})):
                answer = await api(method, path, body)
                assert 400 <= answer.code < 500, (method, path, answer.body)
        for query in ("labelSelector", "fieldSelector", "resourceVersion", "fieldManager", "watch", "limit"):
            answer = await api.get(f"/api/v1/configmaps?{query}={text}&timeoutSeconds=1")
            assert answer.code < 500, (query, text)
    made = await api(
        "POST", "/api/v1/namespaces/shop/configmaps", {"metadata": {"name": "u"}}, User_Agent="b\u00e9d/1"
    )
    assert made.code == 201
