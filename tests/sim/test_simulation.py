"""The whole system under faults: safe at every step, and right in the end. `--seeds N` runs more."""

from __future__ import annotations

import logging

import pytest

from tests.sim.simulation import Simulation

SHARES = {
    "test_a_restored_store_takes_nothing_away": 20,
    "test_a_cluster_that_was_forced_out_returns_late": 5,
}
"""One in so many seeds also runs these scenarios."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    first, count = metafunc.config.getoption("--first-seed"), metafunc.config.getoption("--seeds")
    count = max(1, count // SHARES.get(metafunc.function.__name__, 1))
    metafunc.parametrize("seed", range(first, first + count), ids=lambda seed: f"seed{seed}")


async def test_faults_and_convergence(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1)
    simulation = Simulation(seed)
    try:
        await simulation.run()
    except BaseException:
        print(f"seed {seed}: {' '.join(simulation.trace)}")
        raise


async def test_a_restored_store_takes_nothing_away(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1)
    try:
        await Simulation(seed).run_restored()
    except BaseException:
        print(f"seed {seed}")
        raise


async def test_a_cluster_that_was_forced_out_returns_late(
    seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL + 1)
    simulation = Simulation(seed)
    try:
        await simulation.run_parting()
    except BaseException:
        print(f"seed {seed}: {' '.join(simulation.trace)}")
        raise
