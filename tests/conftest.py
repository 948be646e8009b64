"""Options of the whole test run."""

from __future__ import annotations

import gc

import pytest

import towline.hub  # noqa: F401  (first: what it tells grpc counts only before grpc is imported)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--seeds", type=int, help="how many seeds each scenario of the simulation runs (tests/sim)"
    )
    parser.addoption("--first-seed", type=int, default=0, help="the first seed of the simulation")


def pytest_configure() -> None:
    """The collector of garbage looks through everything rarely, because in the simulation whole systems come and go, and through
    what is young before it has left the processor's cache: with 50,000 objects at a time properties took a tenth longer."""
    gc.set_threshold(5_000, 20, 50)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What was imported and collected stays: to look through it again and again took a tenth of the time."""
    gc.collect()
    gc.freeze()
