"""Two agents with one identity, as of two replicas or of a copied disk: they take turns, and ever more seldom."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from towline.agent.connection import BACKOFF_SECONDS, Connection, State
from towline.agent.session import Closed

TWIN = Closed("the agent opened a newer session", True, superseded=True)
CUT = Closed("UNAVAILABLE", True)


class Over(Exception):
    """No session is left."""


async def test_an_agent_that_has_a_twin_comes_back_ever_more_seldom(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ends: Iterator[Closed] = iter([*[TWIN] * 7, CUT, TWIN])
    pauses: list[float] = []
    connection = object.__new__(Connection)
    connection._renewed, connection._is_detached = asyncio.Event(), False

    async def once(self: Connection, identity: Any, address: str) -> Closed:
        self.state = State(synced=True)  # each of them gets its turn
        try:
            return next(ends)
        except StopIteration:
            raise Over from None

    async def pause(self: Connection, seconds: float) -> None:
        pauses.append(seconds)

    connection.state = State()
    monkeypatch.setattr(Connection, "_once", once)
    monkeypatch.setattr(Connection, "_pause", pause)
    with pytest.raises(Over):
        await connection.run(lambda: None, lambda: ["hub:7443"])  # type: ignore[arg-type, return-value]
    assert pauses == [2, 4, 8, 16, 32, 60, 60, BACKOFF_SECONDS[0], 2]
    assert "let only one run (is it more than one replica, or a copied --data-dir?)" in caplog.text
