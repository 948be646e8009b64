from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.agent.member import User, a_member


@pytest.fixture
async def user(tmp_path: Path) -> AsyncIterator[User]:
    """Somebody with kubectl in a fresh member."""
    async with a_member(tmp_path) as user:
        yield user
