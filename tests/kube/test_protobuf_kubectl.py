"""The tables of protobuf numbers against what kubectl knows: it reads messages in which every field of the tables is said, and
prints them as JSON. Whatever it does not print as we read it, one of us has wrong."""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.kube.protobuf_wire import envelope, field, message
from tests.kube.test_protobuf import GONE
from towline.kube import protobuf
from towline.kube.protobuf_fields import META, PACKAGES, SHORT, Field

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")

RBAC = "rbac.authorization.k8s.io/v1"
CREATED = {
    "create namespace x": ("v1", "Namespace"),
    "create configmap x": ("v1", "ConfigMap"),
    "create secret generic x": ("v1", "Secret"),
    "create serviceaccount x": ("v1", "ServiceAccount"),
    "create service clusterip x --tcp=80": ("v1", "Service"),
    "create quota x": ("v1", "ResourceQuota"),
    "create deployment x --image=a": ("apps/v1", "Deployment"),
    "create job x --image=a": ("batch/v1", "Job"),
    "create cronjob x --image=a '--schedule=* * * * *'": ("batch/v1", "CronJob"),
    "create rolebinding x --role=r --user=u": (RBAC, "RoleBinding"),
    "create clusterrolebinding x --clusterrole=r --user=u": (RBAC, "ClusterRoleBinding"),
    "create clusterrole x --verb=get --non-resource-url=/a": (RBAC, "ClusterRole"),
    "create poddisruptionbudget x --selector=a=b --min-available=1": ("policy/v1", "PodDisruptionBudget"),
    "create priorityclass x --value=1": ("scheduling.k8s.io/v1", "PriorityClass"),
    "create ingress x --rule=a/b=c:80": ("networking.k8s.io/v1", "Ingress"),
    "auth whoami": ("authentication.k8s.io/v1", "SelfSubjectReview"),
}
"""What kubectl prints as its answer says it."""
LISTED = {
    "nodes": ("v1", "Node"), "events": ("v1", "Event"), "services": ("v1", "Service"), "pods": ("v1", "Pod"),
    "replicationcontrollers": ("v1", "ReplicationController"), "daemonsets": ("apps/v1", "DaemonSet"),
    "deployments": ("apps/v1", "Deployment"), "replicasets": ("apps/v1", "ReplicaSet"),
    "statefulsets": ("apps/v1", "StatefulSet"), "controllerrevisions": ("apps/v1", "ControllerRevision"),
}  # fmt: skip
DUMPED = list(LISTED.values())[:8]
"""What `kubectl cluster-info dump` lists."""
LATER = {
    f"{PACKAGES['v1']}.{name}" for name in
    ("PodStatus.observedGeneration", "PodCondition.observedGeneration", "Lifecycle.stopSignal", "ContainerStatus.stopSignal")
} | {f"{PACKAGES['apps/v1']}.{name}Status.terminatingReplicas" for name in ("Deployment", "ReplicaSet")}  # fmt: skip
"""Fields that kubectl 1.32 does not have."""
FIXED: Mapping[str, str | int] = {
    "LabelSelectorRequirement.key": "other", "LabelSelectorRequirement.operator": "NotIn", "LabelSelector.matchLabels": "same",
    "ObjectMeta.labels": "same", "ObjectMeta.uid": "same", "OwnerReference.uid": "same", "OwnerReference.controller": 1,
    "ControllerRevision.revision": 3,
}  # fmt: skip
"""What lets a StatefulSet own a ControllerRevision, so that kubectl shows it as of that revision."""
DISCOVERY = {
    "/version": {"major": "1", "minor": "32", "gitVersion": "v1.32.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [{"name": "apps", "versions": [{"groupVersion": "apps/v1", "version": "v1"}]}],
    },
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": []},
    "/apis/apps/v1": {
        "kind": "APIResourceList",
        "groupVersion": "apps/v1",
        "resources": [
            {
                "name": "statefulsets",
                "singularName": "statefulset",
                "namespaced": True,
                "kind": "StatefulSet",
                "verbs": ["get"],
            }
        ],
    },
}
SPECIAL = {
    f"{META}.Time": message((1, 1_700_000_000), (2, 0)),
    f"{META}.FieldsV1": message((1, '{"f:a":{}}')),
    f"{META}.MicroTime": message((1, 1_700_000_000), (2, 5000)),
    SHORT["RawExtension"]: message((1, '{"a":1}')),
    SHORT["Quantity"]: message((1, "5")),
    SHORT["IntOrString"]: message((1, 0), (2, 7), (3, "")),
    f"{PACKAGES['authentication.k8s.io/v1']}.ExtraValue": message((1, "x")),
    f"{PACKAGES['authorization.k8s.io/v1']}.ExtraValue": message((1, "x")),
}


def everything(name: str, zero: bool) -> bytes:
    """Message `name` with every field that it has, and one of everything that there may be several of; scalars are zero
    with `zero`."""
    if name in SPECIAL:
        return SPECIAL[name]
    out = b""
    one: bytes | str | int | None
    for number, said in sorted(protobuf.table()[name].items()):
        if said.name in GONE.get(name, ()) or f"{name}.{said.name}" in LATER:
            continue
        one = FIXED.get(f"{name.rpartition('.')[2]}.{said.name}")
        one = value(said, number, zero) if one is None else one
        out += field(number, message((1, "key"), (2, one)) if said.form == "map" else one)
    return out


