"""One seeded run of a whole system: a hub, three members and their agents, users, and everything that goes wrong.

First faults: batches are lost, repeated and reordered, connections turn into black holes, hub, agents and the members' API servers
crash, the hub's store fails commits or loses answers, disks are lost, watches are late, other people edit and delete. After every step
the safety rules are checked. Then everything heals, and the system has to converge and come to rest.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from typing import Any

from tests.decide import world
from tests.sim.agent import Agent, Crashed
from tests.sim.hub import FlakyStore, Hub
from tests.sim.member import Member, Violation
from tests.sim.network import Connection, Weather
from tests.sim.truth import OVERRIDES, SHOP, Truth, differences, overriding
from towline.agent.desired import Ref
from towline.certs.authority import AgentIdentity
from towline.hub.store.memory import MemoryStore
from towline.hub.store.works import CLUSTERS
from towline.kube import exits, names
from towline.kube.objects import Key, Object, is_deleting, uid_of, with_metadata

MEMBERS = ("member1", "member10", "member2")
"""One name is another's beginning: identities are equal or they are not."""
FAULT_STEPS = 70
HEAL_STEPS = 160
CONVERGENCE_SECONDS = 5.0
RESTING_STEPS = 8
"""Longer than a cluster has to be heard until it is ready again."""


