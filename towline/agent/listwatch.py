"""Lists in pages, and watches, of a member's objects: what does not depend on what is made of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

from towline.agent.kubernetes import Lines, Member, Refused

LIST_PAGE = 500
WATCH_SECONDS = 300

Page = TypeVar("Page")


class Expired(Exception):
    """The resourceVersion is too old (410): list again."""


class Pauses:
    """Between attempts that fail. They end when the API server answers again, however long it was away."""

    def __init__(self) -> None:
        self._resumed = asyncio.Event()

    def resume(self) -> None:
        """Nobody waits any longer."""
        self._resumed.set()
        self._resumed.clear()

    async def wait(self, seconds: float) -> bool:
        """Whether it was resumed before its end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await self._resumed.wait()
        return False


async def pages(
    fetch: Callable[[Mapping[str, str]], Awaitable[tuple[Page, str]]], selector: Mapping[str, str]
) -> AsyncIterator[Page]:
    """A list, page by page. `fetch(query)` answers one page and its `continue`. Raises Expired when the list went on too slowly."""
    query = {**selector, "limit": str(LIST_PAGE)}
    while True:
        try:
            page, more = await fetch(query)
        except Refused as refused:
            if refused.code == 410 and "continue" in query:
                raise Expired from None
            raise
        yield page
        if not more:
            return
        query["continue"] = more


@asynccontextmanager
async def watching(
    member: Member, path: str, selector: Mapping[str, str], version: str, jitter: float
) -> AsyncIterator[Lines]:
    """The lines of a watch from `version` on, with bookmarks. `jitter` is 0..1. Raises Expired, Refused and MemberUnreachable."""
    seconds = int(WATCH_SECONDS * (1 + jitter))
    query = {
        **selector,
        "watch": "true",
        "resourceVersion": version,
        "allowWatchBookmarks": "true",
        "timeoutSeconds": str(seconds),
    }
    try:
        # The server ends the watch after `seconds`; one that has been silent for longer is dead.
        async with member.stream(path, query, silence_seconds=seconds + 30) as lines:
            yield lines
    except Refused as refused:
        if refused.code == 410:
            raise Expired from None
        raise
