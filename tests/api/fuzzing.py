"""Mutated requests, and what must hold whatever they are: no answer is a 500, nothing raises, nothing acknowledged is lost.

One generator serves hypothesis (which shrinks), atheris (which follows coverage) and plain seeds, because all it asks for is a
`random.Random`:

    python -m tests.api.fuzzing --requests 1000000 --seed 1     # as many as one likes, a line of counts every round
    python -m tests.api.fuzzing --atheris                       # coverage-guided, until stopped
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import json
import random
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from tests.api.objects import CRDS, crd, deployment, policy, widget
from tests.api.served import ADMIN, Served, end, serve
from towline.hub.api import paths, requests
from towline.hub.api.requests import Call, Reply
from towline.hub.api.status import StatusError
from towline.hub.store.cache import Cache
from towline.kube.objects import Key

ROUND_REQUESTS = 2_000
"""Requests to one server before a fresh one takes its place."""

SHOP = "/namespaces/shop/"
GOOD: dict[str, dict[str, Any]] = {
    f"/apis/apps/v1{SHOP}deployments": deployment("x", labels={"a": "b"}),
    f"/api/v1{SHOP}services": {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "x", "annotations": {"a": "b"}},
        "spec": {"selector": {"a": "b"}, "ports": [{"port": 80, "targetPort": "http", "name": "p"}]},
    },
    f"/api/v1{SHOP}secrets": {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "stringData": {"a": "b"}, "type": "Opaque"},
    f"/api/v1{SHOP}configmaps": {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "finalizers": ["example.com/f"]}, "data": {"a": "b"}},
    "/api/v1/namespaces": {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}, "spec": {"finalizers": ["kubernetes"]}},
    f"/apis/batch/v1{SHOP}cronjobs": {
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "x"},
        "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}},
    },
    "/apis/rbac.authorization.k8s.io/v1/clusterroles": {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "x"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]},
    },
    f"/apis/policy.karmada.io/v1alpha1{SHOP}propagationpolicies": policy("x"),
    "/apis/policy.karmada.io/v1alpha1/clusterpropagationpolicies": {**policy("x"), "kind": "ClusterPropagationPolicy"},
    "/apis/cluster.karmada.io/v1alpha1/clusters": {
        "apiVersion": "cluster.karmada.io/v1alpha1", "kind": "Cluster", "metadata": {"name": "x"},
        "spec": {"syncMode": "Pull", "region": "r", "zones": ["z"], "taints": [{"key": "a", "effect": "NoSchedule"}]},
    },
    f"/apis/work.karmada.io/v1alpha2{SHOP}resourcebindings": {
        "apiVersion": "work.karmada.io/v1alpha2", "kind": "ResourceBinding", "metadata": {"name": "x"},
        "spec": {"resource": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x", "namespace": "shop"},
                 "clusters": [{"name": "m1", "replicas": 1}]},
    },
    f"/apis/example.com/v1{SHOP}widgets": widget("x"),
    CRDS: crd("other.example.com"),
}  # fmt: skip
_PLACES = sorted(GOOD)

_VERBS = (
    "create",
    "create",
    "create",
    "update",
    "update",
    "json",
    "merge",
    "merge",
    "strategic",
    "apply",
    "apply",
    "delete",
    "get",
    "list",
    "deletecollection",
)
_BELOW = ("", "", "", "", "", "", "", "", "/status", "/status", "/scale", "/finalize", "/nothing")

JSON = "application/json"
MEDIA = {
    "create": JSON,
    "update": JSON,
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
    "delete": JSON,
}
_METHODS = {"create": "POST", "update": "PUT", "delete": "DELETE"}
_ACCEPTS = (
    JSON, "application/json;as=Table;v=v1;g=meta.k8s.io,application/json", "application/yaml", "text/html", "*/*", "",
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", "application/json;q=0.1;as=Table;v=v9;g=x",
)  # fmt: skip
_QUERIES: dict[str, tuple[str, ...]] = {
    "fieldManager": ("m", "", "x" * 200, "\x01", "kubectl"),
    "fieldValidation": ("Ignore", "Warn", "Strict", "Perhaps", ""),
    "dryRun": ("All", "Some", ""),
    "force": ("true", "false", "1", "maybe"),
    "propagationPolicy": ("Background", "Foreground", "Orphan", "Sideways"),
    "orphanDependents": ("true", "x"),
    "gracePeriodSeconds": ("0", "-1", "9" * 30),
    "labelSelector": ("a=b", "a in (b,c),!d", "a==", "((", "a notin ()", "\u00e9=1", "a=b,,"),
    "fieldSelector": ("metadata.name=x", "metadata.name!=x", "spec.a=1", "=", "metadata.namespace=shop,metadata.name=x"),
    "limit": ("1", "0", "-1", "x", "500"),
    "continue": ("abc", "e30=", "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJ4In0", "%%%"),
    "resourceVersion": ("0", "1", "5", "abc", "9" * 25, "-1"),
    "resourceVersionMatch": ("Exact", "NotOlderThan", "Perhaps"),
    "includeObject": ("None", "Object", "Metadata", "All"),
    "timeoutSeconds": ("1", "x"),
    "pretty": ("true", "1"),
}  # fmt: skip
_SCALARS: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**40, -(2**63), 2**64, 1.5, 1e300, "", "x", "-1", "a/b", "$patch", "delete", "replace", "merge",
    "2020-01-01T00:00:00Z", "1Gi", "100m", "1e400", "80%", "\x00", "\u00e9\u0301", "\U0001f600", "x" * 300, "[", "(?", "kube-system",
)  # fmt: skip
_NAMES = (
    "name", "spec", "$patch", "$retainKeys", "$setElementOrder/containers", "$deleteFromPrimitiveList/finalizers", "key", "kind", "f:a", "metadata",
    "labels", "annotations", "finalizers", "ownerReferences", "managedFields", "resourceVersion", "uid", "status", "apiVersion", "x-kubernetes-x",
    "default", "properties", "items", "selector", "", "a.b", "\u00e9", "generateName", "namespace", "deletionTimestamp",
)  # fmt: skip
_POINTERS = (
    "",
    "/",
    "/metadata",
    "/metadata/name",
    "/spec",
    "/spec/replicas",
    "/kind",
    "/spec/-",
    "/a~2",
    "/metadata/labels/a",
    "/metadata/finalizers/0",
    7,
)


@dataclass(frozen=True)
class Request:
    """`verb`: one of MEDIA, get, list, deletecollection."""

    method: str
    path: str
    query: dict[str, str]
    accept: str
    media: str
    body: bytes


@dataclass
class Tally:
    codes: Counter[int] = field(default_factory=Counter)
    acknowledged: int = 0


# --- making ----------------------------------------------------------------------------------------------------


def request(draw: random.Random) -> Request:
    """One request: a good one with some of its parts spoilt."""
    path = draw.choice(_PLACES)
    verb = draw.choice(_VERBS)
    name = draw.choice(("x", "x", "x", "x", "y", "y", "z", "UPPER", "kube-system"))
    query = {
        key: draw.choice(_QUERIES[key])
        for key in draw.sample(sorted(_QUERIES), draw.choice((0, 0, 0, 0, 1, 1, 2, 4)))
    }
    body = b""
    if verb == "json":
        body = _encoded(draw, [_operation(draw) for _ in range(draw.randrange(4))])
    elif verb == "delete":
        if draw.random() < 0.3:
            options = {
                "kind": "DeleteOptions",
                "apiVersion": "v1",
                "preconditions": {"uid": "x"},
                "propagationPolicy": "Foreground",
            }
            body = _encoded(draw, _spoilt(draw, options))
    elif verb in MEDIA:
        obj = copy.deepcopy(GOOD[path])
        obj["metadata"]["name"] = name
        if verb == "apply":
            query.setdefault("fieldManager", "m")
        if draw.random() < 0.1:
            obj.pop("spec", None)
        body = _encoded(draw, _spoilt(draw, obj))
    if verb not in ("create", "list", "deletecollection"):
        path += f"/{name}" + draw.choice(_BELOW)
    method = _METHODS.get(verb) or {"get": "GET", "list": "GET", "deletecollection": "DELETE"}.get(
        verb, "PATCH"
    )
    if method == "DELETE" and verb == "deletecollection":
        query.setdefault("labelSelector", "a=b")
    media = MEDIA.get(verb, "")
    if draw.random() < 0.03:
        media = draw.choice(
            (
                "application/vnd.kubernetes.protobuf",
                "text/plain",
                "",
                "application/yaml",
                "application/json; charset=x",
            )
        )
    return Request(method, path, query, draw.choice(_ACCEPTS) if draw.random() < 0.2 else JSON, media, body)


def _spoilt(draw: random.Random, obj: Any) -> Any:
    for _ in range(draw.choice((0, 0, 1, 1, 1, 2, 3))):
        parent, at = obj, None
        while isinstance(parent, dict | list) and parent:
            at = draw.choice(sorted(parent)) if isinstance(parent, dict) else draw.randrange(len(parent))
            if not isinstance(parent[at], dict | list) or not parent[at] or draw.random() < 0.25:
                break
            parent = parent[at]
        if at is None or not isinstance(parent, dict | list) or not parent:
            continue
        change = draw.randrange(4)
        if change == 0:
            del parent[at]
        elif change == 1 and isinstance(parent, dict):
            parent[draw.choice(_NAMES)] = _value(draw, 3)
        elif change == 1 and isinstance(parent, list):
            parent.append(draw.choice((copy.deepcopy(parent[at]), _value(draw, 3))))
        else:
            parent[at] = _value(draw, 3)
    return obj


def _value(draw: random.Random, depth: int) -> Any:
    shape = draw.randrange(6) if depth else 0
    if shape == 4:
        return [_value(draw, depth - 1) for _ in range(draw.randrange(3))]
    if shape == 5:
        return {draw.choice(_NAMES): _value(draw, depth - 1) for _ in range(draw.randrange(3))}
    return draw.choice(_SCALARS)


def _operation(draw: random.Random) -> Any:
    made: dict[str, Any] = {"op": draw.choice(("add", "remove", "replace", "move", "copy", "test", "what"))}
    for name, make in (
        ("path", lambda: draw.choice(_POINTERS)),
        ("from", lambda: draw.choice(_POINTERS)),
        ("value", lambda: _value(draw, 2)),
    ):
        if draw.random() < 0.8:
            made[name] = make()
    return made


def _encoded(draw: random.Random, value: Any) -> bytes:
    """The body; now and then with bytes that are no JSON, or no text."""
    body = json.dumps(value).encode()
    if draw.random() < 0.05 and body:
        at = draw.randrange(len(body))
        body = (
            body[:at]
            + draw.choice((b"", b"\xff", b'"', b"{", b"\x00", b",,"))
            + body[at + draw.randrange(3) :]
        )
    return body


# --- judging ---------------------------------------------------------------------------------------------------


async def play(made: list[Request], tally: Tally) -> None:
    """Send them to a fresh server. Raises AssertionError, or whatever the server should have caught."""
    served = Served()
    async with asyncio.TaskGroup() as tasks, aiohttp.ClientSession() as served.session:
        await serve(served, tasks)
        try:
            await served.create("/api/v1/namespaces", {"metadata": {"name": "shop"}})
            await served.create(CRDS, crd())
            for path, good in GOOD.items():
                await served.create(path, good)
            for one in made:
                await _send(served, one, tally)
            await _kept(served)
        finally:
            await end(served)


async def _send(served: Served, one: Request, tally: Tally) -> None:
    try:
        at = paths.attributes(one.method, one.path, one.query)
        call = Call(ADMIN, at, one.query, one.accept, one.media, "fuzz/1", one.body)
        reply = await requests.answer(served.server.engine, call)
    except StatusError as error:
        assert error.code < 500 or error.code == 504, (one, error)  # 504: a revision from the future
        json.loads(error.encoded())
        tally.codes[error.code] += 1
        return
    tally.codes[reply.code] += 1
    if call.attributes.verb in ("create", "update", "patch") and not one.query.get("dryRun"):
        _acknowledged(served, one, reply, tally)


def _acknowledged(served: Served, one: Request, reply: Reply, tally: Tally) -> None:
    """What was answered with a success shows at once, at that revision."""
    if one.path.endswith("/scale") or not reply.body.startswith(b"{"):
        return
    obj = orjson.loads(reply.body)
    metadata = obj.get("metadata") or {}
    if "uid" not in metadata or obj.get("kind") in ("Table", "PartialObjectMetadata"):
        return
    at = paths.attributes(one.method, one.path, {})
    entry = served.cache.get(Key(at.group, at.resource, metadata.get("namespace", ""), metadata["name"]))
    gone = metadata.get("deletionTimestamp") and not metadata.get("finalizers")
    tally.acknowledged += 1
    if entry is None:
        assert gone, one
    else:
        assert entry.object["metadata"]["resourceVersion"] == metadata["resourceVersion"], one


async def _kept(served: Served) -> None:
    """Another server on the same store shows the same objects: nothing lives in this one's memory alone."""
    other = Cache(served.store, served.kinds)
    started = asyncio.Event()
    following = asyncio.get_running_loop().create_task(other.run(started))
    try:
        await started.wait()
        for group, resource in served.cache.counts():
            ours = {entry.key: entry.value for entry in served.cache.list(group, resource)}
            assert {entry.key: entry.value for entry in other.list(group, resource)} == ours
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


