"""Backends for the contract suite: a real etcd for the whole session, fresh data for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.contract.store_servers import Backend, EtcdServer


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    server = EtcdServer(tmp_path_factory.mktemp("etcd") / "data")
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(params=["memory", "sqlite", "etcd"])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    etcd = request.getfixturevalue("etcd") if request.param == "etcd" else None
    backend = Backend(request.param, tmp_path, etcd)
    await backend.store.open()
    try:
        yield backend
    finally:
        await backend.close()
