"""Bodies in Kubernetes' protobuf: the same object as in JSON, and never anything worse than a 400."""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.api.objects import DEPLOYMENTS
from tests.api.served import Served
from tests.kube.protobuf_wire import envelope, field, message
from towline.kube import protobuf

PROTOBUF = "application/vnd.kubernetes.protobuf"


def entry(key: str, value: bytes | str) -> bytes:
    return message((1, key), (2, value))


METADATA = message((1, "web"), (2, ""), (3, ""), (7, 0), (8, b""), (11, entry("app", "web")))
CONTAINER = message(
    (1, "main"), (2, "nginx"), (6, message((1, ""), (2, 0), (3, 80), (4, ""), (5, ""))),
    (8, message((1, entry("cpu", message((1, "500m")))))), (16, 0),
)  # fmt: skip
TEMPLATE = message((1, message((1, ""), (11, entry("app", "web")))), (2, message((2, CONTAINER), (3, ""))))
SPEC = message((1, 0), (2, message((1, entry("app", "web")))), (3, TEMPLATE), (4, message((1, ""))), (5, 0))
DEPLOYMENT = envelope(
    "apps/v1", "Deployment", message((1, METADATA), (2, SPEC), (3, message((1, 0), (2, 0))))
)


def test_zeros_that_nobody_said_are_left_out_and_pointers_to_zero_stay() -> None:
    obj = protobuf.decode(DEPLOYMENT)
    assert obj["metadata"] == {"name": "web", "labels": {"app": "web"}}
    spec = obj["spec"]
    assert spec["replicas"] == 0, "a pointer: zero is meant"
    assert "minReadySeconds" not in spec and spec["strategy"] == {}
    [container] = spec["template"]["spec"]["containers"]
    assert container == {
        "name": "main",
        "image": "nginx",
        "ports": [{"containerPort": 80}],
        "resources": {"limits": {"cpu": "500m"}},
    }


@pytest.mark.parametrize(
    ("api_version", "kind", "raw", "expected"),
    [
        ("v1", "Secret", message((2, entry("k", b"\x00\xff")), (3, "Opaque")), {"data": {"k": "AP8="}, "type": "Opaque"}),
        ("v1", "Service", message((2, message((1, message((3, 80), (4, message((1, 1), (3, "http")))))))),
         {"spec": {"ports": [{"port": 80, "targetPort": "http"}]}}),
        ("v1", "Service", message((2, message((1, message((3, 80), (4, message((1, 0), (2, 8080)))))))),
         {"spec": {"ports": [{"port": 80, "targetPort": 8080}]}}),
        ("v1", "DeleteOptions", message((1, 0), (2, message((1, "u"))), (4, "Orphan"), (5, "All")),
         {"gracePeriodSeconds": 0, "preconditions": {"uid": "u"}, "propagationPolicy": "Orphan", "dryRun": ["All"]}),
        ("v1", "Event", message((6, message((1, 1_700_000_000), (2, 0))), (8, 3)),
         {"firstTimestamp": "2023-11-14T22:13:20Z", "count": 3}),
        ("coordination.k8s.io/v1", "Lease", message((2, message((1, "me"), (2, 15), (4, message((1, 1), (2, 2000)))))),
         {"spec": {"holderIdentity": "me", "leaseDurationSeconds": 15, "renewTime": "1970-01-01T00:00:01.000002Z"}}),
        ("networking.k8s.io/v1", "Ingress",
         message((2, message((3, message((1, "a.b"), (2, message((1, message((1, message((1, "/x"))))))))))))
         , {"spec": {"rules": [{"host": "a.b", "http": {"paths": [{"path": "/x"}]}}]}}),
        ("authorization.k8s.io/v1", "SubjectAccessReview",
         message((2, message((1, message((2, "get"), (5, "pods"))), (3, "ann"), (4, "devs"), (6, "u"),
                             (5, entry("scope", message((1, "a"), (1, "b"))))))),
         {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}, "user": "ann", "groups": ["devs"],
                   "uid": "u", "extra": {"scope": ["a", "b"]}}}),
    ],
)  # fmt: skip
def test_types(api_version: str, kind: str, raw: bytes, expected: dict[str, object]) -> None:
    obj = protobuf.decode(envelope(api_version, kind, raw))
    assert (obj.pop("apiVersion"), obj.pop("kind")) == (api_version, kind)
    assert obj == expected


async def test_a_typed_client_creates(api: Served) -> None:
    made = await api("POST", DEPLOYMENTS, DEPLOYMENT, type=PROTOBUF, Accept=f"{PROTOBUF},application/json")
    assert made.code == 201 and made.body["spec"]["replicas"] == 0
    deleted = await api("DELETE", f"{DEPLOYMENTS}/web", envelope("v1", "DeleteOptions", b""), type=PROTOBUF)
    assert deleted.code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"k8s\0",
        b"{}",
        DEPLOYMENT[:-3],
        envelope("apps/v1", "Gadget", b""),
        envelope("v9", "Pod", b""),
        envelope("v1", "ConfigMap", b"\xff" * 12),
        envelope("v1", "ConfigMap", field(1, 7)),
        envelope("v1", "ConfigMap", field(2, entry("a", b"\xff"))),
        envelope("apps/v1", "ControllerRevision", field(2, field(1, "{"))),
        envelope("v1", "Event", field(6, message((1, 2**62)))),
        envelope("apps/v1", "Deployment", field(2, field(77, 1))),
    ],
)
async def test_malformed_bodies(api: Served, body: bytes) -> None:
    answer = await api("POST", DEPLOYMENTS, body, type=PROTOBUF)
    assert (answer.code, answer.reason) == (400, "BadRequest")
    assert "protobuf" in answer.message