# --- by hand ---------------------------------------------------------------------------------------------------


class FromBytes(random.Random):
    """Draws decided by a fuzzer's bytes, so that it can steer."""

    def __init__(self, take: Callable[[int], int]) -> None:
        super().__init__(0)
        self._take = take

    def random(self) -> float:
        return self.getrandbits(16) / 65536

    def getrandbits(self, k: int, /) -> int:
        return self._take(k)


def _seeded(count: int, seed: int) -> None:
    tally, done = Tally(), 0
    while done < count:
        draw = random.Random(seed)
        made = [request(draw) for _ in range(min(ROUND_REQUESTS, count - done))]
        try:
            asyncio.run(play(made, tally))
        except BaseException:
            print(f"seed {seed} fails", file=sys.stderr)
            raise
        done, seed = done + len(made), seed + 1
        if done % (ROUND_REQUESTS * 25) == 0 or done >= count:
            codes = " ".join(f"{code}:{times}" for code, times in sorted(tally.codes.items()))
            print(f"{done} requests, {tally.acknowledged} acknowledged writes checked; {codes}", flush=True)


def _coverage_guided(arguments: list[str]) -> None:
    import atheris  # type: ignore[import-untyped,unused-ignore]

    def one(data: bytes) -> None:
        provider = atheris.FuzzedDataProvider(data)
        draw = FromBytes(lambda bits: provider.ConsumeIntInRange(0, (1 << bits) - 1))
        asyncio.run(play([request(draw) for _ in range(20)], Tally()))

    atheris.instrument_all()
    atheris.Setup([sys.argv[0], *arguments], one)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description="Mutated requests to the API engine.")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--atheris", action="store_true", help="guided by coverage; further arguments go to libFuzzer"
    )
    options, rest = parser.parse_known_args()
    if options.atheris:
        _coverage_guided(rest)
    else:
        _seeded(options.requests, options.seed)


if __name__ == "__main__":
    main()
