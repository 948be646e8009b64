"""Waiting for what must be there before anything else can be done."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

log = logging.getLogger("towline.agent.patience")

RETRY_SECONDS = (0.5, 30.0)

Found = TypeVar("Found")


async def patiently(
    what: str,
    attempt: Callable[[], Awaitable[Found]],
    passing: tuple[type[Exception], ...],
    jitter: Callable[[], float],
) -> Found:
    """`attempt`, again and again while it fails with one of `passing`; says so when the reason is a new one."""
    pause, longest = RETRY_SECONDS
    said = ""
    while True:
        try:
            return await attempt()
        except passing as error:
            if str(error) != said:
                said = str(error)
                log.warning("waiting for %s: %s", what, said)
        await asyncio.sleep(pause * (0.5 + jitter() / 2))
        pause = min(longest, pause * 2)
