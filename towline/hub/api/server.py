"""The listener: HTTP on one side, the engine on the other.

aiohttp's low-level server, because an API server routes by itself. A request goes through: health -> who asks -> routes of
the hub's own -> what is asked -> may they -> is there room -> the answer. A write runs to its end even when its client has
left, so that what was committed is also audited. A watch ends as soon as its client does.
"""

from __future__ import annotations

import asyncio
import functools
import gzip
import logging
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from aiohttp import web

from towline.hub.api import (
    answers,
    bodies,
    fairness,
    impersonation,
    paths,
    reads,
    requests,
    reviews,
    status,
    watching,
)
from towline.hub.api.actions import Actions
from towline.hub.api.asked import TEXT_MAX, Asked
from towline.hub.api.authentication import (
    Authenticate,
    Authorize,
    certificates_and_tokens,
    denied,
    masters_only,
)
from towline.hub.api.cleanup import Cleanup
from towline.hub.api.connections import Connection, Connections
from towline.hub.api.definitions import Definitions
from towline.hub.api.discovery import Discovery, Document
from towline.hub.api.engine import Engine, Limits, Refuse
from towline.hub.api.fairness import Gate
from towline.hub.api.metrics import Metrics
from towline.hub.api.openapi import OpenAPI
from towline.hub.api.paths import Attributes
from towline.hub.api.plugins import Plugin
from towline.hub.api.requests import Call, Reply
from towline.hub.api.status import StatusError
from towline.hub.api.user import User
from towline.hub.store.cache import Cache
from towline.hub.store.watch import Gone, Source, Watch
from towline.kube.kinds import KindTable

log = logging.getLogger(__name__)

Route = Callable[[User | None, bytes], Awaitable[Reply]]
"""A path of the hub's own: (who asks, the body) -> the answer. The user is None for nobody, and the route decides."""

HEALTH = ("/livez", "/readyz", "/healthz")
_WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_METHODS = frozenset({"get", "head", "post", "put", "patch", "delete", "options"})
_SUBRESOURCES = frozenset({"", "status", "scale", "finalize"})
_STOP_SECONDS = 5.0


