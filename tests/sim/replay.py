"""Runs seeds of scenarios: `python -m tests.sim.replay failing:53`. It says what happened, and a fingerprint of it."""

from __future__ import annotations

import asyncio
import logging
import sys

import towline.hub  # noqa: F401  (first: what it tells grpc counts only before grpc is imported)
from tests.sim.failing import FailingSimulation
from tests.sim.pairs import FailingPairSimulation, PairSimulation
from tests.sim.parting import PartingSimulation
from tests.sim.restored import RestoredSimulation
from tests.sim.simulation import Simulation

SCENARIOS: dict[str, type[Simulation]] = {
    "faults": Simulation, "failing": FailingSimulation, "pairs": PairSimulation, "parting": PartingSimulation,
    "restored": RestoredSimulation, "failing-pairs": FailingPairSimulation,
}  # fmt: skip


def main(*runs: str) -> None:
    logging.disable(logging.CRITICAL)
    for run in runs:
        scenario, seed = run.split(":")
        simulation = SCENARIOS[scenario](int(seed))
        try:
            asyncio.run(simulation.run())
        finally:
            print(run, simulation.fingerprint(), *simulation.trace)


if __name__ == "__main__":
    main(*sys.argv[1:])