class Simulation:
    fault_steps = FAULT_STEPS

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = 1_000_000.0
        self.trace: list[str] = []
        self.weather = Weather()
        self.healthy = True
        self.restored = False
        """The hub's store went back in time, and nobody has said yet that it counts."""
        self._uids = 0
        self.store = FlakyStore(MemoryStore(), self.rng)
        self.epoch = 0
        self.hub: Hub | None = None
        self.wanted_always: dict[tuple[str, Ref], bool] = {}
        """Everything that was ever wanted somewhere -> whether it has been wanted ever since."""
        self.vandalized: set[Ref] = set()
        self.leaving: set[str] = set()
        self.kept: set[tuple[str, Ref]] = set()
        """What was wanted in a cluster when it left to keep it."""
        self.truth = Truth()
        self._truth_at = 0
        self._looked_at: dict[str, tuple[int, int, bool]] = {}
        """What a member and the store were like when the member was last found to be as it should."""
        self.members = {name: Member(name, lambda: self.now, self._may_delete) for name in MEMBERS}
        self.agents = {
            name: Agent(member, self.rng, lambda: self.now, self._dies)
            for name, member in self.members.items()
        }
        self.connections: dict[str, Connection] = {}
        self.holes: dict[str, float] = {}
        self.versions = 0

    # --- the run -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            self.group = group
            await self._begin()
            self.healthy = False
            for _ in range(self.fault_steps):
                await self._fault_step()
            await self._heal()
            await self._converge()
            await self._rest()
            for hub in self._hubs:
                await hub.crash()

    async def _begin(self) -> None:
        for member in self.members.values():
            member.make_foreign(world.configmap("theirs", "default", owner="them"))
        self.members["member2"].make_foreign(world.namespace(SHOP))  # shared: was there before
        self.members["member2"].make_foreign(world.configmap("conflict", SHOP, owner="them"))
        await self._start_hub(load=True)
        hub = self._hub
        await hub.put(world.namespace(SHOP))
        for name in MEMBERS:
            await hub.put(world.cluster(name, id=f"uid-{name}"))
            self.agents[name].object_uid = uid_of(hub.get(Key(*CLUSTERS, "", name)) or {})
        for name in ("steady-1", "steady-2", "conflict"):
            await self._create(name, world.configmap(name, SHOP, v="0"), set(MEMBERS))
        await self._create("steady-app", world.deployment("steady-app", SHOP), set(MEMBERS))
        await self._pump()

    async def _fault_step(self) -> None:
        self.now += self.rng.uniform(0.05, 2.5)
        actions = self._actions()
        action = self.rng.choices(list(actions), weights=list(actions.values()))[0]
        self.trace.append(action)
        await getattr(self, f"_{action}")()
        await self._pump()

    def _actions(self) -> dict[str, int]:
        """What may happen, and how often."""
        return ACTIONS

    async def _pump(self) -> None:
        """Let everybody do some of what they have to do, and look at the rules after each part."""
        for hub in self._hubs:
            await hub.decide()
        self._look()
        order = list(MEMBERS)
        self.rng.shuffle(order)
        for name in order:
            self._connect(name)
            self._turn(name)
            self._look_at(name)

    def _turn(self, name: str) -> None:
        agent, hub, rng = self.agents[name], self._hub_of(name), self.rng
        some = 1000 if self.healthy else rng.choice((0, 1, 2, 1000))
        if self.members[name].up:
            self.members[name].work()
        for _ in range(3 if self.healthy else rng.randint(1, 3)):
            if hub is not None:
                hub.talk(name, some)
            if not agent.running:
                return
            try:
                agent.talk(some)
                if self.healthy or rng.random() < 0.8:
                    agent.flush()
                if self.members[name].up:
                    agent.watch(late=not self.healthy and rng.random() < 0.3)
                agent.reconcile(some)
            except Crashed:
                self.trace.append(f"{name} died")
                agent.crash()
                return

    def fingerprint(self) -> str:
        """Of all that is there in the end, and of how often chance was asked until then: equal only where the histories are."""
        rows = sorted(self.store.store._rows.items())
        members = [(name, sorted(member.objects.items())) for name, member in self.members.items()]
        return hashlib.sha256(repr((rows, members, self.rng.getstate())).encode()).hexdigest()

    # --- the rules that hold at every instant ----------------------------------------------------------------------

    def _look(self) -> None:
        """Read the store, if it changed since it was last read."""
        revision = self.store.store._log.revision
        if revision == self._truth_at:
            return
        self.truth, self._truth_at = Truth.of(self.store.store), revision
        wanted = set(self.truth.wanted())
        for name, cluster in self.truth.clusters.items():
            if is_deleting(cluster) and not exits.exit_of(cluster).keep_workloads:
                self.kept = {at for at in self.kept if at[0] != name}
            elif is_deleting(cluster) and name not in self.leaving:
                self.leaving.add(name)
                self.kept |= {at for at, always in self.wanted_always.items() if always and at[0] == name}
        self.kept = {at for at in self.kept if self.truth.left.get(at[0], True)}
        for at in self.wanted_always:
            if at not in wanted:
                self.wanted_always[at] = False
        for at in wanted:
            self.wanted_always.setdefault(at, True)

    def _look_at(self, name: str) -> None:
        self._look()
        for hub in self._hubs:
            if hub.violations:
                raise Violation(f"an honest agent was thrown out: {hub.violations}")
        state = (self._truth_at, self.members[name].changes, self.restored)
        if self._looked_at.get(name) != state:
            self._judge(name)
            self._looked_at[name] = state

    def _judge(self, name: str) -> None:
        """What is in a member now, beside what is in the store."""
        member = self.members[name]
        member.check_foreign()
        for ref, owner in member.managed().items():
            if owner.namespace != names.execution_namespace(name):
                raise Violation(f"{name}: {ref} belongs to {owner}")
            if not self.truth.known(name, ref) and not self.restored and name not in self.truth.left:
                raise Violation(f"{name}: {ref} is there and the hub does not know it any more")

    def _may_delete(self, cluster: str, ref: Ref, born: float) -> bool:
        if ref.kind == "Namespace":
            return False  # nobody deletes the hub's namespace here
        self._look()
        return not self.wanted_always.get((cluster, ref), False) and (cluster, ref) not in self.kept

    def _dies(self) -> bool:
        return not self.healthy and self.rng.random() < 0.01

    # --- hub -----------------------------------------------------------------------------------------------------

    @property
    def _hub(self) -> Hub:
        assert self.hub is not None
        return self.hub

    @property
    def _hubs(self) -> list[Hub]:
        """Those that run; the first leads."""
        return [self.hub] if self.hub is not None else []

    def _hub_of(self, name: str) -> Hub | None:
        """The hub that the agent of `name` talks with, or will."""
        return self.hub

    async def _start_hub(self, load: bool) -> None:
        self.epoch += 1
        self.hub = Hub(self.store, self.group, self.epoch, lambda: self.now, self._uid)
        await self.hub.start()
        if load:
            self.hub.load()

    def _uid(self) -> str:
        self._uids += 1
        return f"00000000-0000-4000-8000-{self._uids:012d}"

    async def _crash_hub(self) -> None:
        if self.hub is not None:
            await self.hub.crash()
            self.hub = None

    async def _revive_hub(self) -> None:
        if self.hub is None:
            await self._start_hub(load=self.rng.random() < 0.5)
        elif not self.hub.loaded:
            self.hub.load()

    async def _flaky_store(self) -> None:
        self.store.failing = self.rng.choice((0.0, 0.3))

    # --- network -------------------------------------------------------------------------------------------------

    def _connect(self, name: str) -> None:
        agent = self.agents[name]
        connection = self.connections.get(name)
        if connection is not None and name in self.holes and self.now > self.holes[name]:
            del self.holes[name]
            connection.cut(False)
            if self.rng.random() < 0.5:
                connection.open = False  # keepalive noticed
        hub = self._hub_of(name)
        if not agent.running or hub is None or agent.session is not None or name in self.holes:
            return
        if not self.healthy and self.rng.random() < 0.3:
            return
        connection = self.connections[name] = Connection(self.rng, self.weather)
        if hub.accept(AgentIdentity(name, agent.object_uid), connection):
            agent.connect(connection)

    async def _bad_weather(self) -> None:
        chance = self.rng.choice((0.0, 0.05, 0.3))
        self.weather.drop, self.weather.repeat, self.weather.reorder = (
            self.rng.choice((0.0, chance)), self.rng.choice((0.0, chance)), self.rng.choice((0.0, chance)),
        )  # fmt: skip

    async def _partition(self) -> None:
        name = self.rng.choice(MEMBERS)
        connection = self.connections.get(name)
        if connection is not None and name not in self.holes:
            connection.cut(True)
            self.holes[name] = self.now + self.rng.uniform(1, 60)

    async def _hang_up(self) -> None:
        connection = self.connections.get(self.rng.choice(MEMBERS))
        if connection is not None:
            connection.open = False

    # --- agents and members ----------------------------------------------------------------------------------------

    async def _crash_agent(self) -> None:
        agent = self.agents[self.rng.choice(MEMBERS)]
        agent.crash()
        if self.rng.random() < 0.2:
            agent.lose_disk()

    async def _revive_agents(self) -> None:
        for agent in self.agents.values():
            if not agent.running:
                agent.start()

    async def _member_down(self) -> None:
        self.members[self.rng.choice(MEMBERS)].up = False

    async def _members_up(self) -> None:
        for member in self.members.values():
            member.up = True

    async def _tamper(self) -> None:
        """Somebody in a member edits what is ours, or deletes it."""
        member = self.members[self.rng.choice(MEMBERS)]
        ours = sorted(ref for ref in member.managed() if ref.kind != "Namespace")
        if not ours:
            return
        ref = self.rng.choice(ours)
        if self.rng.random() < 0.4:
            member.vandalize(ref)
            self.vandalized.add(ref)
        elif ref.kind == "ConfigMap":
            member.tamper(ref, ("data", self.rng.choice(("v", "other"))), "tampered")
        else:
            member.tamper(ref, ("spec", "replicas"), 99)

    async def _foreign(self) -> None:
        """Somebody edits what is theirs."""
        member = self.members[self.rng.choice(MEMBERS)]
        if member.foreign:
            ref = self.rng.choice(sorted(member.foreign))
            member.tamper(ref, ("metadata", "labels"), {"edited": str(self.now)}, "them")

    # --- users ---------------------------------------------------------------------------------------------------

    async def _create(self, name: str, template: Object, clusters: set[str], **spec: Any) -> None:
        placement: Object = {"clusterAffinity": {"clusterNames": sorted(clusters)}}
        if spec.pop("divided", False):
            placement["replicaScheduling"] = {
                "replicaSchedulingType": "Divided", "replicaDivisionPreference": "Weighted",
            }  # fmt: skip
        selectors = [world.selector(template, name=name)]
        await self._hub.put(world.policy(name, selectors, placement, SHOP, **spec))
        await self._hub.put(template)

    def _some_clusters(self) -> set[str]:
        return {c for c in MEMBERS if self.rng.random() < 0.6} or {self.rng.choice(MEMBERS)}

    async def _write_template(self) -> None:
        """Create or change a ConfigMap or a Deployment and its policy."""
        if self.hub is None or not self.hub.loaded:
            return
        name = f"t{self.rng.randrange(5)}"
        self.versions += 1
        if self.rng.random() < 0.5:
            template = world.configmap(f"{name}-c", SHOP, v=str(self.versions))
        else:
            template = world.deployment(f"{name}-d", SHOP, replicas=self.rng.randint(1, 9))
        policy = {
            "preserveResourcesOnDeletion": False,
            "suspension": {"dispatching": True} if not self.healthy and self.rng.random() < 0.15 else None,
            "divided": template["kind"] == "Deployment" and self.rng.random() < 0.5,
        }
        await self._create(template["metadata"]["name"], template, self._some_clusters(), **policy)

    async def _write_steady(self) -> None:
        if self.hub is not None and self.hub.loaded:
            self.versions += 1
            name = self.rng.choice(("steady-1", "steady-2"))
            await self.hub.put(world.configmap(name, SHOP, v=str(self.versions)))

    async def _move(self) -> None:
        if self.hub is None or not self.hub.loaded:
            return
        movable = [name for name in self.truth.policies if name.startswith("t")]
        if movable:
            policy = self.truth.policies[self.rng.choice(sorted(movable))]
            placement = {
                **policy["spec"]["placement"],
                "clusterAffinity": {"clusterNames": sorted(self._some_clusters())},
            }
            await self.hub.put(
                {**policy, "spec": {**policy["spec"], "placement": placement, "suspension": None}}
            )

    async def _override(self) -> None:
        """An override policy comes, changes, cannot be carried out in some clusters, or goes."""
        if self.hub is None or not self.hub.loaded:
            return
        name = self.rng.choice(OVERRIDES)
        if name in self.truth.overrides and self.rng.random() < 0.3:
            await self.hub.delete(Key("policy.karmada.io", "overridepolicies", SHOP, name))
            return
        self.versions += self.rng.choice((0, 1))
        broken = self._some_clusters() if self.rng.random() < 0.5 else ()
        await self.hub.put(overriding(name, self.versions, self._some_clusters(), broken))

    async def _delete(self) -> None:
        if self.hub is None or not self.hub.loaded:
            return
        deletable = [at for at in self.truth.templates if at[1].startswith("t")]
        if deletable:
            kind, name = self.rng.choice(sorted(deletable))
            plural, group = ("deployments", "apps") if kind == "Deployment" else ("configmaps", "")
            await self.hub.delete(Key(group, plural, SHOP, name))

    async def _flip(self) -> None:
        """Off, on and off again, faster than agents can follow."""
        for _ in range(self.rng.randint(2, 4)):
            await self._move()
            if self.hub is not None:
                await self.hub.decide()
            name = self.rng.choice(MEMBERS)
            self._turn(name)
            self._look()

    async def _detach(self) -> None:
        """A cluster leaves, or is to leave otherwise than before: with or without what it holds of us, waiting for its agent
        or not. Namespaces are left behind in any case."""
        if self.hub is None or not self.hub.loaded or self.rng.random() < 0.5:
            return
        cluster = self.truth.clusters.get("member10")
        if cluster is not None:
            notes = {exits.WORKLOADS: self.rng.choice((exits.KEEP, exits.REMOVE))}
            if self.rng.random() < 0.3:
                notes[exits.FORCE] = "true"
            await self.hub.put(with_metadata(cluster, annotations=notes))
            await self.hub.delete(Key(*CLUSTERS, "", "member10"))

    async def _regrade(self) -> None:
        """Nodes of a cluster are to be graded otherwise."""
        if self.hub is None or not self.hub.loaded:
            return
        cluster = self.truth.clusters.get(self.rng.choice(MEMBERS))
        if cluster is not None and not is_deleting(cluster):
            models = [
                {"grade": grade, "ranges": [{"name": "cpu", "min": str(grade), "max": str(grade + 1)}]}
                for grade in range(self.rng.randint(1, 3))
            ]
            await self.hub.put({**cluster, "spec": {**cluster["spec"], "resourceModels": models}})

    async def _nothing(self) -> None:
        """Nobody does anything; decisions ask what agents have room for."""
        if self.hub is not None:
            self.hub.ask_for_room(self.rng, MEMBERS)

    # --- afterwards ------------------------------------------------------------------------------------------------

    async def _heal(self) -> None:
        self.trace.append("-- healed")
        self.healthy = True
        self.weather.drop = self.weather.repeat = self.weather.reorder = 0.0
        self.store.failing = 0.0
        self.now += 61
        await self._members_up()
        if self.hub is None:
            await self._start_hub(load=True)
        elif not self.hub.loaded:
            self.hub.load()
        await self._revive_agents()
        await self._hub.cache.wait(self.store.store._log.revision, 5)  # users see what they edit
        for obj in list(Truth.of(self.store.store).mended()):
            await self._hub.put(obj)

    async def _converge(self) -> None:
        problems: list[str] = []
        for _ in range(HEAL_STEPS):
            self.now += CONVERGENCE_SECONDS
            await self._pump()
            self._look()
            problems = list(differences(self.truth, self.members))
            if not problems:
                return
        raise Violation("it does not converge: " + "; ".join(problems[:5]))

    async def _rest(self) -> None:
        """At rest no plan contains a write, no exchange sends a Work, no reconciliation writes to a member."""
        for _ in range(RESTING_STEPS):
            self.now += CONVERGENCE_SECONDS
            await self._pump()
        revision = self.store.store._log.revision
        writes = {name: member.writes for name, member in self.members.items()}
        for each in self._hubs:
            each.loop.enqueue_all()
        for name in self.truth.clusters:
            agent = self.agents[name]
            agent.queue = {row.name: 0.0 for row in agent.desired}
            if agent.session is None:
                raise Violation(f"{name} is not connected")
            agent.session._begin_exchange(self.now)
        sent = self._count_works()
        for _ in range(4):
            await self._pump()
        if self.store.store._log.revision != revision:
            raise Violation("a plan at rest contains a write")
        if {name: member.writes for name, member in self.members.items()} != writes:
            # a member object that is in conflict is looked at again, never written
            raise Violation("a reconciliation at rest writes")
        if self._count_works() != sent:
            raise Violation("an exchange at rest sends Works")
        if any(hub.asked for hub in self._hubs):
            raise Violation("somebody still waits to be told what agents have room for")
        for agent in self.agents.values():
            if any(row.removing for row in agent.desired) or (
                agent.cluster not in self.truth.clusters and agent.desired
            ):
                raise Violation(f"{agent.cluster} still removes")

    def _count_works(self) -> int:
        return sum(session._credit.spent_batches for session, _ in self._hub.sessions.values())


ACTIONS = {
    "write_template": 14, "write_steady": 4, "move": 10, "flip": 6, "detach": 2, "delete": 6, "nothing": 10, "tamper": 8, "foreign": 2,
    "bad_weather": 5, "partition": 4, "hang_up": 3, "crash_hub": 4, "revive_hub": 12, "crash_agent": 5, "revive_agents": 10,
    "member_down": 3, "members_up": 6, "flaky_store": 3, "regrade": 2, "override": 6,
}  # fmt: skip
