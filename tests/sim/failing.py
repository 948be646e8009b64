"""The same system with members that are lost for a while, and Deployments whose policies ask for failover.

Everything of the simulation goes wrong here too, but what would delete copies on purpose: what is deleted here, eviction moved away. The
rule that is added: a copy is deleted only when as many replicas as are wanted are ready elsewhere.
"""

from __future__ import annotations

from typing import Any

from tests.decide import world
from tests.sim.simulation import MEMBERS, Simulation
from tests.sim.truth import SHOP
from towline.agent.desired import Ref
from towline.kube import names
from towline.kube.names import TAINT_NOT_READY, TAINT_UNREACHABLE
from towline.kube.objects import is_deleting

REPLICAS = 4
BROKEN = "example.com/broken"
GROUPS = [{"affinityName": name, "clusterNames": [name]} for name in MEMBERS]
SOON = [
    {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
    for key in (TAINT_NOT_READY, TAINT_UNREACHABLE)
]
PLACEMENTS: dict[str, Any] = {
    "single": {"clusterAffinities": GROUPS},
    "spread": {"replicaScheduling": {"replicaSchedulingType": "Divided", "replicaDivisionPreference": "Weighted"}},
}  # fmt: skip
LOST_STEPS = 14
"""So many steps of a few seconds are enough to be taken for lost, and left."""


class FailingSimulation(Simulation):
    """Members that are lost or tainted, and come back."""

    fault_steps = 25

    async def _begin(self) -> None:
        await super()._begin()
        for name, placement in PLACEMENTS.items():
            template = world.deployment(name, SHOP, replicas=REPLICAS)
            rule = world.policy(
                name, [world.selector(template, name=name)], {**placement, "clusterTolerations": SOON}, SHOP,
                failover={"cluster": {}},
            )  # fmt: skip
            await self._hub.put(rule)
            await self._hub.put(template)
        for _ in range(4):
            await self._pump()

    def _actions(self) -> dict[str, int]:
        return ACTIONS

    def _may_delete(self, cluster: str, ref: Ref, born: float) -> bool:
        if ref.kind != "Deployment" or ref.name not in PLACEMENTS:
            return super()._may_delete(cluster, ref, born)
        self._look()
        binding = self.truth.bindings.get(names.binding_name(ref.name, ref.kind))
        if binding is None or cluster in self._desired(binding):
            return False
        others = [member.objects.get(ref) for name, member in self.members.items() if name != cluster]
        ready = sum(((copy or {}).get("status") or {}).get("readyReplicas", 0) for copy in others)
        return ready >= REPLICAS

    def _desired(self, binding: Any) -> set[str]:
        spec = binding["spec"]
        tasks = {task["fromCluster"] for task in spec.get("gracefulEvictionTasks") or ()}
        return tasks | {target["name"] for target in spec.get("clusters") or ()}

    async def _lose(self) -> None:
        """A member is away, with its agent or without, for longer than it is tolerated."""
        name = self.rng.choice(MEMBERS)
        agent, member = self.agents[name], self.members[name]
        if self.rng.random() < 0.5:
            agent.crash()
        else:
            member.up = False
        for _ in range(self.rng.randint(1, LOST_STEPS)):
            self.now += self.rng.uniform(1, 8)
            await self._pump()
        if self.rng.random() < 0.8:
            member.up = True
            if not agent.running:
                agent.start()

    async def _taint_one(self) -> None:
        """Only policies that ask for failover are concerned."""
        await self._taint([{"key": BROKEN, "effect": "NoExecute"}])

    async def _untaint(self) -> None:
        for name in MEMBERS:
            await self._taint([], name)

    async def _taint(self, taints: list[dict[str, str]], name: str = "") -> None:
        if self.hub is None or not self.hub.loaded:
            return
        cluster = self.truth.clusters.get(name or self.rng.choice(MEMBERS))
        if cluster is None or is_deleting(cluster):
            return
        others = [taint for taint in cluster["spec"].get("taints") or () if taint["key"] != BROKEN]
        await self.hub.put({**cluster, "spec": {**cluster["spec"], "taints": others + taints}})

    async def _heal(self) -> None:
        await super()._heal()
        await self._untaint()


ACTIONS = {
    "write_steady": 3, "nothing": 10, "foreign": 2, "bad_weather": 4, "partition": 3, "hang_up": 2, "crash_hub": 3, "revive_hub": 12,
    "crash_agent": 3, "revive_agents": 8, "members_up": 6, "flaky_store": 2, "lose": 12, "taint_one": 8, "untaint": 5,
}  # fmt: skip
