"""The real kubectl against a server in the process, over TLS with a client certificate."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import json
import os
import shutil
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.api.objects import configmap, crd, deployment, policy, widget
from tests.api.served import Served, end, serve
from towline.hub.api.authentication import certificates_and_tokens
from towline.hub.api.user import SYSTEM, User

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed"),
]


@dataclass
class Result:
    code: int
    out: str
    err: str


class Kubectl:
    def __init__(self, served: Served, folder: Path) -> None:
        self.served = served
        self.folder = folder
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "KUBECONFIG": str(folder / "kubeconfig"),
            "KUBECACHEDIR": str(folder / "cache"),
        }

    async def run(self, *arguments: str, stdin: Any = None, **environment: str) -> Result:
        process = await asyncio.create_subprocess_exec(
            "kubectl", *arguments,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=self.environment | environment,
        )  # fmt: skip
        text = None if stdin is None else (stdin if isinstance(stdin, str) else json.dumps(stdin)).encode()
        async with asyncio.timeout(30):
            out, err = await process.communicate(text)
        return Result(process.returncode or 0, out.decode(), err.decode())

    async def __call__(self, *arguments: str, stdin: Any = None, **environment: str) -> str:
        result = await self.run(*arguments, stdin=stdin, **environment)
        assert result.code == 0, f"kubectl {' '.join(arguments)}: {result.err}"
        return result.out

    async def json(self, *arguments: str) -> Any:
        return json.loads(await self(*arguments, "-o", "json"))


def issue(
    name: x509.Name, ca: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None, **names: Any
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(ca[0].subject if ca else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=ca is None, path_length=None), critical=True)
    )
    if ca is not None:
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names["hosts"]), critical=False)
    return builder.sign(ca[1] if ca else key, hashes.SHA256()), key


def subject(common: str, *organizations: str) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    attributes += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in organizations]
    return x509.Name(attributes)


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def write_kubeconfig(folder: Path, url: str, ca: bytes, users: dict[str, dict[str, Any]]) -> None:
    def encoded(data: bytes) -> str:
        return base64.b64encode(data).decode()

    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "admin",
        "clusters": [{"name": "hub", "cluster": {"server": url, "certificate-authority-data": encoded(ca)}}],
        "users": [{"name": name, "user": user} for name, user in users.items()],
        "contexts": [
            {"name": name, "context": {"cluster": "hub", "user": name, "namespace": "shop"}} for name in users
        ],
    }
    (folder / "kubeconfig").write_text(yaml.safe_dump(config))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kubectl(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kubectl]:
    folder = tmp_path_factory.mktemp("kubectl")
    ca = issue(subject("throwaway"), None)
    server = issue(subject("hub"), ca, hosts=[x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    (folder / "server.pem").write_bytes(pem(server[0]) + key_pem(server[1]))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.minimum_version = ssl.TLSVersion.TLSv1_3
    tls.verify_mode = ssl.CERT_OPTIONAL
    tls.load_verify_locations(cadata=pem(ca[0]).decode())
    tls.load_cert_chain(folder / "server.pem")

    def user(common: str, *organizations: str) -> dict[str, Any]:
        certificate, key = issue(subject(common, *organizations), ca)
        return {
            "client-certificate-data": base64.b64encode(pem(certificate)).decode(),
            "client-key-data": base64.b64encode(key_pem(key)).decode(),
        }

    served = Served()

    async def known(token: str) -> User | None:
        return SYSTEM if token == "s3cret" else None

    authenticate = certificates_and_tokens(known)
    async with asyncio.TaskGroup() as tasks, aiohttp.ClientSession() as served.session:
        await serve(served, tasks, authenticate=authenticate, tls=tls)
        write_kubeconfig(
            folder,
            served.url,
            pem(ca[0]),
            {"admin": user("root", "system:masters"), "jane": user("jane"), "nobody": {},
             "robot": {"token": "s3cret"}, "stranger": {"token": "wrong"}},
        )  # fmt: skip
        run = Kubectl(served, folder)
        await run("create", "namespace", "shop")
        await run("create", "-f", "-", stdin=crd())
        yield run
        await end(served)


OBJECTS = {
    "deployments.apps": deployment("tour"),
    "widgets": widget("tour"),
    "propagationpolicies": policy("tour"),
}


@pytest.mark.parametrize("resource", OBJECTS)
async def test_the_tour(kubectl: Kubectl, resource: str) -> None:
    """Every command that changes or shows one object, for a built-in kind, a custom one, and one of Karmada's."""
    manifest = OBJECTS[resource]
    name = f"{resource}/tour"
    assert "created" in await kubectl("create", "-f", "-", stdin=manifest)
    again = await kubectl.run("create", "-f", "-", stdin=manifest)
    assert again.code == 1 and "AlreadyExists" in again.err
    assert "configured" in await kubectl("apply", "-f", "-", stdin=manifest)
    assert "unchanged" in await kubectl("apply", "-f", "-", stdin=manifest)
    assert (await kubectl("diff", "-f", "-", stdin=manifest)) == ""
    await kubectl("label", name, "tier=front")
    await kubectl("annotate", name, "example.com/note=hello")
    await kubectl("patch", name, "--type=merge", "-p", '{"metadata":{"labels":{"merged":"1"}}}')
    await kubectl(
        "patch", name, "--type=json", "-p", '[{"op":"add","path":"/metadata/labels/added","value":"1"}]'
    )
    labels = (await kubectl.json("get", name))["metadata"]["labels"]
    assert labels.items() >= {"tier": "front", "merged": "1", "added": "1"}.items()
    await kubectl("label", name, "tier-")

    kind = manifest["kind"].lower()
    group = manifest["apiVersion"].partition("/")[0]
    assert await kubectl("get", resource, "tour", "-o", "name") == f"{kind}.{group}/tour\n"
    assert yaml.safe_load(await kubectl("get", name, "-o", "yaml"))["metadata"]["name"] == "tour"
    for arguments in (
        [],
        ["-o", "wide"],
        ["-A"],
        ["-l", "merged=1"],
        ["--field-selector", "metadata.name=tour"],
    ):
        shown = await kubectl("get", resource, *arguments)
        assert "NAME" in shown and "tour" in shown
    assert "tour" not in await kubectl("get", resource, "-l", "merged=2")
    assert "tour" not in await kubectl("get", resource, "--field-selector", "metadata.name=other")
    described = await kubectl("describe", resource, "tour")
    assert "tour" in described and "hello" in described

    await kubectl("edit", name, KUBE_EDITOR="sed -i s/hello/edited/")
    assert (await kubectl.json("get", name))["metadata"]["annotations"]["example.com/note"] == "edited"
    await kubectl("apply", "--server-side", "-f", "-", stdin=manifest)
    managers = {
        e["manager"]
        for e in (await kubectl.json("get", name, "--show-managed-fields"))["metadata"]["managedFields"]
    }
    assert "kubectl" in managers

    await kubectl("patch", name, "--type=merge", "-p", '{"metadata":{"finalizers":["example.com/hold"]}}')
    await kubectl("delete", name, "--wait=false")
    held = await kubectl.json("get", name)
    assert held["metadata"]["deletionTimestamp"]
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(kubectl("delete", name, "--wait=true"))
        await kubectl.served.until_audited(2, verb="delete", resource=resource.partition(".")[0], name="tour")
        await kubectl("patch", name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    assert "deleted" in waiting.result()
    gone = await kubectl.run("get", name)
    assert gone.code == 1 and "NotFound" in gone.err


async def test_scale_and_strategic_patches(kubectl: Kubectl) -> None:
    await kubectl("create", "deployment", "scaled", "--image=nginx", "--replicas=1")
    assert "scaled" in await kubectl("scale", "deployment", "scaled", "--replicas=4")
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "busybox"}]}}}}
    await kubectl("patch", "deployment", "scaled", "-p", json.dumps(patch))
    await kubectl("set", "image", "deployment/scaled", "side=busybox:2")
    obj = await kubectl.json("get", "deployment", "scaled")
    assert obj["spec"]["replicas"] == 4
    images = {c["name"]: c["image"] for c in obj["spec"]["template"]["spec"]["containers"]}
    assert images == {"nginx": "nginx", "side": "busybox:2"}
    await kubectl("create", "-f", "-", stdin=widget("scaled", replicas=1))
    await kubectl("scale", "widget", "scaled", "--replicas=2")
    assert (await kubectl.json("get", "widget", "scaled"))["spec"]["replicas"] == 2
    await kubectl("delete", "deployment/scaled", "widget/scaled")


