"""A store that went back in time."""

from __future__ import annotations

from tests.sim import seeds
from tests.sim.restored import RestoredSimulation

pytest_generate_tests = seeds.seeded(10)


async def test_a_restored_store_takes_nothing_away(seed: int) -> None:
    await seeds.run(RestoredSimulation(seed), seed)
