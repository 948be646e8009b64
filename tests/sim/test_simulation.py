"""The whole system under faults: safe at every step, and right in the end. `--seeds N` runs more."""

from __future__ import annotations

import logging

import pytest

from tests.sim.failing import FailingSimulation
from tests.sim.pairs import PairSimulation
from tests.sim.parting import PartingSimulation
from tests.sim.restored import RestoredSimulation
from tests.sim.simulation import Simulation

RESTORED_SHARE = 20
"""One in so many seeds also runs the scenario of a restored store."""
FAILING_SHARE = 5
"""One in so many that of members that are lost for long."""

PAIR_SHARE = 5
"""The same for two hubs on one store."""
PARTING_SHARE = 5
"""And for a cluster that is forced out."""
FAILED_ONCE = {"test_faults_and_convergence_with_two_hubs": (48, 236), "test_members_that_fail": (53, 110)}
"""Seeds that found something; they run always."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    first, count = metafunc.config.getoption("--first-seed"), metafunc.config.getoption("--seeds")
    share = {
        test_a_restored_store_takes_nothing_away: RESTORED_SHARE,
        test_members_that_fail: FAILING_SHARE,
        test_faults_and_convergence_with_two_hubs: PAIR_SHARE,
        test_a_cluster_that_was_forced_out_returns_late: PARTING_SHARE,
    }
    count = max(1, count // share.get(metafunc.function, 1))
    seeds = sorted({*range(first, first + count), *FAILED_ONCE.get(metafunc.function.__name__, ())})
    metafunc.parametrize("seed", seeds, ids=lambda seed: f"seed{seed}")


async def test_faults_and_convergence(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1)
    await explained(Simulation(seed), seed)


async def test_faults_and_convergence_with_two_hubs(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1)
    await explained(PairSimulation(seed), seed)


async def explained(simulation: Simulation, seed: int) -> None:
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


async def test_members_that_fail(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1)
    simulation = FailingSimulation(seed)
    try:
        await simulation.run()
    except BaseException:
        print(f"seed {seed}: {' '.join(simulation.trace)}")
        raise


async def test_a_cluster_that_was_forced_out_returns_late(
    seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL + 1)
    await explained(PartingSimulation(seed), seed)
