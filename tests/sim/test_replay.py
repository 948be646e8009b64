"""A seed that failed fails again: a history depends on its seed alone."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.sim.replay import SCENARIOS


def test_the_same_seed_is_the_same_history() -> None:
    """Python gives strings other hashes, and sets of them another order, in each process."""
    runs = [f"{scenario}:7" for scenario in SCENARIOS]
    replays = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.sim.replay", *runs],
            env={**os.environ, "PYTHONHASHSEED": hashing}, stdout=subprocess.PIPE, text=True,
        )
        for hashing in ("1", "2")
    ]  # fmt: skip
    first, second = [replay.communicate()[0] for replay in replays]
    assert len(first.splitlines()) == len(runs)
    assert first == second
