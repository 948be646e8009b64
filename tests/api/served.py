"""A server in the process, over plain HTTP on loopback, and a client that says what came back."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import dataclass, field
from typing import Any

from towline.hub.api.authorization import Rbac
from towline.hub.api.engine import Limits
from towline.hub.api.escalation import Escalation
from towline.hub.api.local import Local
from towline.hub.api.server import ApiServer
from towline.hub.api.user import User
from towline.hub.store.cache import Cache
from towline.hub.store.memory import MemoryStore
from towline.kube import builtin, karmada
from towline.kube.kinds import KindTable

ADMIN = User("admin", ("system:masters", "system:authenticated"))
START = 1_800_000_000.0


@dataclass
class Answer:
    code: int
    body: Any
    headers: Any
    raw: bytes

    @property
    def reason(self) -> str:
        return str(self.body.get("reason"))

    @property
    def message(self) -> str:
        return str(self.body.get("message"))

    @property
    def causes(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = (self.body.get("details") or {}).get("causes") or []
        return found

    @property
    def fields(self) -> list[str]:
        return [cause["field"] for cause in self.causes]


@dataclass
class Served:
    """A server with its parts, a clock that only tests move, and a client. `user` is who the client is."""

    url: str = ""
    user: User | None = ADMIN
    clock: float = START
    uids: int = 0
    audited: list[dict[str, Any]] = field(default_factory=list)
    noted: asyncio.Future[None] | None = None
    server: Any = None
    cache: Any = None
    store: Any = None
    kinds: Any = None
    session: Any = None
    rbac: Rbac | None = None

    def new_uid(self) -> str:
        self.uids += 1
        return f"{self.uids * 2654435761 % 2**32:08x}-0000-4000-8000-{self.uids:012x}"

    def audit(self, event: dict[str, Any]) -> None:
        self.audited.append(event)
        noted, self.noted = self.noted, None
        if noted is not None:
            noted.set_result(None)

    async def until_audited(self, count: int, **fields: Any) -> None:
        """Wait until `count` audited writes have these fields."""
        async with asyncio.timeout(10):
            while sum(fields.items() <= event.items() for event in self.audited) < count:
                self.noted = self.noted or asyncio.get_running_loop().create_future()
                await asyncio.shield(self.noted)

    async def __call__(
        self, method: str, path: str, body: Any = None, *, type: str = "application/json", **headers: str
    ) -> Answer:
        data: Any = body if isinstance(body, bytes | str | None) else json.dumps(body)
        if isinstance(data, bytes | str) and len(data) > 1_000_000:
            data = io.BytesIO(data.encode() if isinstance(data, str) else data)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if data is not None:
            named["Content-Type"] = type
        async with self.session.request(method, self.url + path, data=data, headers=named) as answer:
            raw = await answer.read()
            kind = answer.headers.get("Content-Type", "")
            parsed = json.loads(raw) if kind.startswith("application/json") and raw else raw
            return Answer(answer.status, parsed, answer.headers, raw)

    async def get(self, path: str, **headers: str) -> Answer:
        return await self("GET", path, **headers)

    async def create(self, path: str, obj: Any, **headers: str) -> Any:
        answer = await self("POST", path, obj, **headers)
        assert answer.code == 201, answer.body
        return answer.body

    async def apply(self, path: str, obj: Any, manager: str = "tester", query: str = "") -> Answer:
        path = f"{path}?fieldManager={manager}{query}"
        return await self("PATCH", path, obj, type="application/apply-patch+yaml")

    async def patch(self, path: str, body: Any, kind: str = "merge") -> Answer:
        names = {"json": "json-patch", "merge": "merge-patch", "strategic": "strategic-merge-patch"}
        return await self("PATCH", path, body, type=f"application/{names[kind]}+json")

    def watch(self, path: str, **headers: str) -> Watching:
        joint = "&" if "?" in path else "?"
        return Watching(self, f"{path}{joint}watch=1", headers)


class Watching:
    """An open watch: `await anext(w)` is the next event; a test that waits for nothing fails by its timeout."""

    def __init__(self, served: Served, path: str, headers: dict[str, str]) -> None:
        self._served = served
        self._path = path
        self._headers = headers

    async def __aenter__(self) -> Watching:
        self._request = self._served.session.get(self._served.url + self._path, headers=self._headers)
        self.answer = await self._request.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        self.answer.close()

    def __aiter__(self) -> Watching:
        return self

    async def __anext__(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            line = await self.answer.content.readline()
        if not line:
            raise StopAsyncIteration
        event: dict[str, Any] = json.loads(line)
        return event

    async def next(self, count: int) -> list[tuple[str, str]]:
        """The next events as (type, name)."""
        events = [await anext(self) for _ in range(count)]
        return [(e["type"], e["object"].get("metadata", {}).get("name", "")) for e in events]


async def serve(
    served: Served, tasks: asyncio.TaskGroup, limits: Limits = Limits(), tls: Any = None, **options: Any
) -> None:
    served.kinds = KindTable.of([*builtin.kinds(), *karmada.kinds()])
    served.store = MemoryStore()
    await served.store.open()
    served.cache = Cache(served.store, served.kinds, window_events=options.pop("window_events", 10_000))
    started = asyncio.Event()
    tasks.create_task(served.cache.run(started))
    await started.wait()
    if (of_cache := options.pop("of_cache", None)) is not None:
        options |= of_cache(served.cache)

    async def authenticate(request: Any) -> User | None:
        return served.user

    options.setdefault("authenticate", authenticate)
    if make_plugins := options.pop("make_plugins", None):  # from parts that are here only now
        options["plugins"] = make_plugins(served)
    if options.pop("rbac", False):
        served.rbac = options["authorize"] = Rbac(served.cache)
        options["plugins"] = (*options.get("plugins", ()), Escalation(served.rbac))
    served.server = ApiServer(
        cache=served.cache,
        kinds=served.kinds,
        audit=served.audit,
        now=lambda: served.clock,
        new_uid=served.new_uid,
        limits=limits,
        **options,
    )
    if served.rbac is not None:
        served.rbac.start()
        await Local(served.server.engine).ensure_roles()
    host, port = await served.server.start("127.0.0.1", 0, tls)
    served.url = f"{'https' if tls else 'http'}://{host}:{port}"


async def end(served: Served) -> None:
    await served.server.stop()
    if served.rbac is not None:
        served.rbac.stop()
    await served.store.close()
