"""A member for the agent's tests: the real API engine on a memory store, over real TLS, without workloads."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from towline.agent.applier import Applier
from towline.agent.desired import Changed, Desired, HeldWork, Persist, Ref
from towline.agent.disk import Disk
from towline.agent.kubernetes import APPLY_PATCH, MERGE_PATCH, Discovery, Member, Refused
from towline.agent.limits import Allowance, DeletionBudget
from towline.agent.watcher import Watcher
from towline.agent.writer import Writer
from towline.hub.sim.app import serving
from towline.hub.sim.config import SimConfig
from towline.proto import fleet_pb2 as fleet
from towline.proto.digest import work_hash

CLUSTER = "member1"
SECONDS = 10.0
"""How long anything may take before a test has failed."""


@contextlib.asynccontextmanager
async def a_member(tmp_path: Path) -> AsyncIterator[User]:
    async with serving(SimConfig(tmp_path / "sim", nodes=1, ready_seconds=0.0)) as simulated:
        member = Member(simulated.kubeconfig, "", 10.0)
        await member.open()
        try:
            yield User(member, simulated.kubeconfig)
        finally:
            await member.close()


@dataclass
class User:
    """Somebody with kubectl in the member."""

    member: Member
    kubeconfig: Path

    async def get(self, ref: Ref) -> Any:
        """The object, or None."""
        try:
            return await self.member.get(path_of(ref))
        except Refused as refused:
            if refused.code == 404:
                return None
            raise

    async def create(self, obj: dict[str, Any], manager: str = "kubectl-create") -> Any:
        ref = Ref(obj["apiVersion"], obj["kind"], obj["metadata"].get("namespace", ""), "")
        answer = await self.member.call(
            "POST", path_of(ref).rstrip("/"), {"fieldManager": manager}, orjson.dumps(obj)
        )
        return answer.json()

    async def patch(self, ref: Ref, patch: dict[str, Any], manager: str = "kubectl-edit") -> Any:
        answer = await self.member.call(
            "PATCH", path_of(ref), {"fieldManager": manager}, orjson.dumps(patch), content_type=MERGE_PATCH
        )
        return answer.json()

    async def apply(self, obj: dict[str, Any], manager: str) -> Any:
        ref = ref_of(obj)
        query = {"fieldManager": manager, "force": "true"}
        answer = await self.member.call(
            "PATCH", path_of(ref), query, orjson.dumps(obj), content_type=APPLY_PATCH
        )
        return answer.json()

    async def delete(self, ref: Ref) -> None:
        await self.member.call("DELETE", path_of(ref))


PLURALS = {
    "ConfigMap": "configmaps",
    "Namespace": "namespaces",
    "Deployment": "deployments",
    "Service": "services",
    "CustomResourceDefinition": "customresourcedefinitions",
    "CronTab": "crontabs",
    "Node": "nodes",
    "ResourceQuota": "resourcequotas",
    "Pod": "pods",
    "Secret": "secrets",
    "ServiceAccount": "serviceaccounts",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
}


def ref_of(obj: dict[str, Any]) -> Ref:
    metadata = obj["metadata"]
    return Ref(obj["apiVersion"], obj["kind"], metadata.get("namespace", ""), metadata["name"])


def path_of(ref: Ref) -> str:
    root = f"/apis/{ref.api_version}" if "/" in ref.api_version else f"/api/{ref.api_version}"
    where = f"/namespaces/{ref.namespace}" if ref.namespace else ""
    return f"{root}{where}/{PLURALS[ref.kind]}/{ref.name}"


def config_map(name: str, data: dict[str, str] | None = None, namespace: str = "default") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": namespace, "name": name},
        "data": data if data is not None else {"color": "blue"},
    }


def config_map_ref(name: str, namespace: str = "default") -> Ref:
    return Ref("v1", "ConfigMap", namespace, name)


@dataclass
class Agent:
    """The agent's parts without a hub: the test says what is wanted, and reads the reports."""

    desired: Desired
    applier: Applier
    watcher: Watcher
    writer: Writer
    disk: Disk
    reports: dict[str, fleet.Report] = field(default_factory=dict)
    told: list[fleet.Report] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    _revision: Any = field(default_factory=lambda: itertools.count(1))

    def want(
        self, name: str, *manifests: dict[str, Any] | bytes, conflict: fleet.Conflict.ValueType = fleet.ABORT, preserve: bool = False,
        uid: str = "uid",
    ) -> None:  # fmt: skip
        encoded = [m if isinstance(m, bytes) else orjson.dumps(m) for m in manifests]
        work = fleet.Work(
            name=name, uid=uid, revision=next(self._revision), hash=work_hash(encoded, conflict, preserve),
            manifests=encoded, conflict=conflict, preserve=preserve,
        )  # fmt: skip
        changed = Changed()
        self.desired.upsert(work, 1, "store", changed)
        self.take(changed)

    def unwant(self, name: str, *objects: Ref, preserve: bool = False) -> None:
        refs = [fleet.ObjectRef(api_version=o[0], kind=o[1], namespace=o[2], name=o[3]) for o in objects]
        removal = fleet.Removal(name=name, revision=next(self._revision), preserve=preserve, objects=refs)
        changed = Changed()
        self.desired.remove(removal, 1, "store", changed)
        self.take(changed)

    def outbox(self) -> None:
        for report in self.desired.take_reports(1 << 30):
            self.reports[report.name] = report
            self.told.append(report)
        self.news.set()

    async def report(self, name: str, test: Callable[[fleet.Report], bool]) -> fleet.Report:
        """The first report of `name` from now on (or the last one so far) for which `test` holds."""
        try:
            async with asyncio.timeout(SECONDS):
                while not (name in self.reports and test(self.reports[name])):
                    self.news.clear()
                    await self.news.wait()
        except TimeoutError:
            raise AssertionError(f"last report of {name}: {self.reports.get(name)}") from None
        return self.reports[name]

    async def applied(self, name: str) -> fleet.Report:
        held = self.desired.get(name)
        assert held is not None
        return await self.report(name, lambda r: r.phase == fleet.APPLIED and r.work_hash == held.hash)

    async def failed(self, name: str, words: str = "") -> fleet.Report:
        return await self.report(name, lambda r: r.phase == fleet.FAILED and words in r.message)

    async def removed(self, name: str) -> fleet.Report:
        return await self.report(name, lambda r: r.phase == fleet.REMOVED)

    def take(self, changed: Changed) -> None:
        """Keeps it, and begins."""
        self.disk.persist(changed.persist())
        for name in changed.names:
            self.applier.reconcile(name)