async def test_generated_objects(kubectl: Kubectl) -> None:
    """What kubectl makes itself goes as protobuf."""
    for arguments in (
        ["configmap", "made", "--from-literal=a=b"],
        ["secret", "generic", "made", "--from-literal=a=b"],
        ["service", "clusterip", "made", "--tcp=80:8080"],
        ["job", "made", "--image=busybox"],
        ["cronjob", "made", "--image=busybox", "--schedule=* * * * *"],
        ["ingress", "made", "--rule=a.example.com/x=made:80"],
        ["serviceaccount", "made"],
        ["role", "made", "--verb=get", "--resource=pods"],
        ["rolebinding", "made", "--role=made", "--user=jane"],
        ["quota", "made", "--hard=pods=2"],
        ["poddisruptionbudget", "made", "--selector=a=b", "--min-available=50%"],
    ):
        assert "created" in await kubectl("create", *arguments)
    assert (await kubectl.json("get", "secret", "made"))["data"] == {"a": "Yg=="}
    service = await kubectl.json("get", "service", "made")
    assert service["spec"]["ports"] == [
        {"name": "80-8080", "port": 80, "protocol": "TCP", "targetPort": 8080}
    ]
    assert "<none>" in await kubectl("describe", "ingress", "made")


async def test_watching(kubectl: Kubectl) -> None:
    await kubectl("create", "-f", "-", stdin=configmap("watched"))
    process = await asyncio.create_subprocess_exec(
        "kubectl", "get", "configmap", "watched", "-w", "--output-watch-events",
        stdout=asyncio.subprocess.PIPE, env=kubectl.environment,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            assert b"NAME" in await process.stdout.readline()
            assert (await process.stdout.readline()).split()[:3] == [b"ADDED", b"watched", b"1"]
            await kubectl("patch", "configmap", "watched", "-p", '{"data":{"b":"2"}}')
            assert (await process.stdout.readline()).split()[:3] == [b"MODIFIED", b"watched", b"2"]
            await kubectl("delete", "configmap", "watched")
            assert (await process.stdout.readline()).split()[:3] == [b"DELETED", b"watched", b"2"]
    finally:
        process.kill()
        await process.wait()


async def test_waiting(kubectl: Kubectl) -> None:
    await kubectl("wait", "--for=condition=Established", "crd/widgets.example.com", "--timeout=5s")


async def test_api_resources_and_versions(kubectl: Kubectl) -> None:
    shown = await kubectl("api-resources")
    for line in (
        ["deployments", "deploy", "apps/v1", "true", "Deployment"],
        ["widgets", "wd", "example.com/v1", "true", "Widget"],
        ["propagationpolicies", "pp", "policy.karmada.io/v1alpha1", "true", "PropagationPolicy"],
        ["clusters", "cluster.karmada.io/v1alpha1", "false", "Cluster"],
    ):
        assert line in [row.split() for row in shown.splitlines()]
    assert "widgets.example.com" in await kubectl("api-resources", "--categories=things", "-o", "name")
    assert "policy.karmada.io/v1alpha1" in await kubectl("api-versions")
    assert "Server Version" in await kubectl("version")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("deployment.spec.replicas", "FIELD: replicas <integer>"),
        ("deployment.spec.template.spec.containers", "FIELD: containers <[]Container>"),
        ("widget.spec.size", "How large."),
        ("widgets", "GROUP:      example.com"),
        ("propagationpolicy.spec.placement.clusterAffinity", "clusterNames"),
        ("cluster.spec", "syncMode"),
        ("crd.spec", "versions"),
    ],
)
async def test_explain(kubectl: Kubectl, path: str, says: str) -> None:
    assert says in await kubectl("explain", path)


