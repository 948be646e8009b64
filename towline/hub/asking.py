"""What this hub asks agents whose sessions another hub has: how much room there is. That, and that there is more now, is all that hubs say to
each other.

The hub that leads places in all clusters, and some of them are at another hub: that one is asked, over its API, to ask its agents. What it
cannot say in time, or a hub that cannot be reached, is an agent that does not answer: its cluster is judged by what its status says.

    POST /towline/v1/questions {"questions": [{"clusters": [...], "wish": {...}}], "opened": [cluster, ...]} -> {"rooms": [{cluster: units}, ...]}
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

import aiohttp
import orjson

from towline.hub.decide.plan import Ask
from towline.hub.decide.scheduling.estimates import NO_ANSWER
from towline.hub.gateway.enrolment import Answer, Refusal
from towline.hub.gateway.questions import ANSWER_SECONDS_MAX
from towline.hub.store.answers import AnswerTable
from towline.kube.objects import Object
from towline.kube.wishes import Pods, Wish, wish

log = logging.getLogger(__name__)

PATH = "/towline/v1/questions"
UNDER_WAY_MAX = 16
"""Requests to other hubs that wait for an answer. What else is to be asked waits meanwhile, together."""
SILENCE_SECONDS = 30.0
"""How long a hub that could not be asked is not asked again."""
QUESTIONS_MAX = 1000
"""In one request."""
_GATHER_SECONDS = 0.002
_TELL_SECONDS = 0.25
"""How long openings of clusters are gathered."""
_GRACE_SECONDS = 1.0
"""Beyond what the agents have to answer in: for the way."""
_FAILURES = (aiohttp.ClientError, OSError, ValueError, TypeError, KeyError, TimeoutError)

Post = Callable[[str, bytes], Awaitable[bytes]]
"""Takes a body to PATH at HOST:PORT; raises one of the usual errors."""


class Asking:
    """Carries questions of `answers` to agents: `here(cluster, wish)` to one that is connected, `post` to the hub that `elsewhere()` has for the
    cluster, at `api(hub)` (HOST:PORT, "" if it does not live). `others()` are the hubs that live. `now` is epoch seconds."""

    def __init__(
        self, answers: AnswerTable, *, here: Callable[[str, Wish], None], elsewhere: Callable[[], Mapping[str, str]],
        api: Callable[[str], str], others: Callable[[], Collection[str]], post: Post, now: Callable[[], float],
    ) -> None:  # fmt: skip
        self._answers = answers
        self._here = here
        self._elsewhere = elsewhere
        self._api = api
        self._others = others
        self._post = post
        self._now = now
        self._due: dict[str, dict[str, tuple[Wish, list[str]]]] = {}
        """What is to be asked, by hub and wish."""
        self._silent: dict[str, float] = {}
        """Hubs that could not be asked, and until when they are not."""
        self._room = asyncio.Semaphore(UNDER_WAY_MAX)
        self._wake = asyncio.Event()
        self._opened: set[str] = set()
        """Clusters with more room, perhaps, which the other hubs do not know of."""
        self._openings = asyncio.Event()
        answers.subscribe(self._opens)

    def carry(self, cluster: str, wish: Wish) -> None:
        hub = None if cluster in self._answers.able else self._elsewhere().get(cluster)
        if hub is None:
            self._here(cluster, wish)
        elif self._now() < self._silent.get(hub, 0.0):
            self._answers.answered(cluster, wish.key, NO_ANSWER, self._now())
        else:
            self._due.setdefault(hub, {}).setdefault(wish.key, (wish, []))[1].append(cluster)
            self._wake.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell(), name="tell other hubs")
            while True:
                await self._wake.wait()
                await asyncio.sleep(_GATHER_SECONDS)
                await self._room.acquire()
                self._wake.clear()
                due, self._due = self._due, {}
                group.create_task(self._ask_all(due), name="ask other hubs")

    async def _ask_all(self, due: Mapping[str, Mapping[str, tuple[Wish, list[str]]]]) -> None:
        try:
            await asyncio.gather(*(self._ask(hub, list(asked.values())) for hub, asked in due.items()))
        finally:
            self._room.release()

    async def _ask(self, hub: str, asked: Sequence[tuple[Wish, list[str]]]) -> None:
        for start in range(0, len(asked), QUESTIONS_MAX):
            part = asked[start : start + QUESTIONS_MAX]
            rooms = await self._rooms(hub, part)
            for (wanted, clusters), room in zip(part, rooms, strict=True):
                for cluster in clusters:
                    self._answers.answered(cluster, wanted.key, room.get(cluster, NO_ANSWER), self._now())

    def _opens(self, cluster: str) -> None:
        if cluster in self._answers.able:  # else another hub said so
            self._opened.add(cluster)
            self._openings.set()

    async def _tell(self) -> None:
        """Best effort: a hub that misses it tries again when something else changes."""
        while True:
            await self._openings.wait()
            await asyncio.sleep(_TELL_SECONDS)
            self._openings.clear()
            body = orjson.dumps({"questions": [], "opened": sorted(self._opened)})
            self._opened.clear()
            for api in filter(None, map(self._api, self._others())):
                with suppress(*_FAILURES):
                    async with asyncio.timeout(ANSWER_SECONDS_MAX):
                        await self._post(api, body)

    async def _rooms(self, hub: str, asked: Sequence[tuple[Wish, list[str]]]) -> Sequence[Mapping[str, int]]:
        nothing: list[dict[str, int]] = [{} for _ in asked]
        api = self._api(hub)
        if not api:
            return nothing
        questions = [{"clusters": clusters, "wish": told(wish)} for wish, clusters in asked]
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX + _GRACE_SECONDS):
                answer = orjson.loads(await self._post(api, orjson.dumps({"questions": questions})))
            rooms = [{str(name): int(room) for name, room in row.items()} for row in answer["rooms"]]
        except _FAILURES as error:
            self._silent[hub] = self._now() + SILENCE_SECONDS
            log.warning("the hub at %s cannot be asked for room: %s", api, str(error) or "no answer in time")
            return nothing
        return rooms if len(rooms) == len(asked) else nothing


async def answered(
    body: Any, answers: AnswerTable, here: Callable[[], Collection[str]], now: Callable[[], float]
) -> Answer:
    """What the agents with a session `here` say to another hub's questions."""
    try:
        questions = [(read(row["wish"]), list(map(str, row["clusters"]))) for row in body["questions"]]
        opened = list(map(str, body.get("opened", ())))
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        return Refusal(400, "BadRequest", f"not questions of a hub: {error!r}").answer()
    if len(questions) > QUESTIONS_MAX:
        return Refusal(413, "RequestEntityTooLarge", f"at most {QUESTIONS_MAX} questions").answer()
    connected = here()
    for cluster in opened:
        if cluster not in connected:
            answers.opened(cluster, now())
    asked = [(wish, [name for name in clusters if name in connected]) for wish, clusters in questions]
    rooms = await asyncio.gather(*(_counted(answers, wish, clusters, now) for wish, clusters in asked))
    return Answer(200, {"rooms": rooms})


