"""The whole system under faults: safe at every step, and right in the end. `--seeds N` runs more."""

from __future__ import annotations

import logging

import pytest

from tests.sim.pairs import PairSimulation
from tests.sim.restored import RestoredSimulation
from tests.sim.simulation import Simulation

RESTORED_SHARE = 20
"""One in so many seeds also runs the scenario of a restored store."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    first, count = metafunc.config.getoption("--first-seed"), metafunc.config.getoption("--seeds")
    if metafunc.function is test_a_restored_store_takes_nothing_away:
        count = max(1, count // RESTORED_SHARE)
    metafunc.parametrize("seed", range(first, first + count), ids=lambda seed: f"seed{seed}")


@pytest.mark.parametrize("kind", [Simulation, PairSimulation], ids=["one hub", "two hubs"])
async def test_faults_and_convergence(
    kind: type[Simulation], seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL + 1)
    simulation = kind(seed)
    try:
        await simulation.run()
    except BaseException:
        print(f"seed {seed}: {' '.join(simulation.trace)}")
        raise


async def test_a_restored_store_takes_nothing_away(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1)
    try:
        await RestoredSimulation(seed).run()
    except BaseException:
        print(f"seed {seed}")
        raise