@pytest.mark.parametrize(
    ("path", "says"),
    [("deployment.spec.template.spec.containers", "imagePullPolicy"), ("propagationpolicy.spec", "placement"),
     ("crd.spec.names", "shortNames")],
)  # fmt: skip
async def test_explain_by_the_older_document(kubectl: Kubectl, path: str, says: str) -> None:
    """Which Go clients take only in protobuf."""
    assert says in await kubectl("explain", path, "--output=plaintext-openapiv2")


async def test_explain_recursively(kubectl: Kubectl) -> None:
    assert "imagePullPolicy" in await kubectl("explain", "deployment", "--recursive")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--validate=strict"], 'unknown field "spec.sizes"'),
        (["--validate=warn"], 'Warning: unknown field "spec.sizes"'),
        (["--server-side", "--validate=strict"], 'unknown field "spec.sizes"'),
    ],
)
async def test_unknown_fields(kubectl: Kubectl, arguments: list[str], says: str) -> None:
    result = await kubectl.run("apply", *arguments, "--dry-run=server", "-f", "-", stdin=widget("x", sizes=4))
    assert says in result.err and (result.code == 0) == ("--validate=warn" in arguments)


async def test_errors_are_readable(kubectl: Kubectl) -> None:
    result = await kubectl.run("apply", "-f", "-", stdin=deployment("Bad_Name"))
    assert result.code == 1 and 'The Deployment "Bad_Name" is invalid: metadata.name' in result.err
    result = await kubectl.run("create", "-f", "-", stdin=configmap("c", namespace="missing"))
    assert result.code == 1 and 'namespaces "missing" not found' in result.err


