"""Members that die, flap, and come back."""

from __future__ import annotations

from tests.sim import seeds
from tests.sim.failing import FailingSimulation

pytest_generate_tests = seeds.seeded(200, failed_once=(6039,))


async def test_members_that_fail(seed: int) -> None:
    await seeds.run(FailingSimulation(seed), seed)
