from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.api.served import Served, end, serve


@pytest.fixture
async def api() -> AsyncIterator[Served]:
    """A server with the namespaces default and shop."""
    served = Served()
    async with asyncio.TaskGroup() as tasks, aiohttp.ClientSession() as served.session:
        await serve(served, tasks)
        for name in ("default", "shop"):
            await served.create("/api/v1/namespaces", {"metadata": {"name": name}})
        served.audited.clear()
        yield served
        await end(served)