async def test_conflicts_of_appliers(kubectl: Kubectl) -> None:
    await kubectl("apply", "--server-side", "--field-manager=one", "-f", "-", stdin=deployment("shared", 1))
    refused = await kubectl.run(
        "apply", "--server-side", "--field-manager=two", "-f", "-", stdin=deployment("shared", 2)
    )
    assert refused.code == 1 and 'conflict with "one": .spec.replicas' in refused.err
    await kubectl(
        "apply", "--server-side", "--force-conflicts", "--field-manager=two", "-f", "-", stdin=deployment("shared", 2)
    )  # fmt: skip
    await kubectl("delete", "deployment", "shared")


async def test_replacing(kubectl: Kubectl) -> None:
    await kubectl("create", "-f", "-", stdin=configmap("replaced"))
    assert "replaced" in await kubectl("replace", "-f", "-", stdin=configmap("replaced", {"z": "1"}))
    assert (await kubectl.json("get", "cm", "replaced"))["data"] == {"z": "1"}
    await kubectl("delete", "cm", "--all", "--wait")


async def test_a_namespace_and_a_crd_are_deleted_with_their_content(kubectl: Kubectl) -> None:
    await kubectl("create", "namespace", "doomed")
    await kubectl("create", "-n", "doomed", "-f", "-", stdin=configmap())
    await kubectl("delete", "namespace", "doomed", "--timeout=10s")
    assert not kubectl.served.cache.list("", "configmaps", "doomed")
    await kubectl("create", "-f", "-", stdin=crd("gone.example.com", "gadgets", "Gadget"))
    gadget = {
        "apiVersion": "gone.example.com/v1",
        "kind": "Gadget",
        "metadata": {"name": "g"},
        "spec": {"size": 1},
    }
    await kubectl("create", "-f", "-", stdin=gadget)
    await kubectl("delete", "crd", "gadgets.gone.example.com", "--timeout=10s")
    result = await kubectl.run("get", "gadgets.gone.example.com")
    assert result.code == 1 and not kubectl.served.cache.list("gone.example.com", "gadgets")


async def test_who_may(kubectl: Kubectl) -> None:
    assert (await kubectl("auth", "can-i", "create", "deployments")).strip() == "yes"
    assert "root" in await kubectl("auth", "whoami")
    jane = await kubectl.run("--context=jane", "get", "configmaps")
    assert jane.code == 1 and 'User "jane" cannot list resource "configmaps"' in jane.err
    assert "system:towline" in await kubectl("--context=robot", "auth", "whoami")
    for context, credentials in (("nobody", ["--username=x", "--password=y"]), ("stranger", [])):
        refused = await kubectl.run(f"--context={context}", "get", "configmaps", *credentials)
        assert refused.code == 1 and ("Unauthorized" in refused.err or "logged in" in refused.err)


async def test_get_in_chunks(kubectl: Kubectl) -> None:
    for name in ("one", "two", "three"):
        await kubectl("create", "configmap", f"chunk-{name}")
    for output in ("name", "wide"):
        whole = await kubectl("get", "configmaps", "-o", output, "--chunk-size=0")
        assert await kubectl("get", "configmaps", "-o", output, "--chunk-size=1") == whole
        assert "chunk-three" in whole