class ApiServer:
    """`sources` override where a resource is read, `refusals` refuse writes of what is computed. `ready` answers "" or why
    not; `extra_routes` are by (method, path), `documents` by path, for whom authorization allows. `cleans_namespaces`: whether
    deleted namespaces are emptied and let go here, or by somebody else who knows more about what hangs on them."""

    def __init__(
        self,
        *,
        cache: Cache,
        kinds: KindTable,
        now: Callable[[], float],
        new_uid: Callable[[], str],
        sources: Mapping[tuple[str, str], Source] | None = None,
        refusals: Mapping[tuple[str, str], Refuse] | None = None,
        authenticate: Authenticate | None = None,
        authorize: Authorize = masters_only,
        audit: Callable[[dict[str, Any]], None] = lambda event: None,
        extra_routes: Mapping[tuple[str, str], Route] | None = None,
        ready: Callable[[], str] = lambda: "",
        limits: Limits = Limits(),
        metrics: Metrics | None = None,
        cleans_namespaces: bool = True,
        plugins: Sequence[Plugin] = (),
        actions: Actions | None = None,
        documents: Mapping[str, Document] | None = None,
    ) -> None:
        offered = {**reviews.actions(authorize), **(actions or {})}
        self.engine = Engine(
            cache, kinds, now, new_uid, sources or {}, refusals or {}, limits, tuple(plugins), offered
        )
        self.metrics = metrics or Metrics()
        self._authenticate = authenticate or certificates_and_tokens()
        self._authorize = authorize
        self._audit = audit
        self._routes = dict(extra_routes or {})
        self._ready = ready
        self._documents = dict(documents or {})
        self._discovery = Discovery(kinds, self.engine.actions)
        self._openapi = OpenAPI(kinds, [a.kind for (_, _, below), a in offered.items() if not below])
        self._definitions = Definitions(self.engine)
        self._cleanup = Cleanup(self.engine, namespaces=cleans_namespaces)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._watches: set[Watch] = set()
        self._rendering = asyncio.Lock()
        levels = fairness.levels(limits)
        self._gate = Gate(levels, limits.queue_seconds)
        for level in levels:
            self.metrics.follow(level, functools.partial(self._gate.levels.load, level))
        self._turn = asyncio.Lock()
        in_flight = self.metrics.in_flight
        self._in_flight = {True: in_flight.labels("mutating"), False: in_flight.labels("readOnly")}
        self._watches_of: Counter[str] = Counter()
        self._stopping = False
        self._forget: Callable[[], None] = lambda: None
        self._server: web.Server | None = None
        self._connections: Connections | None = None
        self._listener: asyncio.Server | None = None

    # --- life ------------------------------------------------------------------------------------------------

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> tuple[str, int]:
        """Listen; answers the address that it came to (`port` 0 takes a free one). The cache must be loaded."""
        limits = self.engine.limits
        self._definitions.start()
        self._forget = self.engine.cache.subscribe(self.engine.bodies.changed)
        self._own(self._cleanup.run())
        self._server = web.Server(self._handle, handler_cancellation=True)
        self._connections = Connections(self._server, limits)
        self._listener = await asyncio.get_running_loop().create_server(
            self._connections,
            host,
            port,
            ssl=tls,
            ssl_handshake_timeout=limits.header_seconds if tls is not None else None,
            backlog=1024,
        )
        address = self._listener.sockets[0].getsockname()
        return address[0], address[1]

    async def stop(self) -> None:
        """End watches, finish what is under way, close connections."""
        self._stopping = True
        self._definitions.stop()
        self._forget()
        self._cleanup.stop()
        if self._listener is not None:
            self._listener.close()
        for watch in list(self._watches):
            watch.close()
        if self._server is not None:
            self._server.pre_shutdown()
            await self._server.shutdown(_STOP_SECONDS)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _own(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- one request -----------------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if isinstance(request.protocol, Connection):
            request.protocol.asked()
        if request.path in HEALTH:
            return self._health(request.path)
        headers = request.headers
        asked = Asked(
            headers.get("Audit-ID", "")[:64] or self.engine.new_uid(),
            request.remote or "",
            headers.get("User-Agent", "")[:TEXT_MAX],
            asyncio.get_running_loop().time(),
            Attributes(request.method.lower(), request.path),
        )
        code = 0
        write_seconds = self.engine.limits.write_seconds
        try:
            try:
                response = await self._answer(request, asked)
                code = response.status
            except StatusError as error:
                code = error.code
                response = answers.response(requests.failed(error, headers.get("Accept", "")))
            except ConnectionError:
                raise
            except Exception:
                code = 500
                incident = self._incident(request)
                response = answers.response(Reply(status.internal(incident).encoded(), code))
            return await answers.deliver(request, response, asked.audit_id, write_seconds)
        except ConnectionError:
            return web.Response(status=499)  # nobody reads it
        finally:
            if code:
                self._count(asked, code)
            if not asked.carried:
                self._note(asked, code or 499)

    async def _answer(self, request: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        asked.asker = asker = await self._authenticate(request)
        asked.user = user = self._acting(request, asker, asked)
        route = self._routes.get((request.method, asked.at.path))
        if route is not None:
            return answers.response(await self._run(route(user, await self._body(request))))
        if user is None:
            raise status.unauthorized()
        query = request.query
        asked.at = at = paths.attributes(request.method, asked.at.path, query)
        asked.dry_run = bool(query.get("dryRun"))
        asked.allowed = False
        self._check_allowed(user, at, asked)
        asked.allowed = True
        if at.verb == "watch":
            return await self._watch(request, user, asked)
        return await self._bounded(request, user, asked, query)

    def _count(self, asked: Asked, code: int) -> None:
        """Labels hold only what is known here: a client could fill the memory with names of its own."""
        at = asked.at
        shown, verb = ("", "", ""), at.verb
        if not at.resource_request:
            verb = verb if verb in _METHODS else "other"
        elif self.engine.kinds.resource(at.group, at.version, at.resource) is not None:
            subresource = at.subresource if at.subresource in _SUBRESOURCES else "other"
            shown = (at.group, at.resource, subresource)
        self.metrics.answered(verb, *shown, code)
        if verb != "watch":
            self.metrics.took(verb, *shown[:2], asyncio.get_running_loop().time() - asked.started)

    def _note(self, asked: Asked, code: int, stage: str = "ResponseComplete") -> None:
        self._audit(asked.line(code, asyncio.get_running_loop().time(), stage))

    def _incident(self, request: web.BaseRequest) -> str:
        """Logs the exception that is being handled; answers the id under which the log has it."""
        incident = self.engine.new_uid()
        log.exception("incident %s: %s %s failed", incident, request.method, request.path)
        return incident

    def _health(self, path: str) -> web.Response:
        why = "" if path == "/livez" else self._why_not_ready()
        return web.Response(text=why or "ok", status=503 if why else 200)

    def _why_not_ready(self) -> str:
        if self._stopping:
            return "stopping"
        if not self.engine.cache.synced.is_set():
            return "the store is not loaded yet"
        return self._ready()

    def _acting(self, request: web.BaseRequest, asker: User | None, asked: Asked) -> User | None:
        """Who asks, or whom they act as. Raises 400, 403."""
        if asker is None:
            return None
        wanted = impersonation.asked(request.raw_headers)
        if wanted is None:
            return asker
        asked.allowed = False
        for needed in wanted.needed:
            self._check_allowed(asker, needed, asked)
        asked.allowed = None
        return wanted.user

    def _check_allowed(self, user: User, at: Attributes, asked: Asked) -> None:
        decision = self._authorize(user, at)
        asked.reason = decision.reason
        if not decision.allowed:
            raise denied(user, at, decision.reason)

    async def _bounded(
        self, request: web.BaseRequest, user: User, asked: Asked, query: Mapping[str, str]
    ) -> web.StreamResponse:
        async with AsyncExitStack() as held:
            at = asked.at
            await self._seated(held, user, at, query)
            if not at.resource_request:
                return await self._document(request, at, query)
            headers = request.headers
            call = Call(
                user,
                at,
                query,
                headers.get("Accept", ""),
                headers.get("Content-Type", ""),
                headers.get("User-Agent", ""),
                await self._body(request) if request.can_read_body else b"",
                asked.annotations,
            )
            if at.verb in _WRITES:
                asked.carried = True
                return answers.response(await self._run(self._write(call, asked, held.pop_all())))
            reply = await requests.answer(self.engine, call)
            # The seats are held until it is written: what a slow reader keeps in memory is bounded with them.
            response = await answers.sized(request, reply, self.engine)
            return await answers.deliver(request, response, asked.audit_id, self.engine.limits.write_seconds)

    async def _seated(
        self, held: AsyncExitStack, user: User, at: Attributes, query: Mapping[str, str]
    ) -> None:
        """Wait for this request's seats; `held` gives them back. Raises 429."""
        seats = 1
        if at.verb in fairness.READS_MANY and not at.name:
            objects = self.engine.cache.counts().get((at.group, at.resource), 0)
            seats = fairness.cost(at, objects, paths.limit(query))
        level = fairness.level_of(user, at)
        refusal = await held.enter_async_context(self._gate.seat(level, (user.name, at.namespace), seats))
        if refusal:
            self.metrics.rejected(level, refusal)
            raise status.too_many_requests("Too many requests, please try again later.")
        in_flight = self._in_flight[at.verb in _WRITES]
        in_flight.inc()
        held.callback(in_flight.dec)
        if seats > 1:
            # Long answers start one a turn of the event loop, so that sessions and short requests run between them.
            async with self._turn:
                await asyncio.sleep(0)

    async def _write(self, call: Call, asked: Asked, held: AsyncExitStack) -> Reply:
        """The write and its audit line. It keeps its seats to its end, also when its client is gone."""
        code = 500
        async with held:
            try:
                reply = await requests.answer(self.engine, call)
                code = reply.code
                return reply
            except StatusError as error:
                code = error.code
                raise
            finally:
                self._note(asked, code)

    async def _run(self, work: Awaitable[Reply]) -> Reply:
        """Carry `work` to its end, also when the client is gone."""

        async def carried() -> Reply:
            return await work

        return await asyncio.shield(self._own(carried()))

    async def _body(self, request: web.BaseRequest) -> bytes:
        limit = self.engine.limits.body_bytes
        length = request.content_length
        if length is not None and length > limit:
            raise status.too_large(limit)
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self.engine.limits.body_seconds):
                async for chunk in request.content.iter_any():
                    size += len(chunk)
                    if size > limit:
                        raise status.too_large(limit)
                    parts.append(chunk)
        except TimeoutError:
            raise status.StatusError(408, "Timeout", "the request's body did not arrive in time") from None
        except web.RequestPayloadError as error:
            raise status.bad_request(f"the request's body cannot be read: {error}") from None
        return b"".join(parts)

    # --- what is no resource ---------------------------------------------------------------------------------

    async def _document(
        self, request: web.BaseRequest, at: Attributes, query: Mapping[str, str]
    ) -> web.StreamResponse:
        if at.verb not in ("get", "head"):
            raise status.method_not_allowed(f"{request.method} cannot be used on {at.path}")
        if at.path == "/metrics":
            return answers.response(Reply(self.metrics.render(), content_type="text/plain"))
        accept = request.headers.get("Accept", "")
        found = self._documents.get(at.path) or self._discovery.get(at.path, accept)
        if found is None and at.path.startswith("/openapi/"):
            async with self._rendering:  # beside the event loop: a document takes a while
                found = await asyncio.to_thread(self._openapi.get, at.path, accept)
        if found is None:
            raise status.unknown_resource()
        headers = {"ETag": found.etag, "Vary": "Accept", "Cache-Control": "public"}
        if "hash" in query:
            headers["Cache-Control"] = "public, immutable"
        if request.headers.get("If-None-Match") == found.etag:
            return web.Response(status=304, headers=headers)
        if found.content_type == bodies.JSON and "openapi" not in at.path and bodies.accepted(accept).yaml:
            reply = Reply(reads.as_yaml(found.body), content_type=bodies.YAML, headers=headers)
            return answers.response(reply)
        if found.compressed and "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
            return answers.response(Reply(found.body, content_type=found.content_type, headers=headers))
        body = gzip.decompress(found.body) if found.compressed else found.body
        reply = Reply(body, content_type=found.content_type, headers=headers)
        return await answers.sized(request, reply, self.engine)

    # --- watches ---------------------------------------------------------------------------------------------

    async def _watch(self, request: web.BaseRequest, user: User, asked: Asked) -> web.StreamResponse:
        at, limits = asked.at, self.engine.limits
        if len(self._watches) >= limits.watches or self._watches_of[user.name] >= limits.user_watches:
            raise status.too_many_requests("Too many watches, please try again later.")
        kind = requests.kind_of(self.engine, at)
        query = request.query
        chosen = reads.selection(kind, at, query)
        accept = bodies.accepted(request.headers.get("Accept", ""), at.verb)
        feed = watching.Feed(self.engine, kind, chosen, accept, query)
        seconds = watching.seconds(self.engine, query)
        response = web.StreamResponse(
            headers={
                "Content-Type": bodies.JSON,
                "Cache-Control": "no-cache, private",
                "Audit-Id": answers.header(asked.audit_id),
            }
        )
        if kind.deprecation:
            response.headers["Warning"] = answers.warning(kind.deprecation)
        response.enable_chunked_encoding()
        try:
            async with AsyncExitStack() as held:
                await self._seated(held, user, at, query)
                first = await feed.open()
        except StatusError as error:
            if error.code != 410:
                raise
            await response.prepare(request)
            await response.write(watching.error_line(error))
            await response.write_eof()
            return response
        self._watches.add(feed.watch)
        self._watches_of[user.name] += 1
        self._note(asked, 200, "ResponseStarted")
        scope = "resource" if at.name else "namespace" if at.namespace else "cluster"
        open_watches = self.metrics.watches.labels("WATCH", at.group, at.version, at.resource, scope)
        open_watches.inc()
        self.metrics.answered(at.verb, at.group, at.resource, at.subresource, 200)
        try:
            await response.prepare(request)
            await self._send(request, response, first)
            await self._follow(request, response, feed, seconds)
            await response.write_eof()
        except ConnectionError:
            pass  # the client left
        except Exception:
            self._incident(request)
            if request.transport is not None:
                request.transport.abort()  # half an answer is out: no status can follow
        finally:
            feed.watch.close()
            self._watches.discard(feed.watch)
            self._watches_of[user.name] -= 1
            if not self._watches_of[user.name]:
                del self._watches_of[user.name]
            open_watches.dec()
        return response

    async def _follow(
        self, request: web.BaseRequest, response: web.StreamResponse, feed: watching.Feed, seconds: float
    ) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        bookmark_seconds = self.engine.limits.bookmark_seconds
        while not self._stopping:
            try:
                async with asyncio.timeout_at(min(until, loop.time() + bookmark_seconds)):
                    events = await anext(feed.watch)
            except StopAsyncIteration:
                return
            except TimeoutError:
                await self._send(request, response, feed.idle_bookmark())
                if loop.time() >= until:
                    return
                continue
            except Gone as gone:
                await self._send(request, response, watching.error_line(status.expired(str(gone))))
                return
            await self._send(request, response, feed.lines(events))

    async def _send(self, request: web.BaseRequest, response: web.StreamResponse, lines: bytes) -> None:
        if lines:
            await answers.write(request, response, lines, self.engine.limits.write_seconds)
