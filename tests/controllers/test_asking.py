"""Room in clusters whose sessions another hub has: its agents are asked through it, and what fails there holds nobody up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from towline.hub.asking import QUESTIONS_MAX, SILENCE_SECONDS, Asking, answered, read, told
from towline.hub.decide.plan import Ask
from towline.hub.decide.scheduling.estimates import NO_ANSWER
from towline.hub.store.answers import AnswerTable
from towline.kube.wishes import Wish, of_components, of_replicas

CLAIM = {"nodeSelector": {"disk": "ssd"}, "tolerations": [{"key": "a", "operator": "Exists"}]}
ONE = of_replicas({"resourceRequest": {"cpu": "1"}}, "shop")
TWO = of_replicas({"resourceRequest": {"cpu": "2"}, "nodeClaim": CLAIM, "priorityClassName": "high"}, "shop")
SET = of_components([{"replicas": 2, "replicaRequirements": {"resourceRequest": {"memory": "1Gi"}}}], "ml")


class Pair:
    """This hub has an agent in a, the other one in b and c; the agents of `rooms` answer at once."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.rooms = {"a": 1, "b": 2, "c": 3}
        self.mine, self.theirs = AnswerTable(), AnswerTable()
        self.posts: list[str] = []
        self.post: Callable[[str, bytes], Any] = self._post
        self.elsewhere = {"b": "other", "c": "other"}
        self.opened: list[str] = []
        self.theirs.subscribe(self.opened.append)
        self.mine.connected("a")
        self.mine.abroad = self.elsewhere.keys()
        for name in "bc":
            self.theirs.connected(name)
        self.theirs.carried_by(self._agent(self.theirs))
        self.asking = Asking(
            self.mine, here=self._agent(self.mine), elsewhere=lambda: self.elsewhere, api=lambda hub: f"{hub}:6443",
            others=lambda: ["other"], post=lambda api, body: self.post(api, body), now=lambda: self.now,
        )  # fmt: skip
        self.mine.carried_by(self.asking.carry)

    def _agent(self, table: AnswerTable) -> Callable[[str, Wish], None]:
        def ask(cluster: str, wish: Wish) -> None:
            if cluster in self.rooms:
                table.answered(cluster, wish.key, self.rooms[cluster], self.now)

        return ask

    async def _post(self, api: str, body: bytes) -> bytes:
        self.posts.append(api)
        answer = await answered(orjson.loads(body), self.theirs, lambda: {"b", "c"}, lambda: self.now)
        assert answer.status == 200, answer
        return orjson.dumps(answer.body)

    async def ask(self, wish: Wish, *clusters: str) -> dict[str, int]:
        done = asyncio.Event()
        self.mine.ask("web", [Ask(cluster, wish) for cluster in clusters], done.set, self.now)
        async with asyncio.timeout(5):
            await done.wait()
        return dict(self.mine.at(self.now, "web").said(wish.key))


@asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    both = Pair()
    running = asyncio.ensure_future(both.asking.run())
    try:
        yield both
    finally:
        running.cancel()
        await asyncio.wait((running,))


@pytest.mark.parametrize("wish", [ONE, TWO, SET], ids=["a replica", "what it claims", "a set"])
def test_a_wish_is_the_same_at_the_other_hub(wish: Wish) -> None:
    again = read(orjson.loads(orjson.dumps(told(wish))))
    assert (again.key, again.pods, again.totals) == (wish.key, wish.pods, wish.totals)


async def test_agents_of_both_hubs_are_asked_those_of_the_other_in_one_request() -> None:
    async with pair() as both:
        assert both.mine.at(both.now).able == {"a", "b", "c"}
        assert await both.ask(ONE, "a", "b", "c") == {"a": 1, "b": 2, "c": 3}
        assert both.posts == ["other:6443"]
        assert await both.ask(TWO, "b") == {"b": 2}


async def test_an_agent_that_came_here_meanwhile_is_asked_here() -> None:
    async with pair() as both:
        both.mine.connected("b")
        assert await both.ask(ONE, "b") == {"b": 2} and both.posts == []


async def test_an_agent_that_left_the_other_hub_meanwhile_is_not_asked_on_and_on() -> None:
    async with pair() as both:
        both.elsewhere["d"] = "other"
        assert await both.ask(ONE, "b", "d") == {"b": 2, "d": NO_ANSWER}


@pytest.mark.parametrize(
    "failure", [OSError("refused"), ValueError("403"), b"{}", b"no json", b'{"rooms": [{}, {}]}', b'{"rooms": [{"b": "x"}]}'], ids=str
)  # fmt: skip
async def test_a_hub_that_cannot_be_asked_is_an_agent_that_does_not_answer(
    failure: Exception | bytes,
) -> None:
    async def failing(api: str, body: bytes) -> bytes:
        both.posts.append(api)
        if isinstance(failure, Exception):
            raise failure
        return failure

    async with pair() as both:
        both.post = failing
        assert await both.ask(ONE, "a", "b") == {"a": 1, "b": NO_ANSWER}


async def test_a_hub_that_could_not_be_asked_is_left_alone_for_a_while() -> None:
    async def refused(api: str, body: bytes) -> bytes:
        raise OSError("refused")

    async with pair() as both:
        both.post = refused
        await both.ask(ONE, "b")
        both.post = both._post
        assert await both.ask(TWO, "b", "c") == {"b": NO_ANSWER, "c": NO_ANSWER} and both.posts == []
        both.now += SILENCE_SECONDS
        assert await both.ask(TWO, "b", "c") == {"b": 2, "c": 3}


async def test_the_other_hub_hears_of_more_room_that_no_sum_shows_and_says_it_to_nobody_else() -> None:
    async with pair() as both:
        for openings in (1, 2, 3):
            both.mine.room_changed("a", openings, both.now)
        both.mine.opened("b", both.now)
        while not both.posts:
            await asyncio.sleep(0.05)
        assert both.opened == ["a"] and both.posts == ["other:6443"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (None, 400),
        ({"questions": 1}, 400),
        ({"questions": [{"clusters": ["b"], "wish": {"namespace": "", "pods": [{}]}}]}, 400),
        ({"questions": [{"clusters": [], "wish": told(ONE)}] * (QUESTIONS_MAX + 1)}, 413),
        ({"questions": []}, 200),
    ],
)
async def test_what_is_no_question_is_refused(body: Any, code: int) -> None:
    assert (await answered(body, AnswerTable(), set, lambda: 0.0)).status == code
