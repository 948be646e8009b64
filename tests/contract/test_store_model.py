"""Safety: whatever is committed at the same time, the outcome is that of some order, one commit after another."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.contract.store_servers import collect, load
from towline.hub.store.contract import Change, Conflict, Row, Store, Write
from towline.hub.store.memory import MemoryStore
from towline.hub.store.sqlite import SqliteStore

KEYS = [f"/towline/core/configmaps/default/{name}" for name in "abcd"]
GUESSES = st.sampled_from(["right", "right", "right", "absent", "older"])
WRITES = st.lists(
    st.tuples(st.sampled_from(KEYS), st.one_of(st.none(), st.binary(max_size=4)), GUESSES),
    min_size=1,
    max_size=3,
    unique_by=lambda write: write[0],
)


class CommitsAreInOrder(RuleBasedStateMachine):
    def make(self) -> Store:
        return MemoryStore()

    @initialize()
    def start(self) -> None:
        self.runner = asyncio.Runner()
        self.store = self.make()
        self.runner.run(self.store.open())
        self.first, _ = self.runner.run(load(self.store))
        self.rows: dict[str, tuple[bytes, int]] = {}
        self.history: list[Change] = []
        self.seen = self.first

    @rule(commits=st.lists(WRITES, min_size=1, max_size=6))
    def commit_together(self, commits: list[list[tuple[str, bytes | None, str]]]) -> None:
        attempts = [self.writes(commit) for commit in commits]

        async def together() -> list[Any]:
            return await asyncio.gather(*map(self.store.commit, attempts), return_exceptions=True)

        outcomes = self.runner.run(together())
        done = {
            outcome: writes
            for writes, outcome in zip(attempts, outcomes, strict=True)
            if isinstance(outcome, int)
        }
        refused = [
            (writes, outcome)
            for writes, outcome in zip(attempts, outcomes, strict=True)
            if not isinstance(outcome, int)
        ]
        states = [self.revisions()]
        for revision in sorted(done):
            assert revision > self.seen
            self.seen = revision
            assert not stale(done[revision], states[-1])
            for key, value, _ in done[revision]:
                self.history.append(Change(key, value, revision))
                if value is None:
                    del self.rows[key]
                else:
                    self.rows[key] = (value, revision)
            states.append(self.revisions())
        for writes, outcome in refused:
            assert isinstance(outcome, Conflict), outcome
            assert any(stale(writes, state) == list(outcome.keys) for state in states)

    @rule()
    def load_shows_the_model(self) -> None:
        expected = [Row(key, value, revision) for key, (value, revision) in sorted(self.rows.items())]
        assert self.runner.run(load(self.store)) == (self.seen, expected)

    @rule()
    def changes_are_the_history(self) -> None:
        if self.history:

            async def follow() -> list[Change]:
                follower = self.store.changes(self.first)
                try:
                    return await collect(follower, self.seen)
                finally:
                    await follower.aclose()

            assert self.runner.run(follow()) == self.history

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.load_shows_the_model()
            self.changes_are_the_history()
            self.runner.run(self.store.close())
            self.runner.close()

    def revisions(self) -> dict[str, int]:
        return {key: revision for key, (_, revision) in self.rows.items()}

    def writes(self, commit: list[tuple[str, bytes | None, str]]) -> list[Write]:
        current = self.revisions()
        expected: dict[str, Callable[[str], int]] = {
            "right": lambda key: current.get(key, 0),
            "absent": lambda key: 0,
            "older": lambda key: 1,
        }
        writes = [Write(key, value, expected[guess](key)) for key, value, guess in commit]
        # A deletion must expect a row; one that expects a wrong one is a conflict.
        return [w if w.expected or w.value is not None else w._replace(expected=1) for w in writes]


def stale(writes: list[Write], revisions: dict[str, int]) -> list[str]:
    return [write.key for write in writes if revisions.get(write.key, 0) != write.expected]


class SqliteCommitsAreInOrder(CommitsAreInOrder):
    def make(self) -> Store:
        self.directory = Path(tempfile.mkdtemp(prefix="towline-test-"))
        return SqliteStore(self.directory / "hub.sqlite")

    @rule()
    def restart(self) -> None:
        async def reopen() -> None:
            await self.store.close()
            await self.store.open()

        self.runner.run(reopen())
        self.first, self.history = self.seen, []

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.directory, ignore_errors=True)


quick = settings(deadline=None, suppress_health_check=list(HealthCheck))

TestMemory = CommitsAreInOrder.TestCase
TestMemory.settings = settings(quick, max_examples=100, stateful_step_count=20)
TestSqlite = SqliteCommitsAreInOrder.TestCase
TestSqlite.settings = settings(quick, max_examples=60, stateful_step_count=12)
