"""Who may run now, who waits, and who is refused: one client's flood must not starve the others.

After the idea of Kubernetes' priority and fairness, with levels, costs and bounds of our own choice: a request belongs to a level
and, in it, to a flow (its user and namespace). A level has seats; a request takes as many as it costs. When they are taken, requests wait in a short queue of their flow, and the flow
that has had the least work goes next (start-time fair queueing). `Levels` decides and never waits; `Gate` is its shell.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

from towline.hub.api.engine import Limits
from towline.hub.api.paths import Attributes
from towline.hub.api.user import MASTERS, User

EXEMPT = "exempt"
LEADER_ELECTION = "leader-election"
EVERYBODY = "everybody"

Flow = tuple[str, str]
"""(user, namespace)."""

Refusal = Literal["", "queue-full", "time-out"]
"""Why a request may not run; "": it may."""

READS_MANY = frozenset({"list", "watch", "deletecollection"})

_LIST_OBJECTS_PER_SEAT = 100


@dataclass(frozen=True, slots=True)
class Level:
    """Bounds of one level. `flow_seats` is what one flow may hold, so that another one need not wait for it to end."""

    seats: int
    flow_seats: int
    queued: int
    """Requests that may wait, in all."""
    flow_queued: int
    """Requests that may wait, of one flow."""
    request_seats: int = 10
    """The most that one request costs."""


@dataclass(eq=False, slots=True)
class Ticket:
    """One request's place: waiting, or running with `seats`."""

    level: str
    flow: Flow
    seats: int
    running: bool = False


def level_of(user: User, at: Attributes) -> str:
    """The level that a request belongs to."""
    if MASTERS in user.groups:
        return EXEMPT
    if at.group == "coordination.k8s.io" and at.resource == "leases":
        return LEADER_ELECTION
    return EVERYBODY


def cost(at: Attributes, objects: int, limit: int | None) -> int:
    """The seats of a request: a list costs by the objects that it may read; `limit` is its page's size."""
    if at.verb not in READS_MANY:
        return 1
    # A page from a namespace may scan the whole resource; its answer is what costs.
    return 1 + (objects if not limit else min(objects, limit)) // _LIST_OBJECTS_PER_SEAT


def levels(limits: Limits) -> dict[str, Level]:
    """The levels of a server with `limits`. Together their seats bound what runs at the same time."""

    def level(seats: int) -> Level:
        waiting = limits.queued
        return Level(seats, min(limits.flow_seats, seats), waiting, min(limits.flow_queued, waiting))

    exempt, waiting = limits.exempt_seats, limits.queued
    return {
        EXEMPT: Level(exempt, exempt, waiting, waiting, request_seats=1),
        LEADER_ELECTION: level(limits.leader_seats),
        EVERYBODY: level(limits.in_flight),
    }


class Levels:
    """Decides. Call `arrive` for each request, `leave` once for each ticket, waiting or running; both are O(flows)."""

    def __init__(self, levels: Mapping[str, Level]) -> None:
        self._queues = {name: _Queue(level) for name, level in levels.items()}

    def arrive(self, level: str, flow: Flow, seats: int) -> Ticket | None:
        """A ticket, which runs at once when it says so; None: refused, the queue is full."""
        queue = self._queues[level]
        ticket = Ticket(level, flow, max(1, min(seats, queue.level.request_seats, queue.level.flow_seats)))
        return ticket if queue.arrive(ticket) else None

    def leave(self, ticket: Ticket) -> list[Ticket]:
        """The ticket's request has ended, or waits no more. Answers the tickets that run from now on."""
        queue = self._queues[ticket.level]
        queue.leave(ticket)
        return queue.dispatch()

    def load(self, level: str) -> tuple[int, int]:
        """(seats taken, requests waiting)."""
        queue = self._queues[level]
        return queue.taken, queue.waiting


class Gate:
    """Lets requests in as `Levels` decides."""

    def __init__(self, levels: Mapping[str, Level], queue_seconds: float) -> None:
        self.levels = Levels(levels)
        self._queue_seconds = queue_seconds
        self._waiting: dict[Ticket, asyncio.Future[None]] = {}

    @asynccontextmanager
    async def seat(self, level: str, flow: Flow, seats: int) -> AsyncIterator[Refusal]:
        """Waits for a seat and holds it, or answers why not."""
        ticket = self.levels.arrive(level, flow, seats)
        if ticket is None:
            yield "queue-full"
            return
        try:
            yield "" if ticket.running or await self._admitted(ticket) else "time-out"
        finally:
            for admitted in self.levels.leave(ticket):
                future = self._waiting.get(admitted)
                if future is not None and not future.done():
                    future.set_result(None)

    async def _admitted(self, ticket: Ticket) -> bool:
        future = self._waiting[ticket] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._queue_seconds):
                await future
        except TimeoutError:
            return False
        finally:
            del self._waiting[ticket]
        return True


@dataclass(slots=True)
class _Line:
    """One flow's queue. `finish` is the virtual time at which its dispatched work ends."""

    waiting: deque[Ticket] = field(default_factory=deque)
    seats: int = 0
    finish: int = 0


class _Queue:
    """One level: flows that wait or run, and a virtual clock that counts the work handed out."""

    def __init__(self, level: Level) -> None:
        self.level = level
        self.taken = 0
        self.waiting = 0
        self._clock = 0
        self._lines: dict[Flow, _Line] = {}

    def arrive(self, ticket: Ticket) -> bool:
        line = self._lines.setdefault(ticket.flow, _Line())
        line.waiting.append(ticket)
        self.waiting += 1
        self.dispatch()
        full = self.waiting > self.level.queued or len(line.waiting) > self.level.flow_queued
        if ticket.running or not full:
            return True
        self.leave(ticket)
        return False

    def dispatch(self) -> list[Ticket]:
        admitted = []
        while (line := self._next()) is not None:
            ticket = line.waiting.popleft()
            self.waiting -= 1
            ticket.running = True
            line.seats += ticket.seats
            self.taken += ticket.seats
            self._clock = max(self._clock, line.finish)
            line.finish = self._clock + ticket.seats
            admitted.append(ticket)
        return admitted

    def leave(self, ticket: Ticket) -> None:
        line = self._lines[ticket.flow]
        if ticket.running:
            line.seats -= ticket.seats
            self.taken -= ticket.seats
        else:
            line.waiting.remove(ticket)
            self.waiting -= 1
        if not line.waiting and not line.seats:
            del self._lines[ticket.flow]

    def _next(self) -> _Line | None:
        """The flow that has had the least work, of those whose own bound lets them run; it waits for seats, so that a
        request of many is not passed by for ever by requests of one."""
        bound = self.level.flow_seats
        able = [
            line
            for line in self._lines.values()
            if line.waiting and line.seats + line.waiting[0].seats <= bound
        ]
        if not able:
            return None
        line = min(able, key=lambda able_line: max(able_line.finish, self._clock))
        return line if self.taken + line.waiting[0].seats <= self.level.seats else None
