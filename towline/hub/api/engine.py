"""The engine's parts that every verb needs, as one value: what it serves, where it reads and writes, who asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from towline.hub.api.actions import Actions
from towline.hub.api.listed import ListBodies
from towline.hub.api.plugins import Plugins
from towline.hub.api.status import StatusError, timed_out, too_large_revision, unavailable
from towline.hub.api.status import too_large as too_large_error
from towline.hub.decide.conditions import rfc3339
from towline.hub.store import contract
from towline.hub.store.cache import Cache
from towline.hub.store.watch import Entry, Source
from towline.kube.kinds import Kind, KindTable
from towline.kube.objects import Key, Object

_CONFLICT_WAIT_SECONDS = 0.5

Refuse = Callable[[str, Key], str | None]
"""(verb, key) -> why this write is refused with 405, or None."""

Shape = Callable[[Object, Object | None], Object]
"""(admitted, old) -> what is stored. For kinds whose objects change the API itself; pure but for what is served."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one client, and all together, may take."""

    body_bytes: int = 3 * 1024 * 1024
    connections: int = 25_000
    """Open at once; one more is answered 503 and closed."""
    header_seconds: float = 32.0
    """A connection whose TLS handshake, or first request's headers, take longer is closed."""
    idle_seconds: float = 90.0
    """A connection that asks for nothing (or not to the end of its headers) for this long after an answer is closed."""
    in_flight: int = 400
    """Seats of ordinary requests. With the two below, the bound on what runs at the same time."""
    leader_seats: int = 64
    """Seats of leases, so that who renews one does not wait behind lists."""
    exempt_seats: int = 128
    """Seats of administrators, who wait for one another only."""
    flow_seats: int = 64
    """Seats that one user may hold in one namespace; a list of many objects takes up to ten."""
    queued: int = 1024
    flow_queued: int = 256
    queue_seconds: float = 10.0
    """A request that has waited this long for a seat is refused with 429."""
    watches: int = 20_000
    user_watches: int = 10_000
    header_bytes: int = 16 * 1024
    headers: int = 128
    url_bytes: int = 16 * 1024
    body_seconds: float = 30.0
    """A body that does not arrive in this time is given up."""
    write_seconds: float = 60.0
    """A client that takes nothing for this long is cut off."""
    watch_seconds: int = 3600
    bookmark_seconds: float = 60.0
    revision_wait_seconds: float = 3.0
    """How long a read waits for a revision that this hub does not show yet."""
    gzip_bytes: int = 128 * 1024
    webhook_connections: int = 64
    """Calls of webhooks at one address that are under way; others wait within their own time."""
    webhooks_seconds: float = 60.0
    """All mutating webhooks of one write together."""
    webhook_bytes: int = 8 * 1024 * 1024
    """An answer of a webhook that is larger is none."""
    list_bytes: int = 64 * 1024 * 1024
    """Bodies of lists that are kept for who asks next."""
    retries: int = 32
    """Attempts of a write that names no revision and meets another one."""


@dataclass(slots=True)
class Engine:
    """`sources` override where a resource is read from; `refusals` refuse writes of computed objects."""

    cache: Cache
    kinds: KindTable
    now: Callable[[], float]
    new_uid: Callable[[], str]
    sources: Mapping[tuple[str, str], Source] = field(default_factory=dict)
    refusals: Mapping[tuple[str, str], Refuse] = field(default_factory=dict)
    limits: Limits = Limits()
    plugins: Plugins = ()
    """In the order in which they are asked."""
    actions: Actions = field(default_factory=dict)
    """What can be created and is not stored."""
    shapes: dict[tuple[str, str], Shape] = field(default_factory=dict)
    bodies: ListBodies = field(init=False)
    _storage: tuple[int, dict[tuple[str, str], Kind]] = (-1, {})

    def __post_init__(self) -> None:
        self.bodies = ListBodies(self.limits.list_bytes)

    def source(self, kind: Kind) -> Source:
        return self.sources.get(kind.resource, self.cache)

    def shaped(self, kind: Kind, obj: Object, old: Object | None) -> Object:
        shape = self.shapes.get(kind.resource)
        return obj if shape is None else shape(obj, old)

    def storage(self, kind: Kind) -> Kind:
        """The row of the version in which objects of this resource are stored: the first that the table lists."""
        generation, rows = self._storage
        if generation != self.kinds.generation:
            rows = {}
            for row in self.kinds:
                rows.setdefault(row.resource, row)
            self._storage = (self.kinds.generation, rows)
        return rows.get(kind.resource, kind)

    def timestamp(self) -> str:
        """Now, as objects say it."""
        return rfc3339(self.now())

    async def commit(self, *writes: contract.Write) -> int:
        """Commit; raises contract.Conflict, and StatusError for what the client should hear of the store."""
        try:
            return await self.cache.commit(writes)
        except contract.TooLarge as error:
            raise _too_large(error) from None
        except contract.Fenced as error:
            raise unavailable(f"this hub may not write now: {error}") from None
        except contract.Unavailable as error:
            if error.maybe_committed:
                raise timed_out(f"the store did not answer; the write may have happened: {error}") from None
            raise unavailable(f"the store cannot be reached: {error}") from None

    async def moved(self, key: Key, entry: Entry | None) -> None:
        """After a conflict: return as soon as `key` shows another state than `entry`, which may be already."""
        if self.cache.get(key) is entry:
            await self.cache.wait(self.cache.revision + 1, _CONFLICT_WAIT_SECONDS)

    async def until(self, source: Source, revision: int) -> None:
        """Wait until `source` shows `revision`; raises 504 Timeout as Kubernetes does for one from the future."""
        if revision > source.revision and not await source.wait(revision, self.limits.revision_wait_seconds):
            raise too_large_revision(revision, source.revision)


def _too_large(error: contract.TooLarge) -> StatusError:
    status = too_large_error(contract.VALUE_BYTES_MAX)
    status.message = f"the object is too large to be stored: {error}"
    return status
