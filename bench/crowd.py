"""A member with thousands of nodes and pods, for bench/agent.py: the API of a simulated member over objects that are put into its store
ready-made, and no workload loop. `python -m bench.crowd --data-dir DIR`.

From its first moment pods change: each change is a step in the life of one (made, bound, started, ready, ending, gone), and the next
pod follows it. Nodes say every five minutes that they live, as kubelets do. Objects are as large as real ones: a pod has three
containers, a sidecar, conditions and managed fields, 6 KB; a node lists its images, 11 KB.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import uvloop

from towline.certs import kubeconfig, tls
from towline.certs.authority import Authority, load_or_create
from towline.hub.api.authentication import certificates_and_tokens, masters_only
from towline.hub.api.server import ApiServer
from towline.hub.sim.supplies import node as plain_node
from towline.hub.store.cache import Cache
from towline.hub.store.contract import Write
from towline.hub.store.memory import MemoryStore
from towline.kube import builtin
from towline.kube.kinds import KindTable
from towline.kube.objects import Key, Object, encode

STAMP = "2026-01-01T00:00:00Z"
SPACE = "shop"
NAMESPACES = ("default", "kube-system", SPACE)
HEARTBEAT_SECONDS = 300
"""How often each node's status is written though nothing changed: the kubelet's nodeStatusReportFrequency."""
IMAGES = 50
"""As many as a kubelet lists."""
SIZES = ("50m", "100m", "250m", "500m", "1")
CONTAINERS = ("server", "metrics")
PHASES = ("made", "bound", "started", "ready", "ending")
BATCH = 100
WINDOW_EVENTS, WINDOW_BYTES = 50_000, 400_000_000
"""As far back the pages of one list may reach: a busy machine may take a minute for all of them."""


async def run(folder: Path, address: str, nodes: int, pods: int, changes: int) -> None:
    """Until cancelled. `folder/kubeconfig` is there as soon as it serves; `changes` is of pods, a second."""
    kinds = KindTable.of(builtin.kinds())
    store = MemoryStore(commits_max=500)
    await store.open()
    cache = Cache(
        store,
        kinds,
        window_events=WINDOW_EVENTS,
        window_bytes=WINDOW_BYTES,
        parsed_objects=1024,
        owners=False,
    )
    started = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(cache.run(started))
        await started.wait()
        member = Member(cache, nodes, pods)
        gc.disable()  # a hundred thousand dicts and no cycles
        await member.fill()
        gc.freeze()
        gc.enable()
        server = ApiServer(
            cache=cache, kinds=kinds, authenticate=certificates_and_tokens(), authorize=masters_only,
            audit=lambda event: None, now=time.time, new_uid=lambda: str(UUID(int=time.time_ns())),
        )  # fmt: skip
        authority = load_or_create(folder / "pki", time.time())
        await serve(server, authority, folder, address)
        tasks.create_task(at_rate(changes, member.change_pod))
        tasks.create_task(at_rate(nodes / HEARTBEAT_SECONDS, member.change_node))


async def serve(server: ApiServer, authority: Authority, folder: Path, address: str) -> None:
    host, _, port = address.rpartition(":")
    leaf = authority.issue_server([host, "localhost"], time.time())
    context = tls.server_context(authority.bundle_pem, leaf, folder / "pki" / "server.pem")
    bound, at = await server.start(host, int(port), context)
    admin = authority.issue_admin(time.time())
    config = kubeconfig.admin_kubeconfig(f"https://{bound}:{at}", authority.bundle_pem, admin, folder.name)
    kubeconfig.write(folder / "kubeconfig", config)


async def at_rate(per_second: float, change: Any) -> None:
    """`change()` so many times a second; a delay is caught up with."""
    start = time.monotonic()
    for number in count(1):
        await change()
        await asyncio.sleep(max(0.0, start + number / per_second - time.monotonic()))


class Member:
    """What there is. Keeps the revision of each row, to write it again."""

    def __init__(self, cache: Cache, nodes: int, pods: int) -> None:
        self._cache = cache
        self._nodes, self._pods = nodes, pods
        self._revisions: dict[Key, int] = {}
        self._steps = self._lives()
        self._beats = count()

    async def fill(self) -> None:
        await self._put(*(row_of(namespace(name, number)) for number, name in enumerate(NAMESPACES)))
        for start in range(0, self._nodes, BATCH):
            await self._put(*(row_of(node(at)) for at in range(start, min(start + BATCH, self._nodes))))
        for start in range(0, self._pods, BATCH):
            numbers = range(start, min(start + BATCH, self._pods))
            await self._put(*(row_of(pod(number, number % self._nodes, "ready")) for number in numbers))

    async def change_pod(self) -> None:
        await self._put(next(self._steps))

    async def change_node(self) -> None:
        beat = next(self._beats)
        await self._put(row_of(node(beat % self._nodes, beats=1 + beat // self._nodes)))

    def _lives(self) -> Iterator[tuple[Key, Object | None]]:
        """The steps of BATCH pods at a time, in turns; each replaces the oldest."""
        for first in count(self._pods, BATCH):
            numbers = range(first, first + BATCH)
            for phase in PHASES[:-1]:
                yield from (row_of(pod(number, number % self._nodes, phase)) for number in numbers)
            for number in numbers:
                old = number - self._pods
                key, ending = row_of(pod(old, old % self._nodes, "ending"))
                yield key, ending
                yield key, None

    async def _put(self, *rows: tuple[Key, Object | None]) -> None:
        writes = [
            Write(key.path(), encode(obj) if obj is not None else None, self._revisions.get(key, 0))
            for key, obj in rows
        ]
        revision = await self._cache.commit(writes)
        for key, obj in rows:
            if obj is None:
                del self._revisions[key]
            else:
                self._revisions[key] = revision


# --- objects as large as real ones -------------------------------------------------------------------------------


def row_of(obj: Object) -> tuple[Key, Object]:
    metadata = obj["metadata"]
    plural = obj["kind"].lower() + "s"
    return Key("", plural, metadata.get("namespace", ""), metadata["name"]), obj


def namespace(name: str, number: int) -> Object:
    metadata = {"name": name, "uid": uid_of(2**42 + number), "creationTimestamp": STAMP}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata, "status": {"phase": "Active"}}


def node(number: int, beats: int = 0) -> Object:
    made = plain_node(
        number, STAMP, region="eu", zones=("a", "b", "c"), cpu="16", memory="64Gi", pods=110, version="v1.36.0"
    )  # fmt: skip
    images = [
        {"names": [f"registry.example.com/team/service-{i}@sha256:{i:064x}", f"registry.example.com/team/service-{i}:v{i}"],
         "sizeBytes": 10_000_000 + i}
        for i in range(IMAGES)
    ]  # fmt: skip
    conditions = [
        {**row, "lastHeartbeatTime": f"{STAMP}{beats}"} if beats else row
        for row in made["status"]["conditions"]
    ]
    metadata = {
        **made["metadata"], "uid": uid_of(2**40 + number), "creationTimestamp": STAMP,
        "annotations": {"node.alpha.kubernetes.io/ttl": "0", "volumes.kubernetes.io/controller-managed-attach-detach": "true"},
        "managedFields": managed("node", ("kubelet", "spec", made["spec"]), ("kubelet", "status", made["status"])),
    }  # fmt: skip
    return {**made, "metadata": metadata, "status": {**made["status"], "conditions": conditions, "images": images}}  # fmt: skip


def pod(number: int, on: int, phase: str) -> Object:
    """Pod `number` in one of PHASES."""
    app = number // 10
    hashed = f"{app * 2654435761 % 2**32:08x}"[:9]
    spec = {
        "containers": [container(name, number) for name in CONTAINERS],
        "initContainers": [{**container("proxy", number), "restartPolicy": "Always"}],
        "volumes": [{"name": "token", "projected": {"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}}]}}],
        "tolerations": [{"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
                        for key in ("not-ready", "unreachable")],
        "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "serviceAccountName": "default", "schedulerName": "default-scheduler",
        "terminationGracePeriodSeconds": 30, "preemptionPolicy": "PreemptLowerPriority", "priority": 0, "enableServiceLinks": True,
    }  # fmt: skip
    status: Object = {"phase": "Pending", "qosClass": "Burstable"}
    if phase != "made":
        spec["nodeName"] = f"node-{on}"
        status = (
            running_status(number, phase == "ready")
            if phase != "bound"
            else {**status, "hostIP": "172.16.0.1"}
        )
    owner = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": f"app-{app}-{hashed}",
        "uid": uid_of(2**41 + app),
    }
    metadata: Object = {
        "name": f"app-{app}-{hashed}-{number:x}", "generateName": f"app-{app}-{hashed}-", "namespace": SPACE,
        "uid": uid_of(number), "creationTimestamp": STAMP, "labels": {"app": f"app-{app}", "pod-template-hash": hashed},
        "annotations": {"prometheus.io/scrape": "true", "checksum/config": f"{app:064x}"},
        "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        "managedFields": managed(phase, ("kube-controller-manager", "spec", spec), ("kubelet", "status", status)),
    }  # fmt: skip
    if phase == "ending":
        metadata |= {"deletionTimestamp": STAMP, "deletionGracePeriodSeconds": 30}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


def container(name: str, number: int) -> Object:
    size = SIZES[number // 10 % len(SIZES)]
    return {
        "name": name, "image": f"registry.example.com/team/{name}:v{number // 10 % 7}", "imagePullPolicy": "IfNotPresent",
        "env": [{"name": f"SETTING_{i}", "value": f"value of setting {i}"} for i in range(4)],
        "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"}],
        "resources": {"requests": {"cpu": size, "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "volumeMounts": [{"mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "name": "token", "readOnly": True}],
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
    }  # fmt: skip


def running_status(number: int, ready: bool) -> Object:
    said = "True" if ready else "False"
    return {
        "phase": "Running" if ready else "Pending", "hostIP": "172.16.0.1", "podIP": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
        "startTime": STAMP, "qosClass": "Burstable",
        "conditions": [
            {"type": type_, "status": said, "lastProbeTime": None, "lastTransitionTime": STAMP}
            for type_ in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
        ],
        "containerStatuses": [
            {"name": name, "image": f"registry.example.com/team/{name}:v1", "imageID": f"registry.example.com/team/{name}@sha256:{number:064x}",
             "containerID": f"containerd://{number:064x}", "ready": ready, "started": ready, "restartCount": 0,
             "state": {"running": {"startedAt": STAMP}}}
            for name in CONTAINERS
        ],
    }  # fmt: skip


_MANAGED: dict[str, list[Object]] = {}


def managed(what: str, *writers: tuple[str, str, Object]) -> list[Object]:
    """managedFields by who wrote what; they are the same for all nodes, and for all pods of a phase."""
    if what not in _MANAGED:
        _MANAGED[what] = [
            {"manager": manager, "operation": "Update", "apiVersion": "v1", "time": STAMP, "fieldsType": "FieldsV1",
             "fieldsV1": {f"f:{under}": fields_of(part)}}
            for manager, under, part in writers
        ]  # fmt: skip
    return _MANAGED[what]


def fields_of(value: Any) -> Object:
    if isinstance(value, dict):
        return {f"f:{key}": fields_of(each) for key, each in value.items()}
    if isinstance(value, list):
        names = [each.get("name") or each.get("type") for each in value if isinstance(each, dict)]
        return {f'k:{{"name":"{name}"}}': {".": {}} for name in names if name}
    return {}


def uid_of(number: int) -> str:
    return str(UUID(int=number + 2**100))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--address", default="127.0.0.1:0")
    parser.add_argument("--nodes", type=int, default=5_000)
    parser.add_argument("--pods", type=int, default=20_000)
    parser.add_argument("--changes", type=int, default=100, help="of pods, a second (default 100)")
    options = parser.parse_args()
    options.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, contextlib.suppress(KeyboardInterrupt):
        runner.run(run(options.data_dir, options.address, options.nodes, options.pods, options.changes))


if __name__ == "__main__":
    main()