async def _counted(
    answers: AnswerTable, wish: Wish, clusters: Sequence[str], now: Callable[[], float]
) -> dict[str, int]:
    who, done = object(), asyncio.Event()
    answers.ask(who, [Ask(cluster, wish) for cluster in clusters], done.set, now())
    await done.wait()  # a session says what it cannot get an answer to
    said = answers.at(now(), who).said(wish.key)
    return {cluster: said.get(cluster, NO_ANSWER) for cluster in clusters}


def told(wish: Wish) -> Object:
    """A wish as another hub reads it."""
    return {"namespace": wish.namespace, "pods": [pods._asdict() for pods in wish.pods]}


def read(said: Any) -> Wish:
    """The wish that was `told`. Raises TypeError, KeyError, ValueError, AttributeError."""
    pods = [
        Pods(int(row["replicas"]), {str(k): int(v) for k, v in row["requests"].items()}, dict(row["claim"]), str(row["priority_class"]))
        for row in said["pods"]
    ]  # fmt: skip
    return wish(str(said["namespace"]), pods)


class Client:
    """Posts to other hubs. `context()` is the TLS of the moment; `close` it in the end."""

    def __init__(self, context: Callable[[], ssl.SSLContext]) -> None:
        self._context = context
        self._session: aiohttp.ClientSession | None = None

    async def post(self, api: str, body: bytes) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession(headers={"User-Agent": "towline"})
        async with self._session.post(
            f"https://{api}{PATH}", data=body, ssl=self._context(), allow_redirects=False
        ) as answer:
            content = await answer.read()
            if answer.status != 200:
                raise ValueError(f"{answer.status}: {content[:200]!r}")
            return content

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
