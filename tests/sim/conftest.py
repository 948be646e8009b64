"""How the simulation runs in a process that runs other tests too."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def _collected_rarely() -> Iterator[None]:
    """Whole systems come and go: to look again and again through all that lives meanwhile took a sixth of the time."""
    usual = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    yield
    gc.set_threshold(*usual)
    gc.unfreeze()
