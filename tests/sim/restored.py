"""A hub whose store went back to an old copy while agents hold what came later."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tests.sim.member import Violation
from tests.sim.simulation import CONVERGENCE_SECONDS, MEMBERS, Simulation
from towline.hub.store.memory import MemoryStore


class RestoredSimulation(Simulation):
    """Nothing that the old copy does not know is taken away until somebody says that the copy counts."""

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            self.group = group
            await self._begin()
            await self._write_template()
            await self._settle()
            rows, revision, epoch = dict(self.store.store._rows), self.store.store._log.revision, self.epoch
            for _ in range(3):
                await self._crash_hub()
                await self._start_hub(load=True)
                for _ in range(4):
                    await self._write_template()
                await self._write_steady()
                await self._settle()
            before = {name: dict(member.managed()) for name, member in self.members.items()}
            contents = {
                name: {ref: m.objects[ref].get("data") for ref in m.managed()}
                for name, m in self.members.items()
            }
            await self._crash_hub()
            self.store.store = MemoryStore()
            self.store.store._rows = rows
            self.store.store._log = type(self.store.store._log)(revision, 10_000)
            self.epoch, self.restored = epoch, True
            await self._start_hub(load=True)
            for _ in range(80):
                self.now += CONVERGENCE_SECONDS
                await self._pump()
            for name, member in self.members.items():
                if not before[name].items() <= member.managed().items():
                    raise Violation(f"{name}: a restored hub took away what it does not know")
                for ref, data in contents[name].items():
                    if member.objects[ref].get("data") != data:
                        raise Violation(f"{name}: a restored hub undid a newer decision about {ref}")
            await self._release()
            await self._converge()
            self.restored = False
            await self._rest()
            await self._hub.crash()

    async def _settle(self) -> None:
        for _ in range(8):
            self.now += CONVERGENCE_SECONDS
            await self._pump()

    async def _release(self) -> None:
        """What the gateway does when an administrator releases the deletions."""
        hub = self._hub
        seen = max(agent.desired.hub.epoch for agent in self.agents.values())
        hub.identity = replace(hub.identity, epoch=seen + 1)
        for name in MEMBERS:
            hub.breakers[name].release(True)
            self.connections[name].open = False
        self.wanted_always.clear()
