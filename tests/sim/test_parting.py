"""A cluster that is forced out."""

from __future__ import annotations

from tests.sim import seeds
from tests.sim.parting import PartingSimulation

pytest_generate_tests = seeds.seeded(200, failed_once=(324,))


async def test_a_cluster_that_was_forced_out_returns_late(seed: int) -> None:
    await seeds.run(PartingSimulation(seed), seed)
