"""The same system with two hubs on one store: leadership moves, hubs crash, agents go from one to the other and back.

What hubs learn of each other's sessions they learn late, as from rows of the store; a hub that has not seen the latest of the store
takes no agent in.
"""

from __future__ import annotations

from tests.sim.failing import FailingSimulation
from tests.sim.hub import Hub
from tests.sim.network import Connection
from tests.sim.simulation import MEMBERS, Simulation


class PairSimulation(Simulation):
    """`hub` leads, and users talk with it; `other` is beside it, or is down."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.other: Hub | None = None
        self.at: dict[str, Hub] = {}
        """With which hub an agent talks, or talked last."""
        self.known: dict[str, Hub] = {}
        """The same as hubs have learnt it."""

    @property
    def _hubs(self) -> list[Hub]:
        return [hub for hub in (self.hub, self.other) if hub is not None]

    def _hub_of(self, name: str) -> Hub | None:
        """An agent without a session takes any hub that has seen all there is."""
        if self.agents[name].session is None:
            latest = [hub for hub in self._hubs if hub.cache.revision >= self.store.store._log.revision]
            self.at.pop(name, None)
            if latest:
                self.at[name] = self.rng.choice(latest)
        return self.at.get(name)

    def _connect(self, name: str) -> None:
        before = self.connections.get(name)
        super()._connect(name)
        connection = self.connections.get(name)
        if connection is not before and connection is not None and self.agents[name].session is not None:
            self._came(name, self.at[name], connection)

    def _came(self, name: str, hub: Hub, connection: Connection) -> None:
        if self.known.get(name) not in (None, hub) and name in hub.breakers:  # not for a farewell
            hub.breakers[name].spend_window(self.now)

    def _turn(self, name: str) -> None:
        """A hub that the agent left looks after what is left of the session too: nobody waits for its answers for ever."""
        super()._turn(name)
        for hub in self._hubs:
            if hub is not self._hub_of(name):
                hub.talk(name, 0)

    async def _pump(self) -> None:
        for hub in self._hubs:
            if self.healthy or self.rng.random() < 0.7:
                self._learn(hub)
        await super()._pump()

    def _learn(self, hub: Hub) -> None:
        """What the rows say of sessions elsewhere."""
        silent = frozenset(
            name for other in self._hubs if other is not hub for name in other.fleet.silent(self.now)
        )
        hub.fleet.silent_elsewhere = lambda: silent
        for name in MEMBERS:
            holder = self.at.get(name)
            there = (
                holder is not None and holder is not hub and holder in self._hubs and name in holder.sessions
            )
            hub.fleet.at_another_hub(name, there, self.now)
            if there and holder is not None:
                self.known[name] = holder
                hub.works.forget_reports(name)
                hub.breakers.pop(name, None)
                stale = hub.sessions.get(name)
                if stale is not None:
                    stale[0].close("the agent opened a newer session with another hub")
            elif holder is hub:
                self.known[name] = hub

    async def _begin(self) -> None:
        await super()._begin()
        await self._second_hub()

    async def _second_hub(self) -> None:
        """Another hub starts: the store's epoch is that of both."""
        leader = self._hub
        await self._start_hub(load=True)
        other = self._hub
        self.hub, self.other = leader, other
        other.leads = False
        leader.identity = other.identity

    async def _fault_step(self) -> None:
        if self.rng.random() < 0.1:
            await self._change_leader()
        if self.other is not None and self.other.loaded and self.rng.random() < 0.2:
            await self._lag(self.other)
        await super()._fault_step()

    async def _lag(self, hub: Hub) -> None:
        """It stops to see what happens, or sees it again."""
        self.trace.append("the other " + ("is blind" if hub.sees.is_set() else "sees again"))
        if hub.sees.is_set():
            hub.sees.clear()
        else:
            await self._see(hub)

    async def _see(self, hub: Hub) -> None:
        hub.sees.set()
        await hub.cache.wait(self.store.store._log.revision, 5)

    async def _change_leader(self) -> None:
        """The lease goes to the other hub."""
        if self.hub is None or self.other is None or not self.other.loaded:
            return
        self.trace.append("the other leads")
        self.hub, self.other = self.other, self.hub
        self.other.leads = False
        await self._lead(self.hub)

    async def _lead(self, hub: Hub) -> None:
        await self._see(hub)
        hub.leads = True
        hub.loop.enqueue_all()

    async def _crash_hub(self) -> None:
        """One of them, or both."""
        if self.other is not None and self.rng.random() < 0.5:
            await self.other.crash()
            self.other = None
            return
        await super()._crash_hub()
        if self.other is not None and self.other.loaded:
            self.hub, self.other = self.other, None
            await self._lead(self.hub)

    async def _revive_hub(self) -> None:
        if self.hub is not None and self.other is None and self.rng.random() < 0.7:
            await self._second_hub()
        else:
            await super()._revive_hub()

    async def _heal(self) -> None:
        await super()._heal()
        if self.other is None:
            await self._second_hub()
        elif not self.other.loaded:
            self.other.load()
        for hub in self._hubs:
            await self._see(hub)


class FailingPairSimulation(FailingSimulation, PairSimulation):
    """Members fail while leadership moves: what one hub began, the other carries on."""
