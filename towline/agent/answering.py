"""Answers the hub's questions about room, one at a time between other things, so that many of them keep nothing waiting."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable

import orjson

from towline.agent.capacity import Capacity
from towline.agent.estimate import room_for
from towline.kube.cells import table
from towline.kube.wishes import Pods, Wish, wish
from towline.proto import fleet_pb2 as fleet

log = logging.getLogger("towline.agent.answering")

OPEN_MAX = 1024
CANNOT_COUNT = -1

Say = Callable[[fleet.Answer], None]


class Answering:
    """`ready()`: whether `capacity` is known well enough to be counted on."""

    def __init__(self, capacity: Capacity, ready: Callable[[], bool]) -> None:
        self._capacity = capacity
        self._ready = ready
        self._open: deque[tuple[fleet.Question, Say]] = deque()
        self._news = asyncio.Event()

    def ask(self, questions: Iterable[fleet.Question], say: Say) -> None:
        """`say` is called with each answer, soon."""
        for question in questions:
            if len(self._open) < OPEN_MAX:
                self._open.append((question, say))
            else:
                say(fleet.Answer(id=question.id, room=CANNOT_COUNT))
        self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._open:
                question, say = self._open.popleft()
                say(fleet.Answer(id=question.id, room=self._room(question)))
                await asyncio.sleep(0)

    def _room(self, question: fleet.Question) -> int:
        if not self._ready():
            return CANNOT_COUNT
        try:
            asked = read_question(question)
        except ValueError as error:
            log.warning("the hub asks for room in words that cannot be read: %s", error)
            return CANNOT_COUNT
        self._capacity.answered()
        quotas = self._capacity.quotas.get(asked.namespace, {})
        return room_for(self._capacity.nodes.values(), quotas.values(), asked)


def read_question(question: fleet.Question) -> Wish:
    """Raises ValueError."""
    return wish(
        question.namespace,
        [
            Pods(
                replicas=pods.replicas,
                requests=dict(pods.requests),
                claim=table(orjson.loads(pods.claim)) if pods.claim else {},
                priority_class=pods.priority_class,
            )
            for pods in question.pods
        ],
    )
