"""The agent's memory on disk: what it says to be durable survives a kill -9, and nothing is half there."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from towline.agent.desired import HeldWork, HubSeen, Persist, Ref
from towline.agent.disk import Disk, DiskUnusable, Kept
from towline.agent.execution import Applied

REF = Ref("v1", "ConfigMap", "shop", "front")


def work(name: str, text: str = "a", **more: Any) -> HeldWork:
    manifest = (
        b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"namespace":"shop","name":"%b"}}' % text.encode()
    )
    row = HeldWork(name, "uid", 7, 3, "store", b"h" * 16, (manifest,), 1, True)
    return replace(row, **more)


async def reopen(path: Path) -> Kept:
    disk = Disk(path)
    kept = await disk.open()
    await disk.close()
    return kept


async def test_everything_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    disk = Disk(path)
    assert await disk.open() == Kept([], HubSeen(), {})
    one = work("one", report=b"report", report_hash=b"r" * 16)
    two = work("two", removing=True, manifests=(), leftovers=(REF,))
    disk.persist(Persist((one, two), hub=HubSeen("store", 4)))
    disk.put_applied("one", REF, Applied(b"m", "u", b"e"))
    disk.put_applied("two", REF, Applied(b"m", "u", b"e"))
    await disk.close()
    assert await reopen(path) == Kept(
        [one, two],
        HubSeen("store", 4),
        {"one": {REF: Applied(b"m", "u", b"e")}, "two": {REF: Applied(b"m", "u", b"e")}},
    )
    assert path.stat().st_mode & 0o777 == 0o600


async def test_what_is_forgotten_is_gone_with_all_that_belongs_to_it(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    disk = Disk(path)
    await disk.open()
    disk.persist(Persist((work("one"), work("two"))))
    for name in ("one", "two"):
        disk.put_applied(name, REF, Applied(b"m", "u", b"e"))
    disk.persist(Persist(deleted=("one",)))
    disk.drop_applied("two", [REF])
    await disk.close()
    assert await reopen(path) == Kept([work("two")], HubSeen(), {})


async def test_when_the_hub_heard_us_last_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    disk = Disk(path)
    await disk.open()
    disk.persist(Persist((work("one", stop_after_seconds=30),), heard_at=1000.25))
    disk.persist(Persist(heard_at=1010.5))
    await disk.close()
    kept = await reopen(path)
    assert kept.heard_at == 1010.5 and kept.works[0].stop_after_seconds == 30


async def test_a_new_report_does_not_write_the_manifests_again(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "agent.db")
    await disk.open()
    disk.persist(Persist((work("one"),)))
    await disk.close()
    disk = Disk(tmp_path / "agent.db")
    await disk.open()
    disk.persist(Persist((work("one", report=b"new", report_hash=b"n" * 16),)))
    assert [sql for sql, _ in disk._pending if "works" in sql] == []
    await disk.close()
    kept = await reopen(tmp_path / "agent.db")
    assert kept.works == [work("one", report=b"new", report_hash=b"n" * 16)]


async def test_callbacks_come_in_order_and_after_the_write(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "agent.db")
    await disk.open()
    order: list[int] = []
    async with asyncio.TaskGroup() as group:
        writer = group.create_task(disk.run())
        done = asyncio.Event()
        for number in range(20):
            disk.persist(Persist((work(f"w{number}"),)), partial(order.append, number))
        disk.persist(Persist(), done.set)
        async with asyncio.timeout(10):
            await done.wait()
        assert order == list(range(20))
        writer.cancel()
    await disk.close()


async def test_a_write_that_fails_is_not_called_durable_and_is_not_lost(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "agent.db")
    await disk.open()
    durable: list[bool] = []
    disk.persist(Persist((work("one"),)), lambda: durable.append(True))
    connection, disk._connection = (
        disk._connection,
        sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False),
    )
    with pytest.raises(sqlite3.Error):
        await disk._drain()
    assert not durable
    disk._connection.close()
    disk._connection = connection
    await disk.close()
    assert durable
    assert (await reopen(tmp_path / "agent.db")).works == [work("one")]


async def test_a_second_agent_on_the_same_directory_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("towline.agent.disk.LOCK_SECONDS", 0.1)
    first = Disk(tmp_path / "agent.db")
    await first.open()
    second = Disk(tmp_path / "agent.db")
    with pytest.raises(DiskUnusable, match="locked") as caught:
        await second.open()
    assert "--data-dir" in caught.value.next_step
    await second.close()
    await first.close()


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    path.write_bytes(b"not a database" * 1000)
    disk = Disk(path)
    with pytest.raises(DiskUnusable):
        await disk.open()
    await disk.close()


_WRITER = """
import asyncio, sys
from pathlib import Path
from towline.agent.desired import HeldWork, HubSeen, Persist
from towline.agent.disk import Disk

async def main():
    disk = Disk(Path(sys.argv[1]))
    await disk.open()
    asyncio.get_running_loop().create_task(disk.run())
    number = 0
    while True:
        number += 1
        done = asyncio.Event()
        # Two rows in one change: both or neither.
        rows = tuple(
            HeldWork(f"{side}{number % 50}", str(number), number, 1, "s", b"", (b"x" * 2000,), 0, False) for side in "ab"
        )
        disk.persist(Persist(rows, hub=HubSeen("s", number)), done.set)
        await done.wait()
        print(number, flush=True)

asyncio.run(main())
"""


async def test_kill_9_loses_nothing_durable_and_leaves_nothing_half(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    chance = random.Random(5)
    for _ in range(5):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _WRITER, str(path), stdout=asyncio.subprocess.PIPE, env={**os.environ}
        )
        assert process.stdout is not None
        last = 0
        async with asyncio.timeout(20):
            for _ in range(chance.randint(1, 60)):
                last = int(await process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        last = max([last, *(int(line) for line in (await process.stdout.read()).split(b"\n")[:-1])])
        await process.wait()
        kept = await reopen(path)
        assert kept.hub.epoch >= last
        by_name = {row.name: row for row in kept.works}
        for row in kept.works:
            twin = by_name[("b" if row.name[0] == "a" else "a") + row.name[1:]]
            assert twin.uid == row.uid, "both rows of a change, or neither"
        assert int(by_name[f"a{last % 50}"].uid) >= last
        path.unlink()
