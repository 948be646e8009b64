"""Questions about room through a real gateway: to whom, and what becomes of those who wait."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from tests.session.test_gateway import SESSION, Agent, Hub, agent_of, channel_of, hub, until
from towline.agent.session import Estimate
from towline.hub.decide.plan import Ask
from towline.hub.decide.scheduling.estimates import NO_ANSWER
from towline.hub.gateway.questions import ANSWER_SECONDS_MAX
from towline.hub.store.answers import AnswerTable
from towline.kube.wishes import Wish, of_replicas
from towline.proto import fleet_pb2 as fleet

__all__ = ["hub"]

ONE, TWO = (of_replicas({"resourceRequest": {"cpu": cpu}}) for cpu in ("1", "2"))


class Waiting:
    """Somebody who asked."""

    def __init__(self, hub: Hub, wish: Wish, *clusters: str) -> None:
        self.hub, self.key, self.woken = hub, wish.key, False
        self.table.ask(self, [Ask(name, wish) for name in clusters], self._wake, self._now())

    @property
    def table(self) -> AnswerTable:
        return self.hub.answers

    @property
    def said(self) -> dict[str, int]:
        return dict(self.table.at(self._now(), self).said(self.key))

    def _wake(self) -> None:
        self.woken = True

    def _now(self) -> float:
        return time.time() + self.hub.skew


def questions(agent: Agent) -> list[fleet.Question]:
    return [q for effect in agent.effects if isinstance(effect, Estimate) for q in effect.questions]


async def test_each_agent_is_asked_for_itself(hub: Hub) -> None:
    async with agent_of(hub, "member1") as first, agent_of(hub, "member2") as second:
        await until(lambda: hub.answers.able == {"member1", "member2"})
        waiting = Waiting(hub, ONE, "member1", "member2")
        for agent, room in ((first, 3), (second, 0)):
            await until(partial(questions, agent))
            agent.session.answer(fleet.Answer(id=questions(agent)[0].id, room=room))
            await agent.send()
        await until(lambda: waiting.woken)
        assert waiting.said == {"member1": 3, "member2": 0}


async def test_an_agent_that_is_silent_is_waited_for_three_seconds(hub: Hub) -> None:
    async with agent_of(hub) as agent:
        await until(lambda: hub.answers.able)
        waiting = Waiting(hub, ONE, "member1")
        await until(lambda: questions(agent))
        hub.skew += ANSWER_SECONDS_MAX
        later = Waiting(hub, TWO, "member1")
        await until(lambda: waiting.woken)
        assert waiting.said == {"member1": NO_ANSWER} and not later.woken


async def test_nobody_waits_for_an_agent_that_hangs_up(hub: Hub) -> None:
    async with agent_of(hub) as agent:
        await until(lambda: hub.answers.able)
        waiting = Waiting(hub, ONE, "member1")
        await until(lambda: questions(agent))
    await until(lambda: waiting.woken)
    assert waiting.said == {} and not hub.answers.able


async def test_an_agent_that_opens_a_newer_session_is_asked_there(hub: Hub) -> None:
    async with agent_of(hub) as older:
        await until(lambda: hub.answers.able)
        waiting = Waiting(hub, ONE, "member1")
        await until(lambda: questions(older))
        async with agent_of(hub) as newer:
            await until(lambda: waiting.woken)
            await until(lambda: hub.answers.able)
            Waiting(hub, ONE, "member1")
            await until(lambda: questions(newer))
            assert len(questions(older)) == 1


async def test_an_agent_that_does_not_say_that_it_estimates_is_never_asked(hub: Hub) -> None:
    async with channel_of(hub, hub.agent_leaf("member1")) as channel:
        call: Any = channel.stream_stream(SESSION)()
        hello = fleet.Hello(protocol_version=1, cluster="member1", cluster_uid="uid-1")
        await call.write(
            fleet.AgentBatch(sequence=1, frames=[fleet.AgentFrame(hello=hello)]).SerializeToString()
        )
        await hub.seen("connected", "member1")
        waiting = Waiting(hub, ONE, "member1")
        assert waiting.woken and waiting.said == {} and not hub.answers.able
        call.cancel()
