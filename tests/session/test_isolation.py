"""Ten of two hundred agents stop reading, over real TLS on loopback: nobody else waits for them, they cost a bounded amount of
memory, and after a minute they are cut off, connect again and get what they missed. `python -m bench.sessions` has the figures."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import grpc

from tests.session.pair import work
from tests.session.test_gateway import SESSION, Agent, Hub, channel_of, hub, quiet, until
from towline.agent.desired import Desired, Persist
from towline.hub.gateway.outbox import IN_FLIGHT_BYTES_MAX, STALL_SECONDS_MAX
from towline.proto import fleet_pb2 as fleet

__all__ = ["hub"]

AGENTS, DEAF = 200, 10
ROUNDS, ROUNDS_MAX = 10, 60
WITHIN = 1.1
"""The best round has to be as good as the best without agents that do not read: machines are busy, so most rounds take longer, but
an agent that others wait for costs in every round."""
BACKLOG = 20
BACKLOG_BYTES = 400_000
HEARTBEAT_SECONDS = 20
"""Between heartbeats while the clock is turned; a hub takes thirty for silence."""


class Listener(Agent):
    """An agent that can stop reading while it goes on to say that it is there."""

    def __init__(self, call: Any, cluster: str, desired: Desired) -> None:
        super().__init__(call, cluster, f"uid-{cluster}", desired)
        self.cluster = cluster
        self.reading = asyncio.Event()
        self.reading.set()
        self.sending = asyncio.Lock()
        self.came: dict[bytes, float] = {}
        """When each version of the Work "word" came."""

    async def run(self) -> None:
        await self.send()
        while (message := await self._read()) is not grpc.aio.EOF:
            effects = self.session.receive(fleet.HubBatch.FromString(message), time.time())
            self.effects += effects
            for effect in effects:
                if isinstance(effect, Persist) and effect.sequence:
                    self.session.persisted(effect.sequence)
            word = self.desired.get("word")
            if word is not None:
                self.came.setdefault(word.hash, time.perf_counter())
            await self.send()

    async def send(self) -> None:
        async with self.sending:
            await super().send()

    async def beat(self) -> None:
        self.session._out.heartbeat = True
        await self.send()

    async def _read(self) -> Any:
        await self.reading.wait()
        return await self.call.read()


async def test_agents_that_stop_reading_are_their_own_problem(hub: Hub) -> None:
    names = [f"c{n:03}" for n in range(AGENTS)]
    for name in names:
        hub.clusters.add(name, id=f"uid-{name}")
    async with AsyncExitStack() as stack:
        agents = [await stack.enter_async_context(listener(hub, name)) for name in names]
        for agent in agents:
            await agent.synced()
        deaf, others = agents[:DEAF], agents[DEAF:]
        before = await delivery_p99s(hub, others, "before")

        sent = bytes_sent(hub)
        fall_silent(hub, deaf)
        await until(lambda: all(credit_is_spent(hub, agent) for agent in deaf))
        under_way = bytes_sent(hub) - sent
        assert under_way < DEAF * (IN_FLIGHT_BYTES_MAX + 2 * hub.gateway.hub.batch_bytes_max), under_way
        during: list[float] = []
        while not during or (len(during) < ROUNDS_MAX and min(during) >= WITHIN * min(before)):
            during += await delivery_p99s(hub, others, f"during, {len(during)} rounds before")

        while hub.skew + HEARTBEAT_SECONDS < STALL_SECONDS_MAX:
            turn_the_clock(hub, HEARTBEAT_SECONDS)
            await beaten(hub, agents)
        assert hub.gateway.connected == set(names)
        turn_the_clock(hub, HEARTBEAT_SECONDS)
        await until(lambda: hub.gateway.connected == {agent.cluster for agent in others})
        after = await delivery_p99s(hub, others, "after")
        assert min(during) < WITHIN * max(min(before), min(after))

        for agent in deaf:
            again = await stack.enter_async_context(listener(hub, agent.cluster, agent.desired))
            await again.synced()
            assert len(again.desired) == BACKLOG
        assert hub.gateway.connected == set(names)


def fall_silent(hub: Hub, deaf: Sequence[Listener]) -> None:
    """They read no more, and far more waits for each than may be under way."""
    large = [work(f"large{n}", text="x" * BACKLOG_BYTES) for n in range(BACKLOG)]
    for agent in deaf:
        agent.reading.clear()
        hub.table.put(agent.cluster, *large)


def _all_have(agents: Sequence[Listener], word: bytes) -> bool:
    return all(word in agent.came for agent in agents)


async def delivery_p99s(hub: Hub, agents: Sequence[Listener], phase: str) -> list[float]:
    """Seconds from a change until it is with 99 % of `agents`, in each of some rounds."""
    rounds = []
    for n in range(ROUNDS):
        word = work("word", revision=time.time_ns(), said=f"{phase} {n}")
        began = time.perf_counter()
        for agent in agents:
            hub.table.put(agent.cluster, word)
        await until(partial(_all_have, agents, word.hash))
        taken = [agent.came[word.hash] - began for agent in agents]
        rounds.append(statistics.quantiles(taken, n=100)[-1])
    return rounds


def turn_the_clock(hub: Hub, seconds: float) -> None:
    hub.skew += seconds
    for live in list(hub.gateway._live.values()):
        hub.gateway._look(live)


async def beaten(hub: Hub, agents: Sequence[Listener]) -> None:
    """Everybody has said that it is there."""
    hub.told.log.clear()
    for agent in agents:
        await agent.beat()
    await until(lambda: sum(entry[0] == "heartbeat" for entry in hub.told.log) == len(agents))


def credit_is_spent(hub: Hub, agent: Listener) -> bool:
    return hub.gateway._live[agent.cluster].session._credit.is_spent


def bytes_sent(hub: Hub) -> float:
    return float(hub.gateway._metrics.bytes.labels("out")._value.get())


@asynccontextmanager
async def listener(hub: Hub, cluster: str, desired: Desired | None = None) -> AsyncIterator[Listener]:
    async with channel_of(hub, hub.agent_leaf(cluster)) as channel:
        agent = Listener(channel.stream_stream(SESSION)(), cluster, desired or Desired())
        task = asyncio.create_task(quiet(agent.run()))
        try:
            yield agent
        finally:
            agent.reading.set()
            agent.call.cancel()
            await task
