"""Everything goes wrong for a while: safe at every step, and right in the end."""

from __future__ import annotations

from tests.sim import seeds
from tests.sim.simulation import Simulation

pytest_generate_tests = seeds.seeded(200)


async def test_faults_and_convergence(seed: int) -> None:
    await seeds.run(Simulation(seed), seed)
