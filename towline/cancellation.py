"""Whether a CancelledError is anybody's wish.

grpc raises it also when a channel closes or a connection breaks. That must not look as if somebody had cancelled the task: a task group
forgets such a task, and nobody would be told of the failure.
"""

from __future__ import annotations

import asyncio


def is_wished() -> bool:
    """Whether somebody asked for the end of the task that this is called in, where it just caught a CancelledError."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
