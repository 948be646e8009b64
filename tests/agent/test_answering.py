"""The agent's answers: in order, one at a time, and what it says when it cannot count."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.agent.member import SECONDS
from tests.agent.test_capacity import node
from towline.agent.answering import CANNOT_COUNT, OPEN_MAX, Answering
from towline.agent.capacity import Capacity
from towline.proto import fleet_pb2 as fleet


def question(number: int, cpu: int = 1000, claim: bytes = b"") -> fleet.Question:
    pods = fleet.Pods(replicas=1, requests={"cpu": cpu}, claim=claim)
    return fleet.Question(id=number, namespace="shop", pods=[pods])


class Answers:
    def __init__(self, *, ready: bool = True) -> None:
        capacity = Capacity()
        capacity.put_node(node())  # 4 cores, 3 slots
        self.said: list[tuple[int, int]] = []
        self.answering = Answering(capacity, lambda: ready)

    def ask(self, *questions: fleet.Question) -> None:
        self.answering.ask(questions, lambda answer: self.said.append((answer.id, answer.room)))


@asynccontextmanager
async def answered(answers: Answers, count: int) -> AsyncIterator[list[tuple[int, int]]]:
    task = asyncio.create_task(answers.answering.run())
    try:
        async with asyncio.timeout(SECONDS):
            while len(answers.said) < count:
                await asyncio.sleep(0)
        yield answers.said
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def test_answers_come_in_the_order_of_the_questions() -> None:
    answers = Answers()
    answers.ask(question(1, 2000), question(2, 4000))
    answers.ask(question(3, 5000))
    async with answered(answers, 3) as said:
        assert said == [(1, 2), (2, 1), (3, 0)]


async def test_other_things_run_between_two_answers() -> None:
    answers = Answers()
    answers.ask(*(question(number) for number in range(100)))
    async with answered(answers, 1) as said:
        assert len(said) < 100


@pytest.mark.parametrize(
    ("asked", "ready"),
    [
        pytest.param(question(1), False, id="nodes, pods or quotas are not known yet"),
        pytest.param(question(1, claim=b"{"), True, id="a claim that is not JSON"),
    ],
)
async def test_what_cannot_be_counted_is_said_at_once(asked: fleet.Question, ready: bool) -> None:
    answers = Answers(ready=ready)
    answers.ask(asked)
    async with answered(answers, 1) as said:
        assert said == [(1, CANNOT_COUNT)]


def test_only_so_many_questions_are_open() -> None:
    answers = Answers()
    answers.ask(*(question(number) for number in range(OPEN_MAX + 2)))
    assert answers.said == [(OPEN_MAX, CANNOT_COUNT), (OPEN_MAX + 1, CANNOT_COUNT)]