@contextlib.asynccontextmanager
async def an_agent(
    kubeconfig: Path,
    tmp_path: Path,
    *,
    allowance: Allowance | None = None,
    deletions_per_minute: int = 0,
    concurrency: int = 8,
    stopped: Callable[[HeldWork], bool] = lambda row: False,
) -> AsyncIterator[Agent]:
    """A running agent; its disk is in `tmp_path`, so that the next one in the same place goes on."""
    member = Member(kubeconfig, "", 10.0)
    await member.open()
    disk = Disk(tmp_path / "agent.db")
    kept = await disk.open()
    desired = Desired(kept.works, kept.hub)
    clock = asyncio.get_running_loop().time
    try:
        async with asyncio.TaskGroup() as group:
            applier = Applier(
                desired, CLUSTER, disk, persist=disk.persist, outbox=lambda: agent.outbox(), group=group,
                now=clock, jitter=lambda: 0.5, concurrency=concurrency, stopped=stopped,
            )  # fmt: skip
            discovery = Discovery(member)
            allowed = allowance or Allowance()
            watcher = Watcher(member, discovery, applier, group, lambda: 0.5, allowed.by_namespace)
            writer = Writer(
                member, discovery, watcher, CLUSTER, allowed,
                DeletionBudget(deletions_per_minute, clock), lambda name: desired.get(name) is not None,
            )  # fmt: skip
            applier.connect(writer, watcher)
            agent = Agent(desired, applier, watcher, writer, disk)
            running = group.create_task(disk.run())
            applier.restore(kept.applied)
            try:
                yield agent
            finally:
                applier.stop()
                watcher.keep_only(())
                running.cancel()
    finally:
        await disk.close()
        await member.close()


def held(agent: Agent, name: str) -> HeldWork:
    row = agent.desired.get(name)
    assert row is not None
    return row


NOTHING = Persist()
