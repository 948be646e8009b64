"""Writers for the crash test: each commit adds one to a writer's two counters and leaves a row of its own.

Run as a program, it writes to a sqlite store until it is killed, and prints each commit after it was acknowledged.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from towline.hub.store.contract import Store, Write
from towline.hub.store.sqlite import SqliteStore

WRITERS = 8
PREFIX = "/towline/core/configmaps/default/"


class Acknowledged(NamedTuple):
    writer: int
    count: int  # type: ignore[assignment]  # hides the method of tuples
    revision: int


Counters = Mapping[int, tuple[int, int]]
"""Count and revision of the counters, by writer."""


def left(writer: int) -> str:
    return f"{PREFIX}left-{writer}"


def right(writer: int) -> str:
    return f"{PREFIX}right-{writer}"


def mark(writer: int, count: int) -> str:
    return f"{PREFIX}mark-{writer}-{count:06}"


async def counters(store: Store) -> Counters:
    rows = {row.key: row async for _, page in store.load() for row in page}
    present = [(writer, rows.get(left(writer))) for writer in range(WRITERS)]
    return {writer: (int(row.value), row.revision) if row else (0, 0) for writer, row in present}


async def write_on(
    store: Store,
    writer: int,
    counters: Counters,
    acknowledge: Callable[[Acknowledged], None],
    ended: asyncio.Event,
) -> None:
    """Commit until the store fails, or until it is `ended`."""
    count, revision = counters[writer]
    filling = b"x" * 1000
    while not ended.is_set():
        count += 1
        value = b"%d" % count
        revision = await store.commit(
            [
                Write(left(writer), value, revision),
                Write(mark(writer, count), filling, 0),
                Write(right(writer), value, revision),
            ]
        )
        acknowledge(Acknowledged(writer, count, revision))


def print_line(done: Acknowledged) -> None:
    os.write(1, b"%d %d %d\n" % done)  # one system call: a line is there as a whole or not at all


async def main() -> None:
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()
    at = await counters(store)
    async with asyncio.TaskGroup() as writers:
        for writer in range(WRITERS):
            writers.create_task(write_on(store, writer, at, print_line, asyncio.Event()))


if __name__ == "__main__":
    asyncio.run(main())
