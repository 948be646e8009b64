"""Who wants to be told of something, by a ticket, so that one callback may subscribe twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def subscribe(subscribers: dict[object, T], callback: T) -> Callable[[], None]:
    """Keep `callback` among `subscribers`; answers the function that ends it."""
    ticket = object()
    subscribers[ticket] = callback

    def unsubscribe() -> None:
        subscribers.pop(ticket, None)

    return unsubscribe
