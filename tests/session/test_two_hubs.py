"""The gateway of one of several hubs: whom it welcomes when, and what an agent may bring from another hub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.session.pair import HUB, manifest
from tests.session.test_gateway import Hub, agent_of, code_of, until
from towline.agent.desired import Changed, Desired, HubSeen
from towline.agent.session import Closed, HubsAt
from towline.hub.gateway.breaker import PER_MINUTE_MIN
from towline.hub.gateway.server import Gateway
from towline.hub.store.contract import Unavailable
from towline.proto import fleet_pb2 as fleet


class Shared(Hub):
    """A hub whose store others use as well."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.epoch = HUB.epoch
        self.seen_all = asyncio.Event()
        self.reachable = True
        self.at_another: set[str] = set()
        self.gateways = ["this:1"]
        given = replace(
            self.gateway._given, catch_up=self.catch_up, epoch=lambda: (self.epoch, 0),
            registry=CollectorRegistry(), came_from_another=lambda cluster: cluster in self.at_another, gateways=lambda: self.gateways,
        )  # fmt: skip
        self.gateway = Gateway(HUB, given)
        self.seen_all.set()

    async def catch_up(self) -> None:
        if not self.reachable:
            raise Unavailable("this hub does not see the latest of its store")
        await self.seen_all.wait()


@pytest.fixture
async def hub() -> AsyncIterator[Shared]:
    hub = Shared()
    hub.clusters.add("member1", id="uid-1")
    hub.port = await hub.gateway.start("127.0.0.1:0")
    yield hub
    await hub.gateway.stop()


def holding(works: int, epoch: int = HUB.epoch) -> Desired:
    """An agent that another hub gave Works which this one does not know."""
    desired = Desired(hub=HubSeen(HUB.store_id, epoch))
    for number in range(works):
        name = f"w{number}"
        work = fleet.Work(name=name, uid="u", revision=9, hash=b"x" * 16, manifests=[manifest(name)])
        desired.upsert(work, epoch, HUB.store_id, Changed())
    return desired


async def test_an_agent_is_welcome_when_the_hub_has_seen_all_that_another_may_have_told_it(
    hub: Shared,
) -> None:
    hub.seen_all.clear()
    async with agent_of(hub) as agent:
        await asyncio.sleep(0.05)
        early = agent.session._welcome
        assert early is None
        hub.epoch = HUB.epoch + 3
        hub.seen_all.set()
        await agent.synced()
        assert agent.session._welcome is not None and agent.session._welcome.epoch == HUB.epoch + 3


async def test_a_hub_that_is_cut_off_sends_agents_away_to_another(hub: Shared) -> None:
    hub.reachable = False
    async with agent_of(hub) as agent:
        code, why = await code_of(agent.call)
    assert (code.name, why) == ("UNAVAILABLE", "this hub does not see the latest of its store")


async def test_an_agent_that_a_later_start_of_another_hub_synced_is_no_sign_of_an_old_store(
    hub: Shared,
) -> None:
    hub.epoch = HUB.epoch + 1
    async with agent_of(hub, desired=holding(1, HUB.epoch + 1)) as agent:
        await agent.synced()
        await until(lambda: len(agent.desired) == 0)


async def test_what_another_hub_let_through_is_not_let_through_again_within_a_minute(hub: Shared) -> None:
    hub.at_another = {"member1"}
    async with agent_of(hub, desired=holding(3)) as agent:
        await agent.synced()
        await hub.seen("deletions_held", "member1", 3, "DeleteLimit")
        assert len(agent.desired) == 3
        hub.at_another = set()
        hub.skew = 61
        agent.session._begin_exchange(0)
        await agent.send()
        await until(lambda: len(agent.desired) == 0)


async def test_a_cluster_that_was_here_before_waits_for_nothing(hub: Shared) -> None:
    async with agent_of(hub, desired=holding(PER_MINUTE_MIN)) as agent:
        await until(lambda: len(agent.desired) == 0)


async def test_a_session_that_is_newer_at_another_hub_ends_the_one_here(hub: Shared) -> None:
    async with agent_of(hub) as agent:
        await agent.synced()
        hub.gateway.moved("member1")
        hub.gateway.moved("member9")
        await until(lambda: agent.closed)
        assert agent.closed == Closed(
            "the agent opened a newer session with another hub", True, superseded=True
        )


async def test_a_hub_that_is_cut_off_lets_its_agents_go_to_another(hub: Shared) -> None:
    async with agent_of(hub) as agent:
        await agent.synced()
        hub.gateway.cut_off()
        await until(lambda: agent.closed)
        assert agent.closed == Closed("this hub is cut off from its store", True)


async def test_agents_learn_where_hubs_are_and_that_it_changed(hub: Shared) -> None:
    def told(agent: Any) -> list[HubsAt]:
        return [effect for effect in agent.effects if isinstance(effect, HubsAt)]

    async with agent_of(hub) as agent:
        await agent.synced()
        assert told(agent) == [HubsAt(("this:1",))]
        hub.gateways = ["this:1", "other:1"]
        hub.gateway.gateways_changed()
        await until(lambda: len(told(agent)) == 2)
        assert told(agent)[-1] == HubsAt(("this:1", "other:1"))


async def test_an_agent_is_asked_to_go_to_a_hub_that_holds_fewer(hub: Shared) -> None:
    async with agent_of(hub) as agent:
        await agent.synced()
        hub.gateway.send_to_another(["member9", "member1"], ("other:1",))
        await until(lambda: agent.closed)
        assert agent.closed == Closed("another hub has room for this session", True, ("other:1",))
