"""Options of the whole test run."""

from __future__ import annotations

import pytest

import towline.hub  # noqa: F401  (first: what it tells grpc counts only before grpc is imported)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--seeds", type=int, help="how many seeds each scenario of the simulation runs (tests/sim)"
    )
    parser.addoption("--first-seed", type=int, default=0, help="the first seed of the simulation")
