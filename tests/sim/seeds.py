"""How many seeds a scenario runs, and how one is run. `--seeds N` runs N of each scenario, `--first-seed` says from where."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from tests.sim.simulation import Simulation


def seeded(count: int, failed_once: tuple[int, ...] = ()) -> Callable[[pytest.Metafunc], None]:
    """A `pytest_generate_tests`: `count` seeds unless the command line says otherwise, and always those that found something."""

    def generate(metafunc: pytest.Metafunc) -> None:
        first, seeds = metafunc.config.getoption("--first-seed"), metafunc.config.getoption("--seeds")
        chosen = {*range(first, first + (count if seeds is None else seeds)), *failed_once}
        metafunc.parametrize("seed", sorted(chosen), ids=lambda seed: f"seed{seed}")

    return generate


async def run(simulation: Simulation, seed: int) -> None:
    """What a hub logs while everything goes wrong is not looked at. A failure tells what happened until then."""
    logging.disable(logging.CRITICAL)
    try:
        await simulation.run()
    except BaseException:
        print(f"seed {seed}: {' '.join(simulation.trace)}")
        raise
    finally:
        logging.disable(logging.NOTSET)
