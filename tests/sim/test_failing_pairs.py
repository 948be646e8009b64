"""Two hubs on one store, and members that die, flap, and come back."""

from __future__ import annotations

from tests.sim import seeds
from tests.sim.pairs import FailingPairSimulation

pytest_generate_tests = seeds.seeded(42)


async def test_members_that_fail_with_two_hubs(seed: int) -> None:
    await seeds.run(FailingPairSimulation(seed), seed)