def value(said: Field, number: int, zero: bool) -> bytes | str | int:
    zero_scalar = zero and not said.form
    if said.of_type == "string":
        return "" if zero_scalar else f"{said.name}{number}"
    if said.of_type == "bytes":
        return b"" if zero_scalar else bytes([number])
    if said.of_type in ("bool", "int32", "int64"):
        return 0 if zero_scalar else 1 if said.of_type == "bool" else number
    return everything(said.of_type, zero)


class Kubectl:
    """Runs kubectl against a server that answers everything with everything."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._cores = asyncio.Semaphore(2)
        self.zero = False

    async def __call__(self, command: str) -> str:
        async with self._cores:
            process = await asyncio.create_subprocess_exec(
                "kubectl", "--server", self.url, "--kubeconfig", "/dev/null", "--cache-dir", str(self._directory),
                "-o", "json", *shlex.split(command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, err = await process.communicate()
        assert process.returncode == 0, f"{command}: {err.decode()}"
        return out.decode()

    async def run(self, commands: Mapping[str, tuple[str, str]]) -> dict[str, str]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = "http://127.0.0.1:{1}".format(*runner.addresses[0])
            outs = await asyncio.gather(*map(self, commands), return_exceptions=True)
        finally:
            await runner.cleanup()
        for out in outs:
            if isinstance(out, BaseException):
                raise out
        return {command: str(out) for command, out in zip(commands, outs, strict=True)}

    async def _answer(self, request: web.Request) -> web.Response:
        *_, before, last = request.path.split("/")
        typed = protobuf.PROTOBUF in request.headers["Accept"]
        if request.path in DISCOVERY:
            return web.json_response(DISCOVERY[request.path])
        if request.method == "GET" and last in LISTED:
            api_version, kind = LISTED[last]
            body = self._of(api_version, kind)
            body = envelope(api_version, f"{kind}List", message((1, message((2, "1"))), (2, body)))
        elif request.method == "GET" and before in LISTED:
            api_version, kind = LISTED[before]
            if not typed:
                return web.json_response(ours(api_version, kind, self.zero))
            body = envelope(api_version, kind, self._of(api_version, kind))
        elif request.method == "GET":
            return web.Response(status=404)
        else:
            asked = protobuf.decode(await request.read())
            api_version, kind = asked["apiVersion"], asked["kind"]
            body = envelope(api_version, kind, self._of(api_version, kind))
        return web.Response(status=200, body=body, content_type=protobuf.PROTOBUF)

    def _of(self, api_version: str, kind: str) -> bytes:
        return everything(f"{PACKAGES[api_version]}.{kind}", self.zero)


def ours(api_version: str, kind: str, zero: bool) -> Any:
    obj = protobuf.decode(envelope(api_version, kind, everything(f"{PACKAGES[api_version]}.{kind}", zero)))
    obj["metadata"].pop("managedFields")  # kubectl does not show them
    return obj


def differences(we: Any, kubectl: Any, path: str = "") -> Iterator[str]:
    """JSON may also have nulls and empty objects where nothing was said."""
    if isinstance(we, dict) and isinstance(kubectl, dict):
        for key in sorted(we.keys() | kubectl.keys()):
            if key in we or kubectl[key] not in (None, {}):
                yield from differences(we.get(key), kubectl.get(key), f"{path}.{key}")
    elif isinstance(we, list) and isinstance(kubectl, list) and len(we) == len(kubectl):
        for at, item in enumerate(we):
            yield from differences(item, kubectl[at], f"{path}[{at}]")
    elif we != kubectl:
        yield f"{path}: we read {we!r}, kubectl {kubectl!r}"


@pytest.mark.parametrize("zero", [False, True], ids=["values", "zeros"])
async def test_kubectl_reads_every_field_as_we_do(tmp_path: Path, zero: bool) -> None:
    kubectl = Kubectl(tmp_path)
    kubectl.zero = zero
    outs = await kubectl.run(CREATED)
    found = {
        command: list(differences(ours(*CREATED[command], zero), json.loads(outs[command])))
        for command in CREATED
    }
    assert {command: lines for command, lines in found.items() if lines} == {}


@pytest.mark.parametrize("zero", [False, True], ids=["values", "zeros"])
async def test_kubectl_reads_every_field_of_what_it_dumps_as_we_do(tmp_path: Path, zero: bool) -> None:
    kubectl = Kubectl(tmp_path / "cache")
    kubectl.zero = zero
    into = tmp_path / "dump"
    await kubectl.run({f"cluster-info dump --namespaces=default --output-directory={into}": ("", "")})
    found: dict[str, list[str]] = {}
    for api_version, kind in DUMPED:
        [path] = (
            into.rglob(f"{kind.lower()}s.json")
            if kind != "ReplicationController"
            else into.rglob("repl*rs.json")
        )
        [item] = json.loads(path.read_text())["items"]
        we = ours(api_version, kind, zero)
        we = {key: part for key, part in we.items() if key not in ("apiVersion", "kind")}
        found[kind] = list(differences(we, item))
    assert {kind: lines for kind, lines in found.items() if lines} == {}


@pytest.mark.parametrize("zero", [False, True], ids=["values", "zeros"])
async def test_kubectl_reads_every_field_of_a_statefulset_as_we_do(tmp_path: Path, zero: bool) -> None:
    kubectl = Kubectl(tmp_path)
    kubectl.zero = zero
    command = "rollout history statefulset x --revision=3"
    out = (await kubectl.run({command: ("apps/v1", "StatefulSet")}))[command]
    assert list(differences(ours("apps/v1", "StatefulSet", zero), json.loads(out))) == []
