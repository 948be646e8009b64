"""What sessions cost: a real `towline hub` (sqlite) and a thousand agents without members in this process (bench/agents.py).

`python -m bench.sessions`. A storm of connections, the hub at rest, memory, placements on a hundred clusters, and what ten
agents that stop reading do to the others. Agents and API client share the second core: a hub alone would be no faster for it.
`--profile PART` ends after PART (storm, rest, burst) and says where the hub's thread spent it.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import os
import resource
import signal
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import psutil

from bench import client, profiling
from bench.agents import FakeAgent, deaf, identity_of
from bench.api import cpu_seconds, hub, mebibytes, run
from bench.client import Connection, request
from bench.tables import Row, quantile, show, shown
from tests.e2e.harness import Api, Fleet
from tests.e2e.objects import APPS, configmap, deployment, namespace, policy
from towline.certs import authority

CLUSTERS = "/apis/cluster.karmada.io/v1alpha1/clusters"
BINDINGS = "/apis/work.karmada.io/v1alpha2/namespaces"
POLICIES = "/apis/policy.karmada.io/v1alpha1/namespaces"
GROUP = 100
"""Clusters that a placement selects."""
SINGLES = 20
BURST = 100
REST_SECONDS = 15.0
RESTED_SECONDS = 12.0
"""After a storm, until what agents said of their clusters is written."""
SETTLE_SECONDS = 3.0
LISTENERS, DEAF = 200, 10
ROUNDS = 20
ROUND_SECONDS = 0.1
"""Between rounds, in which agents' reports of the last one are dealt with."""
BACKLOG = 20
"""Objects of BACKLOG_BYTES that wait for each agent that does not read: more than a session may have under way."""
BACKLOG_BYTES = 400_000
PATIENCE_SECONDS = 90.0
FILES_A_SESSION = 2
OTHER_FILES = 500


def bench(sessions: int = 1000, part: str = "") -> None:
    """Prints the table; with a `part` its profile instead."""
    sessions = min(sessions, _sessions_that_fit())
    ca = authority.create(time.time())
    with tempfile.TemporaryDirectory(prefix="towline-bench-") as name:
        folder = Path(name)
        (folder / "hub" / "pki").mkdir(parents=True, mode=0o700)
        ca.save(folder / "hub" / "pki")  # the hub takes it over: this process signs a thousand leaves itself
        profiled = folder / "profile" if part else None
        with hub(folder, "sqlite", profiled=profiled) as fleet:
            rows = run(Bench(fleet, ca, sessions, part).measure())
            if profiled is not None:
                fleet.processes["hub"].stop()
                print(f"{part}:")
                rows = profiling.parts(profiled)
    show(rows)


