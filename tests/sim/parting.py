"""A cluster that is forced out while its agent is away, and whose agent comes back late."""

from __future__ import annotations

import asyncio

from tests.sim.member import Violation
from tests.sim.simulation import CONVERGENCE_SECONDS, FAULT_STEPS, Simulation
from towline.hub.store.works import CLUSTERS
from towline.kube import exits
from towline.kube.objects import Key, with_metadata

NAME = "member10"


class PartingSimulation(Simulation):
    """The exit is over within a minute, and the agent does what was chosen then, whatever happens meanwhile."""

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            self.group = group
            await self._begin()
            for _ in range(4):
                await self._write_template()
            await self._let_pass(8)
            away = self.agents[NAME]
            away.crash()
            before = {ref for ref in away.member.managed() if ref.kind != "Namespace"}
            choice = self.rng.choice((exits.KEEP, exits.REMOVE))
            notes = {exits.WORKLOADS: choice, exits.FORCE: "true"}
            await self._hub.put(with_metadata(self.truth.clusters[NAME], annotations=notes))
            await self._hub.delete(Key(*CLUSTERS, "", NAME))
            await self._let_pass(12)
            if NAME in self.truth.clusters or NAME not in self.truth.left:
                raise Violation("a forced exit takes longer than a minute")
            self.healthy = False
            for _ in range(FAULT_STEPS // 2):
                await self._fault_step()
            await self._heal()
            await self._converge()
            await self._rest()
            still = {ref for ref in before if ref in away.member.objects}
            if choice == exits.REMOVE and still:
                raise Violation(f"it was to remove {still}")
            if choice == exits.KEEP and before - still - self.vandalized:
                raise Violation(f"it was to keep {before - still}")
            await self._hub.crash()

    async def _let_pass(self, rounds: int) -> None:
        for _ in range(rounds):
            self.now += CONVERGENCE_SECONDS
            await self._pump()
