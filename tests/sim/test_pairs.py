"""Two hubs on one store."""

from __future__ import annotations

from tests.sim import seeds
from tests.sim.pairs import PairSimulation

pytest_generate_tests = seeds.seeded(100, failed_once=(48, 236))


async def test_faults_and_convergence_with_two_hubs(seed: int) -> None:
    await seeds.run(PairSimulation(seed), seed)
