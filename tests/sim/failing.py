"""The same system with members that are lost or drained for a while, and Deployments that fail, with policies that ask for failover.

Everything of the simulation goes wrong here too, but what would delete copies on purpose: what is deleted here, eviction moved away, or
failback moved back. Members die with all they have; the hub goes deaf. What policies promise (`promises`) holds all the while, and:

- A copy that leaves gracefully is deleted only when as many replicas as are wanted are ready elsewhere. An agent that comes back finds
  the Work of what moved away still wanted until then, whatever it missed.
- `once` has to stop by itself where its agent is cut off: it never runs in two members, whatever the clocks, wherever there is somebody who
  could stop it: an agent that runs and has its disk, and an API server that it reaches.
- What is to return is home in the end. Of all that does not tolerate it, nothing is left in a member that is drained then.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tests.decide import world
from tests.sim.member import Violation
from tests.sim.promises import REPLICAS, RETURN, TOLERATED_SECONDS, Promises, is_well
from tests.sim.simulation import CONVERGENCE_SECONDS, MEMBERS, RESTING_STEPS, Simulation
from tests.sim.truth import DRAINED, SHOP
from towline.agent.desired import Ref
from towline.hub.decide import bindings
from towline.kube import names
from towline.kube.names import TAINT_NOT_READY, TAINT_UNREACHABLE, TAINT_UNSCHEDULABLE
from towline.kube.objects import Object, is_deleting, labels_of

BROKEN = "example.com/broken"
GROUPS = [{"affinityName": name, "clusterNames": [name]} for name in MEMBERS]
SOON = [
    {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
    for key in (TAINT_NOT_READY, TAINT_UNREACHABLE)
]
PLACEMENTS: dict[str, Any] = {
    "single": {"clusterAffinities": GROUPS},
    "spread": {"replicaScheduling": {"replicaSchedulingType": "Divided", "replicaDivisionPreference": "Weighted"}},
    "home": {"clusterAffinities": GROUPS},
    "direct": {"clusterAffinities": GROUPS},
    "once": {"clusterAffinities": GROUPS},
}  # fmt: skip
FAILOVERS: dict[str, Any] = {
    "home": {"failback": RETURN},
    "direct": {"failback": RETURN, "purgeMode": "Directly"},
    "once": {"failback": RETURN, "purgeMode": "Directly", "stopAfterSeconds": 30},
}
"""What the policy says of the failover of clusters, where it says anything."""
APPLICATIONS: dict[str, Any] = {
    "single": {"gracePeriodSeconds": 20},
    "spread": {"gracePeriodSeconds": 20},
    "direct": {"purgeMode": "Directly"},
    "once": {"purgeMode": "Directly"},
}
"""And of that of applications; `home` stays where it fails."""
TO_DRAIN = [
    {"key": TAINT_UNSCHEDULABLE, "effect": "NoSchedule"},
    {"key": DRAINED.key, "effect": DRAINED.effect},
]
GRACEFUL = ("single", "spread", "home")
"""Those whose copies stay until others are ready."""
STOPPED_STEPS = 50
"""So many, until what must never run twice may run elsewhere."""
CLOCK_RATES = {"member1": 0.98, "member2": 1.02}
ABLE_SECONDS = 20.0
"""Who could not act has so long to do what is overdue."""
HOMING_STEPS = 300
SETTLING_STEPS = 16
"""Of five seconds: until a hub that just started believes what it sees, and what is due has left."""
LOST_STEPS = 14
"""So many steps of a few seconds are enough to be taken for lost, and left."""


class FailingSimulation(Simulation):
    """Members that are lost or tainted, and come back."""

    fault_steps = 20

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        for name, rate in CLOCK_RATES.items():
            self.agents[name].clock_rate = rate
            self.agents[name].start()
        self.promises = Promises(PLACEMENTS, GRACEFUL)
        self.moves = 0
        """How often `once` came to run elsewhere."""
        self.deaf = 0
        """And how often the hub was deaf."""
        self._unable_at: dict[str, float] = {}
        self._once_in = set[str]()

    async def _begin(self) -> None:
        await super()._begin()
        for name, placement in PLACEMENTS.items():
            template = world.deployment(name, SHOP, replicas=REPLICAS)
            failover = {"cluster": FAILOVERS.get(name, {})}
            if name in APPLICATIONS:
                tolerated = {"decisionConditions": {"tolerationSeconds": TOLERATED_SECONDS}}
                failover["application"] = tolerated | APPLICATIONS[name]
            rule = world.policy(
                name, [world.selector(template, name=name)], {**placement, "clusterTolerations": SOON}, SHOP,
                failover=failover,
            )  # fmt: skip
            await self._hub.put(rule)
            await self._hub.put(template)
        await self._tolerate_draining("conflict")
        for _ in range(4):
            await self._pump()

    async def _tolerate_draining(self, name: str) -> None:
        """Of what is never applied everywhere nothing could leave."""
        rule = self.truth.policies[name]
        tolerating = {"clusterTolerations": [{"key": DRAINED.key, "operator": "Exists"}]}
        await self._hub.put(
            {**rule, "spec": {**rule["spec"], "placement": rule["spec"]["placement"] | tolerating}}
        )

    def _actions(self) -> dict[str, int]:
        return ACTIONS

    def _may_delete(self, cluster: str, ref: Ref, born: float) -> bool:
        if ref.kind != "Deployment" or ref.name not in PLACEMENTS:
            return super()._may_delete(cluster, ref, born)
        self._look()
        binding = self.truth.bindings.get(names.binding_name(ref.name, ref.kind))
        if binding is None:
            return False
        if cluster in self._desired(
            binding
        ):  # wanted again and not confirmed since: its earlier removal may be under way
            return "applied" not in bindings.observed(binding).get(cluster, {})
        if ref.name in ("direct", "once"):
            return True
        return self.promises.may_delete(ref.name, [m for at, m in self.members.items() if at != cluster])

    def _look(self) -> None:
        before = self.truth
        super()._look()
        if self.truth is not before:
            self.promises.judge(self.truth, self.now)

    def _look_at(self, name: str) -> None:
        super()._look_at(name)
        self._check_once()

    def _judge(self, name: str) -> None:
        super()._judge(name)
        self.promises.look_at(self.members)

    def _check_once(self) -> None:
        once = Ref("apps/v1", "Deployment", SHOP, "once")
        running = set[str]()
        for at, member in self.members.items():
            agent = self.agents[at]
            # One that lost its disk learns of the copy by its removal.
            knows = any(once in agent._refs_of(row) and not row.removing for row in agent.desired)
            if not (member.up and agent.running and agent.disk.heard_at is not None and knows):
                self._unable_at[at] = self.now
            copy = member.objects.get(once)
            if (
                copy is not None
                and copy["spec"].get("replicas")
                and self.now - self._unable_at.get(at, 0.0) > ABLE_SECONDS
            ):
                running.add(at)
        if len(running) > 1:
            raise Violation(f"{once} must never run twice and runs in {running}")
        self.moves += bool(self._once_in - running and running - self._once_in)
        self._once_in = running or self._once_in

    async def _converge(self) -> None:
        """What is away has to be well for a time, and may be the second to try."""
        for connection in self.connections.values():
            connection.open = False  # what agents said of their members when these were down is said anew
        for _ in range(SETTLING_STEPS):
            self.now += CONVERGENCE_SECONDS
            await self._pump()
        for _ in range(HOMING_STEPS):
            await super()._converge()
            if all(names.FAILBACK not in labels_of(self._binding(name)) for name in self._homes()):
                return
        raise Violation("something never comes home")

    def _homes(self) -> dict[str, str]:
        """What is to be home in the end, and where that is."""
        homes = self.promises.homes.items()
        return {name: at for name, at in homes if name in FAILOVERS and not self.truth.is_drained(at)}

    async def _rest(self) -> None:
        await super()._rest()
        for name, home in self._homes().items():
            there = [*bindings.targets(self._binding(name))]
            assert there == [home], f"{name} is in {there} in the end, and was to be in {home}"

    def _binding(self, name: str) -> Object:
        return self.truth.bindings[names.binding_name(name, "Deployment")]

    def _desired(self, binding: Any) -> set[str]:
        spec = binding["spec"]
        leaving = spec.get("gracefulEvictionTasks") or ()
        tasks = {task["fromCluster"] for task in leaving if task["purgeMode"] != "Directly"}
        return tasks | {target["name"] for target in spec.get("clusters") or ()}

    async def _lose(self) -> None:
        """A member is away, with its agent or without, for longer than it is tolerated."""
        name = self.rng.choice(MEMBERS)
        agent, member = self.agents[name], self.members[name]
        fate = self.rng.random()
        if fate < 0.3:
            agent.crash()
        elif fate < 0.6:
            member.up = False
            if fate < 0.36:
                self.promises.died(member)
                member.die()
        elif (connection := self.connections.get(name)) is not None:
            connection.cut(True)
            self.holes[name] = self.now + self.rng.choice((20, 100, 250))
        await self._take_steps(self.rng.randint(1, LOST_STEPS if self.rng.random() < 0.6 else STOPPED_STEPS))
        if self.rng.random() < 0.8:
            member.up = True
            if not agent.running:
                agent.start()

    async def _sicken(self) -> None:
        """A workload fails in a member where it runs."""
        name = self.rng.choice(list(PLACEMENTS))
        member = self.members[self.rng.choice([*bindings.targets(self._binding(name))])]
        self.promises.failed(name)
        member.sicken(name)
        await self._let_it_move()
        if self.rng.random() < 0.7:
            member.cure()

    async def _drain(self) -> None:
        """Somebody empties a member, and perhaps wants it back before it is empty."""
        await self._taint(TO_DRAIN)
        await self._let_it_move()
        fate = self.rng.random()
        if fate < 0.3:
            await self._untaint()
        elif fate < 0.6:
            await self._untaint(DRAINED.key)

    async def _let_it_move(self) -> None:
        """Time for what is to move, and perhaps a new start of the hub in the middle of it."""
        await self._take_steps(self.rng.randint(1, LOST_STEPS))
        if self.rng.random() < 0.3:
            await self._crash_hub()
            await self._take_steps(1)
            await self._revive_hub()
            await self._take_steps(self.rng.randint(1, LOST_STEPS))

    async def _take_steps(self, steps: int) -> None:
        for _ in range(steps):
            self.now += self.rng.uniform(1, 8)
            await self._pump()

    async def _flap(self) -> None:
        """A member comes and goes, never away or back for long."""
        name = self.rng.choice(MEMBERS)
        for _ in range(self.rng.randint(2, 6)):
            if name not in self.connections:
                return
            self.connections[name].cut(True)
            self.holes[name] = float("inf")
            await self._go_on(self.rng.uniform(10, 50))
            self._mend_network()
            await self._go_on(self.rng.uniform(5, 35))

    async def _go_on(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += CONVERGENCE_SECONDS
            await self._pump()

    async def _go_deaf(self) -> None:
        """Of a fleet that is well, the hub hears nothing any more for a while."""
        self.weather.drop = self.weather.repeat = self.weather.reorder = 0.0
        self._mend_network()
        await self._members_up()
        await self._revive_agents()
        await self._untaint()
        await self._go_on((RESTING_STEPS + 1) * CONVERGENCE_SECONDS)
        met = all(agent.session is not None for agent in self.agents.values())
        if not met or not all(map(is_well, self.truth.clusters.values())):
            return
        self.deaf += 1
        for connection in self.connections.values():
            connection.cut(True)
        self.holes = dict.fromkeys(MEMBERS, float("inf"))
        self.promises.deaf = True
        await self._take_steps(LOST_STEPS)
        self.promises.deaf = False
        self.holes = {name: self.now + self.rng.uniform(0, 20) for name in MEMBERS}

    async def _taint_one(self) -> None:
        """Only policies that ask for failover are concerned."""
        await self._taint([{"key": BROKEN, "effect": "NoExecute"}])

    async def _untaint(self, *keys: str) -> None:
        """Also who is drained or cordoned may be used again, unless it is said which taints go."""
        for name in MEMBERS:
            await self._taint([], name, keys or (BROKEN, DRAINED.key, TAINT_UNSCHEDULABLE))

    async def _taint(
        self, taints: list[dict[str, str]], name: str = "", without: Collection[str] = ()
    ) -> None:
        if self.hub is None or not self.hub.loaded:
            return
        cluster = self.truth.clusters.get(name or self.rng.choice(MEMBERS))
        if cluster is None or is_deleting(cluster):
            return
        gone = {*without, *(taint["key"] for taint in taints)}
        others = [taint for taint in cluster["spec"].get("taints") or () if taint["key"] not in gone]
        await self.hub.put({**cluster, "spec": {**cluster["spec"], "taints": others + taints}})

    async def _heal(self) -> None:
        self._mend_network()
        await super()._heal()
        self._unable_at = dict.fromkeys(MEMBERS, self.now)  # time went by, and nobody had a turn in it
        for member in self.members.values():
            member.cure()
        await self._untaint()
        if self.rng.random() < 0.3:
            await self._taint(TO_DRAIN)

    def _mend_network(self) -> None:
        for name in self.holes:
            self.connections[name].cut(False)
            self.connections[name].open = False
        self.holes.clear()


ACTIONS = {
    "write_steady": 3, "nothing": 10, "foreign": 2, "bad_weather": 4, "partition": 3, "hang_up": 2, "crash_hub": 3, "revive_hub": 12,
    "crash_agent": 3, "revive_agents": 8, "members_up": 6, "flaky_store": 2, "lose": 9, "flap": 1, "go_deaf": 2, "taint_one": 7, "untaint": 7, "sicken": 4, "drain": 3,
}  # fmt: skip