def _sessions_that_fit() -> int:
    """Each session is a file here, and one in the hub, which inherits our limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return (hard - OTHER_FILES) // FILES_A_SESSION


@dataclass
class Arrivals:
    """What came to agents since the last `expect`, each (cluster, Work) once."""

    first: dict[tuple[str, str], float] = field(default_factory=dict)
    expected: int = 0
    complete: asyncio.Event = field(default_factory=asyncio.Event)

    def expect(self, count: int) -> float:
        """Answers now."""
        self.first.clear()
        self.complete.clear()
        self.expected = count
        return time.perf_counter()

    def __call__(self, cluster: str, work: str) -> None:
        self.first.setdefault((cluster, work), time.perf_counter())
        if len(self.first) >= self.expected:
            self.complete.set()

    async def wait(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self.complete.wait()
        except TimeoutError:
            raise SystemExit(f"{len(self.first)} of {self.expected} Works came") from None


class Bench:
    def __init__(self, fleet: Fleet, ca: authority.Authority, sessions: int, part: str) -> None:
        self.fleet, self.ca, self.sessions, self.part = fleet, ca, sessions, part
        self.hub = psutil.Process(fleet.processes["hub"].pid)
        self.gateway = f"127.0.0.1:{fleet.gateway_port}"
        self.target = client.target_of(fleet.hub_data / "admin.kubeconfig")
        self.arrivals = Arrivals()
        self.agents: list[FakeAgent] = []
        self.api: Connection
        self.rows: list[Row] = [(f"{sessions:,} sessions", "", "")]

    async def measure(self) -> list[Row]:
        (self.api,) = await client.connect(self.target, 1)
        clusters = await self.join()
        async with asyncio.TaskGroup() as group:
            self.agents = [self.agent(each, group) for each in clusters]
            try:
                await self.parts()
            finally:
                for agent in self.agents:
                    agent.stop()
        self.api.close()
        return self.rows

    async def parts(self) -> None:
        for name, measure in (
            ("storm", self.storm), ("rest", self.rest), ("", self.prepare), ("", self.singles), ("burst", self.burst),
            ("", self.isolation),
        ):  # fmt: skip
            if name == self.part != "":
                os.kill(self.hub.pid, signal.SIGUSR1)
            await measure()
            if name == self.part != "":
                return

    def row(self, what: str, *cells: str) -> None:
        self.rows.append((what, *cells, *[""] * (2 - len(cells))))

    # --- the fleet ---

    async def join(self) -> list[dict[str, Any]]:
        """The Cluster objects, as an enrolment leaves them."""
        made = []
        for n in range(self.sessions):
            labels = {"group": f"g{n // GROUP}", "listens": str(n < LISTENERS).lower()}
            wanted = {
                "apiVersion": "cluster.karmada.io/v1alpha1",
                "kind": "Cluster",
                "metadata": {"name": f"c{n:04}", "labels": labels},
                "spec": {"syncMode": "Pull", "id": f"member-{n}"},
            }
            made.append(await self.ask("POST", CLUSTERS, wanted))
        return made

    def agent(self, cluster: dict[str, Any], group: asyncio.TaskGroup) -> FakeAgent:
        meta, member_uid = cluster["metadata"], cluster["spec"]["id"]
        identity = identity_of(self.ca, meta["name"], meta["uid"], member_uid, self.gateway)
        return FakeAgent(identity, group, self.arrivals)

    async def ask(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json"
    ) -> Any:
        status, answer = await self.api.send(request(method, path, body, content_type), kept=True)
        if status >= 300:
            raise SystemExit(f"{status} for {method} {path}: {answer[:500].decode()}")
        return orjson.loads(answer)

    # --- what is measured ---

    async def storm(self) -> None:
        await asyncio.sleep(SETTLE_SECONDS)
        memory, spent = self.hub.memory_info().rss, cpu_seconds(self.hub)
        ready = ReadyClusters(self.fleet.hub_data / "admin.kubeconfig", self.sessions)
        began = time.perf_counter()
        for agent in self.agents:
            agent.start()
        await _until(lambda: all(agent.synced for agent in self.agents))
        self.row("all connected, in sync", shown(time.perf_counter() - began))
        await asyncio.to_thread(ready.wait)
        spent = cpu_seconds(self.hub) - spent
        self.row("all Ready", shown(ready.at - began), f"{spent:.1f} s of the hub's core")
        await asyncio.sleep(SETTLE_SECONDS)
        grown = self.hub.memory_info().rss - memory
        self.row(
            "memory a session", f"{grown / self.sessions / 1024:.0f} KiB", f"hub {mebibytes(grown)} more"
        )

    async def rest(self) -> None:
        await asyncio.sleep(RESTED_SECONDS)
        before = cpu_seconds(self.hub)
        await asyncio.sleep(REST_SECONDS)
        share = (cpu_seconds(self.hub) - before) / REST_SECONDS
        a_thousand = share * 1000 / self.sessions
        self.row("at rest", f"{share:.1%} of a core", f"{a_thousand:.1%} for 1,000 sessions")

    async def prepare(self) -> None:
        """Namespaces go to all clusters."""
        began = self.arrivals.expect(3 * self.sessions)
        for space in ("bench", "heard", "backlog"):
            await self.ask("POST", "/api/v1/namespaces", namespace(space))
        await self.arrivals.wait()
        seconds = time.perf_counter() - began
        self.row("three namespaces everywhere", shown(seconds), f"{3 * self.sessions / seconds:,.0f} Works/s")
        selected = {"clusterAffinity": {"labelSelector": {"matchLabels": {"group": "g0"}}}}
        await self.ask(
            "POST", f"{POLICIES}/bench/propagationpolicies", policy("hundred", "bench", placement=selected)
        )

    async def singles(self) -> None:
        there, known = [], []
        for n in range(SINGLES):
            began = self.arrivals.expect(self.selected)
            await self.ask("POST", f"{APPS}/bench/deployments", deployment(f"one-{n}", "bench"))
            await self.arrivals.wait()
            there.append(max(self.arrivals.first.values()) - began)
            await self.applied([f"one-{n}"])
            known.append(time.perf_counter() - began)
        for what, times in (("there", there), ("known to be applied", known)):
            text = f"p50 {shown(quantile(times, 0.5))}", f"p90 {shown(quantile(times, 0.9))}"
            self.row(f"one placement on {self.selected}, {what}", *text)

    async def burst(self) -> None:
        works = BURST * self.selected
        spent, began = cpu_seconds(self.hub), self.arrivals.expect(works)
        names = [f"many-{n}" for n in range(BURST)]
        made = (request("POST", f"{APPS}/bench/deployments", deployment(name, "bench")) for name in names)
        await client.run(self.target, 16, made)
        await self.arrivals.wait()
        seconds = max(self.arrivals.first.values()) - began
        self.row(
            f"{BURST} placements on {self.selected}, there", shown(seconds), f"{works / seconds:,.0f} Works/s"
        )
        await self.applied(names)
        seconds, spent = time.perf_counter() - began, cpu_seconds(self.hub) - spent
        self.row(
            f"{BURST} placements on {self.selected}, known to be applied",
            shown(seconds), f"{works / seconds:,.0f} Works/s, {spent:.1f} s of the hub's core",
        )  # fmt: skip

    async def isolation(self) -> None:
        """Delivery to the same agents, before and while the others do not read what waits for them."""
        listeners = min(LISTENERS, self.sessions)
        quiet = max(1, min(DEAF, listeners // 20))
        others = {agent.identity.cluster for agent in self.agents[quiet:listeners]}
        heard = {"clusterAffinity": {"labelSelector": {"matchLabels": {"listens": "true"}}}}
        await self.ask(
            "POST",
            f"{POLICIES}/heard/propagationpolicies",
            policy("heard", "heard", None, "v1 ConfigMap", placement=heard),
        )
        self.arrivals.expect(listeners)
        await self.ask("POST", "/api/v1/namespaces/heard/configmaps", configmap("word", "heard", round="-"))
        await self.arrivals.wait()
        before = await self.delivery("before", others)
        memory = self.hub.memory_info().rss
        silenced = self.agents[:quiet]
        for agent in silenced:
            agent.stop()
        async with asyncio.TaskGroup() as group:
            started = [asyncio.Event() for _ in silenced]
            tasks = [
                group.create_task(deaf(agent.identity, self.gateway, event))
                for agent, event in zip(silenced, started, strict=True)
            ]
            for event in started:
                await event.wait()
            await self.backlog([agent.identity.cluster for agent in silenced])
            during = await self.delivery("during", others)
            grown = self.hub.memory_info().rss - memory
            for task in tasks:
                task.cancel()
        await asyncio.sleep(SETTLE_SECONDS)
        after = await self.delivery("after", others)
        usual = (before + after) / 2
        self.row(
            f"delivery to {len(others)}, p99", shown(usual), f"{shown(before)} before, {shown(after)} after"
        )
        self.row(
            f"while {quiet} do not read", shown(during), f"{during / usual:.2f}x; hub {mebibytes(grown)} more"
        )

    async def delivery(self, phase: str, to: set[str]) -> float:
        """The 99th percentile of all deliveries of some rounds, in seconds."""
        taken: list[float] = []
        for n in range(ROUNDS):
            began = self.arrivals.expect(self.sessions)
            said = configmap("word", "heard", round=f"{phase}-{n}")
            await self.ask("PUT", "/api/v1/namespaces/heard/configmaps/word", said)
            await _until(lambda: to <= {cluster for cluster, _ in self.arrivals.first})
            await asyncio.sleep(ROUND_SECONDS)
            taken += [at - began for (cluster, _), at in self.arrivals.first.items() if cluster in to]
        return quantile(taken, 0.99)

    async def backlog(self, clusters: list[str]) -> None:
        rule = policy("backlog", "backlog", clusters, "v1 ConfigMap")
        await self.ask("POST", f"{POLICIES}/backlog/propagationpolicies", rule)
        for n in range(BACKLOG):
            large = configmap(f"large-{n}", "backlog", text="x" * BACKLOG_BYTES)
            await self.ask("POST", "/api/v1/namespaces/backlog/configmaps", large)
        await asyncio.sleep(SETTLE_SECONDS)

    @property
    def selected(self) -> int:
        return min(GROUP, self.sessions)

    async def applied(self, names: Iterable[str]) -> None:
        for name in names:
            path = f"{BINDINGS}/bench/resourcebindings/{name}-deployment"
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not _fully_applied(await self.ask("GET", path), self.selected):
                    await asyncio.sleep(0.02)


class ReadyClusters:
    """A watch of the Clusters in a thread: when so many of them were Ready."""

    def __init__(self, kubeconfig: Path, count: int) -> None:
        self.at = 0.0
        self._count = count
        self._api = Api(kubeconfig)
        listed = self._api.request("GET", f"{CLUSTERS}?limit=1")
        assert self._api.connection is not None
        self._api.connection.request(
            "GET", f"{CLUSTERS}?watch=1&resourceVersion={listed['metadata']['resourceVersion']}"
        )
        self._answer: http.client.HTTPResponse = self._api.connection.getresponse()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        self._thread.join(PATIENCE_SECONDS)
        if not self.at:
            raise SystemExit("not all clusters became Ready")

    def _watch(self) -> None:
        ready: set[str] = set()
        while line := self._answer.readline():
            cluster = orjson.loads(line)["object"]
            conditions = (cluster.get("status") or {}).get("conditions") or ()
            if any((row["type"], row["status"]) == ("Ready", "True") for row in conditions):
                ready.add(cluster["metadata"]["name"])
            if len(ready) == self._count:
                self.at = time.perf_counter()
                return


def _fully_applied(binding: dict[str, Any], clusters: int) -> bool:
    status = binding.get("status") or {}
    return sum(bool(item.get("applied")) for item in status.get("aggregatedStatus") or ()) == clusters


async def _until(condition: Any) -> None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise SystemExit("it did not come to that") from None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--profile", choices=["storm", "rest", "burst"], default="", metavar="PART")
    options = parser.parse_args()
    bench(options.sessions, options.profile)


if __name__ == "__main__":
    main()
