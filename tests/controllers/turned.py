"""An event loop whose clock jumps to the next timer when there is nothing else to do: an hour passes in no time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class TurnedLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._turned = 1_000_000.0
        super().__init__()

    def time(self) -> float:
        return self._turned

    def _run_once(self) -> None:
        loop: Any = self
        due = [timer.when() for timer in loop._scheduled if not timer.cancelled()]
        if due and not loop._ready:
            self._turned = max(self._turned, min(due))
        super()._run_once()  # type: ignore[misc]


def turned(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """A test that runs on such a loop. Nothing in it may wait for another thread or process."""

    def run() -> None:
        with asyncio.Runner(loop_factory=TurnedLoop) as runner:
            runner.run(test())

    run.__name__ = test.__name__
    return run


def clock() -> float:
    return asyncio.get_running_loop().time()