@given(st.binary(max_size=200), st.sampled_from(["Deployment", "StatefulSet"]))
def test_any_bytes_are_an_object_or_refused(raw: bytes, kind: str) -> None:
    try:
        assert isinstance(protobuf.decode(envelope("apps/v1", kind, raw)), dict)
    except protobuf.ProtobufError:
        pass


@given(st.data())
def test_a_damaged_deployment_is_an_object_or_refused(data: st.DataObject) -> None:
    at = data.draw(st.integers(4, len(DEPLOYMENT) - 1))
    damaged = DEPLOYMENT[:at] + bytes([data.draw(st.integers(0, 255))]) + DEPLOYMENT[at + 1 :]
    try:
        assert isinstance(protobuf.decode(damaged), dict)
    except protobuf.ProtobufError:
        pass


# What kubectl's own commands make, and the kind that they send as protobuf. `run` and `expose` send JSON.
GENERATED = {
    "create namespace team-a": "Namespace",
    "create deployment web --image=nginx:1.25 --replicas=3 --port=80": "Deployment",
    "create configmap conf --from-literal=a=1 --from-file=b={binary}": "ConfigMap",
    "create secret generic sec --from-literal=user=me --from-file=b={binary}": "Secret",
    "create serviceaccount robot": "ServiceAccount",
    "create service clusterip svc --tcp=80:8080": "Service",
    "create service clusterip headless --clusterip=None --tcp=5678:web": "Service",
    "create service externalname ext --external-name=example.com": "Service",
    "create job once --image=busybox -- echo hi": "Job",
    "create cronjob tick --image=busybox '--schedule=*/5 * * * *' -- date": "CronJob",
    "create role reader --verb=get,list --resource=pods,deployments.apps": "Role",
    "create rolebinding rb --role=reader --user=jane --serviceaccount=default:robot": "RoleBinding",
    "create clusterrole agg --aggregation-rule=a.example.com/x=true": "ClusterRole",
    "create clusterrole urls --verb=get --non-resource-url=/healthz": "ClusterRole",
    "create clusterrolebinding crb --clusterrole=urls --group=devs": "ClusterRoleBinding",
    "create quota q --hard=cpu=1,memory=1Gi --scopes=BestEffort": "ResourceQuota",
    "create poddisruptionbudget few --selector=app=web --min-available=1": "PodDisruptionBudget",
    "create poddisruptionbudget half --selector=app=web --max-unavailable=50%": "PodDisruptionBudget",
    "create priorityclass none --value=0 --preemption-policy=Never": "PriorityClass",
    "create ingress ing --class=nginx --rule=a.b/x*=svc:80,tls=cert --default-backend=svc:http": "Ingress",
}  # fmt: skip


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
async def test_what_kubectl_makes_is_what_it_means(
    api: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    came: list[str] = []
    decode = protobuf.decode

    def spy(body: bytes) -> dict[str, Any]:
        obj = decode(body)
        came.append(obj["kind"])
        return obj

    monkeypatch.setattr(protobuf, "decode", spy)
    cores = asyncio.Semaphore(2)

    async def kubectl(*arguments: str) -> dict[str, Any]:
        server = ("--server", api.url, "--kubeconfig", "/dev/null", "--cache-dir", str(tmp_path / "cache"))
        async with cores:
            process = await asyncio.create_subprocess_exec(
                "kubectl", *server, "-o", "json", *arguments,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, err = await process.communicate()
        assert process.returncode == 0, f"{arguments}: {err.decode()}"
        obj: dict[str, Any] = json.loads(out)
        return obj

    async def differences(command: str) -> list[str]:
        arguments = shlex.split(command.format(binary=tmp_path / "binary"))
        meant, made = await asyncio.gather(
            kubectl("--dry-run=client", *arguments), kubectl("--dry-run=none", *arguments)
        )
        meant.pop("status", None)
        return list(lacking(meant, made))

    found = dict(zip(GENERATED, await asyncio.gather(*map(differences, GENERATED)), strict=True))
    assert {command: lines for command, lines in found.items() if lines} == {}
    assert sorted(came) == sorted(GENERATED.values())


def lacking(meant: Any, made: Any, path: str = "") -> Iterator[str]:
    """Where `made` has not what was meant. It may have more: the server's defaults."""
    if isinstance(meant, dict) and isinstance(made, dict):
        for key, value in meant.items():
            if value not in (None, {}) or key in ("matchLabels", "emptyDir"):
                yield from lacking(value, made.get(key), f"{path}.{key}")
    elif isinstance(meant, list) and isinstance(made, list) and len(meant) == len(made):
        for at, value in enumerate(meant):
            yield from lacking(value, made[at], f"{path}[{at}]")
    elif meant != made:
        yield f"{path}: {meant!r} became {made!r}"
