"""The hub's own paths on the API's port: joining, and what administrators do about identities. Bodies and answers are JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from towline.hub import asking
from towline.hub.agents import Agents, described
from towline.hub.api.authentication import ANONYMOUS
from towline.hub.api.authorization import Rbac
from towline.hub.api.paths import Attributes
from towline.hub.api.requests import Reply
from towline.hub.api.server import Route
from towline.hub.api.user import User
from towline.hub.gateway.enrolment import Answer, Enrolment, Refusal
from towline.hub.gateway.revocation import generation_of
from towline.hub.store.cache import Cache
from towline.hub.store.fleet import Fleet
from towline.hub.store.works import CLUSTERS
from towline.hub.trust import Trust
from towline.kube.objects import Object


def routes(
    enrolment: Enrolment, trust: Trust, clusters: Callable[[], list[Object]], rbac: Rbac,
    farewell: Callable[[Any], Answer], questions: Callable[[Any], Awaitable[Answer]],
) -> dict[tuple[str, str], Route]:  # fmt: skip
    """`clusters()` answers the fleet as `towline clusters` shows it, `farewell` agents of clusters that left,
    `questions` other hubs."""

    def guarded(verb: str, resource: str, act: Callable[[Any, str, str], Awaitable[Answer]]) -> Route:
        """`act(body, user, why not)` is a right of whoever may `verb` this resource of towline.io."""
        group = "towline.io" if resource != "clusters" else CLUSTERS[0]
        needed = Attributes(verb, "", True, group, "v1", resource)

        async def route(user: User | None, body: bytes) -> Reply:
            user = user or User(ANONYMOUS)
            return _reply(await act(_parsed(body), user.name, rbac.refusal(user, needed)))

        return route

    async def ca(user: User | None, body: bytes) -> Reply:
        return _reply(enrolment.ca())

    async def enroll(user: User | None, body: bytes) -> Reply:
        return _reply(await enrolment.enroll(_parsed(body)))

    async def left(user: User | None, body: bytes) -> Reply:
        return _reply(farewell(_parsed(body)))

    async def authorities(body: Any, user: str, refused: str) -> Answer:
        return trust.status(refused)

    async def rooms(body: Any, user: str, refused: str) -> Answer:
        return Refusal(403, "Forbidden", refused).answer() if refused else await questions(body)

    async def fleet(body: Any, user: str, refused: str) -> Answer:
        if refused:
            return Refusal(403, "Forbidden", refused).answer()
        return Answer(200, {"items": clusters()})

    return {
        ("GET", "/towline/v1/ca"): ca,
        ("POST", "/towline/v1/enroll"): enroll,
        ("POST", "/towline/v1/farewell"): left,
        ("GET", "/towline/v1/jointokens"): guarded("list", "jointokens", enrolment.tokens),
        ("POST", "/towline/v1/jointokens"): guarded("create", "jointokens", enrolment.create_token),
        ("DELETE", "/towline/v1/jointokens"): guarded("delete", "jointokens", enrolment.revoke_token),
        ("POST", "/towline/v1/revocations"): guarded("create", "revocations", enrolment.revoke),
        ("GET", "/towline/v1/authorities"): guarded("get", "authorities", authorities),
        ("POST", "/towline/v1/authorities"): guarded("update", "authorities", trust.rotate),
        ("GET", "/towline/v1/clusters"): guarded("list", "clusters", fleet),
        ("POST", asking.PATH): guarded("create", "questions", rooms),
    }


def fleet_of(cache: Cache, fleet: Fleet, agents: Agents, trust: Trust, now: float) -> list[Object]:
    """Every cluster as `towline clusters` shows it, at whichever hub it is asked."""
    found: list[Object] = []
    for entry in cache.list(*CLUSTERS):
        name, contact = entry.key.name, fleet.contact(entry.key.name)
        agent = agents.get(name)
        found.append(
            described(
                entry.object, agent, generation_of(cache, entry.object), now=now,
                connected=fleet.whose(name) is not None, heard=contact.heard if contact is not None else 0.0,
                trusted=agent is None or trust.vouches_for(agent.issuer),
            )
        )  # fmt: skip
    return found


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _reply(answer: Answer) -> Reply:
    return Reply(orjson.dumps(answer.body), answer.status)
