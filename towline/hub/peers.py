"""The hubs on one store: where each is reached, and which of them live.

Each has a row that it renews while there are others, so what this costs grows with the hubs and not with the clusters. A hub is taken
for dead when its row was not renewed for a while by the clock of the one that looks: no two clocks are compared. A hub that writes its
row and sees it come back has seen all that was committed before; that is how one catches up (`catch_up`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from towline.hub.store.cache import Cache
from towline.hub.store.contract import Conflict, StoreError, Unavailable, Write
from towline.kube.objects import Key, encode

log = logging.getLogger(__name__)

PEERS = ("towline.io", "peers")
FORGET_SECONDS = 86_400.0
"""A row that nobody renewed for so long goes, and with it the addresses in it."""
_RENEWALS = 3
"""How many times a row is renewed within the time after which its hub would be taken for dead."""
_AGAIN_SECONDS = 0.1
_ADDRESSES_MAX = 16


@dataclass(frozen=True, slots=True)
class Peer:
    """One row. `apis` and `gateways` are HOST:PORT; `serves` is False once the hub has stopped in an orderly way. `silent` are clusters
    whose session it holds without hearing of them: who leads must not take them for heard."""

    apis: tuple[str, ...]
    gateways: tuple[str, ...]
    serves: bool = True
    silent: tuple[str, ...] = ()

    def row(self, name: str) -> bytes:
        spec = asdict(self) | {
            "apis": list(self.apis), "gateways": list(self.gateways), "silent": list(self.silent)
        }  # fmt: skip
        return encode(
            {"apiVersion": "towline.io/v1", "kind": "Peer", "metadata": {"name": name}, "spec": spec}
        )


class Roll:
    """Who lives, by when their rows were seen to change. `elapsed` is any clock that only goes forward, in seconds."""

    def __init__(self, me: str, mine: Peer, dead_seconds: float, elapsed: Callable[[], float]) -> None:
        self._me = me
        self._dead_seconds = dead_seconds
        self._elapsed = elapsed
        self._seen: dict[str, tuple[Peer, float]] = {}
        self.mine = mine

    def seen(self, name: str, peer: Peer | None) -> None:
        """The row of a hub was written, or is gone."""
        if name == self._me:
            return
        if peer is None:
            self._seen.pop(name, None)
        else:
            self._seen[name] = peer, self._elapsed()

    def lives(self, name: str) -> bool:
        if name == self._me:
            return True
        peer, at = self._seen.get(name, (None, 0.0))
        return peer is not None and peer.serves and self._elapsed() - at < self._dead_seconds

    @property
    def others(self) -> frozenset[str]:
        """The hubs that live beside this one."""
        return frozenset(self.living)

    @property
    def living(self) -> dict[str, Peer]:
        """Their rows."""
        return {name: peer for name, (peer, _) in self._seen.items() if self.lives(name)}

    @property
    def is_alone(self) -> bool:
        """Nobody else has a row, so nobody needs to know whether this hub lives."""
        return not self._seen

    @property
    def forgotten(self) -> Sequence[str]:
        """Whose rows may go."""
        now = self._elapsed()
        return [name for name, (_, at) in self._seen.items() if now - at >= FORGET_SECONDS]

    def addresses(self, of: Callable[[Peer], Sequence[str]]) -> tuple[str, ...]:
        """Of all hubs: this one's first, then those that live, then those that may come back; the first few."""
        living = self.others
        names = sorted(self._seen, key=lambda name: (name not in living, name))
        found = [*of(self.mine), *(at for name in names for at in of(self._seen[name][0]))]
        return tuple(dict.fromkeys(found))[:_ADDRESSES_MAX]


class Peers:
    """The rows, followed from `start` on and written by `run` until `stop`. `shared`: other hubs can be on this store at all; `silent`
    answers which clusters this hub does not hear."""

    def __init__(
        self, cache: Cache, me: str, mine: Peer, *, shared: bool, dead_seconds: float, elapsed: Callable[[], float],
        silent: Callable[[], Sequence[str]] = tuple,
    ) -> None:  # fmt: skip
        self._cache = cache
        self._me = me
        self._shared = shared
        self._dead_seconds = dead_seconds
        self._period_seconds = dead_seconds / _RENEWALS
        self._elapsed = elapsed
        self._silent = silent
        self._due = True
        self._written = self._proved = elapsed()
        """When its row was written last, or was to be; and when that came through."""
        self._wake = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        self._told: list[Callable[[], None]] = []
        self._looked: tuple[frozenset[str], bool] = (frozenset(), False)
        self._unsubscribe: Callable[[], None] = lambda: None
        self.roll = Roll(me, mine, dead_seconds, elapsed)

    def start(self) -> None:
        for entry in self._cache.list(*PEERS):
            self.roll.seen(entry.key.name, _peer(entry.object["spec"]))
        self._looked = self.roll.others, False
        self._unsubscribe = self._cache.subscribe(self._rows_changed)

    @property
    def is_cut_off(self) -> bool:
        """Others take this hub for dead by now: it cannot write to the store. Never of a hub that is alone."""
        return not self.roll.is_alone and self._elapsed() - self._proved >= self._dead_seconds

    def tell(self, *callbacks: Callable[[], None]) -> None:
        """Call these when a hub came, died or is reached elsewhere, and when this one is cut off or back."""
        self._told.extend(callbacks)

    def apis(self) -> tuple[str, ...]:
        """HOST:PORT of the hubs' APIs, this one's first."""
        return self.roll.addresses(lambda peer: peer.apis[:1])

    def api_of(self, hub: str) -> str:
        """HOST:PORT of another hub's API; empty if it does not live."""
        peer = self.roll.living.get(hub)
        return peer.apis[0] if peer is not None and peer.apis else ""

    def silent(self) -> frozenset[str]:
        """The clusters that other hubs hold a session with, and do not hear."""
        return frozenset(name for peer in self.roll.living.values() for name in peer.silent)

    def gateways(self) -> tuple[str, ...]:
        """HOST:PORT of the hubs' gateways, this one's first."""
        return self.roll.addresses(lambda peer: peer.gateways)

    async def catch_up(self) -> None:
        """Return when this hub has seen all that any hub committed before the call. Raises Unavailable."""
        if not self._shared:
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._wake.set()
        await turn

    async def run(self) -> None:
        while True:
            if self._shared and (self._due or self._waiting):
                await self._renew()
            await self._forget()
            self._look()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._period_seconds):
                    await self._wake.wait()
            self._wake.clear()
            old = self._elapsed() - self._written >= self._period_seconds
            self._due = self._due or (old and not self.roll.is_alone)

    async def stop(self) -> None:
        """Say goodbye: others need not wait until this hub looks dead."""
        self._unsubscribe()
        self._let_go(Unavailable("this hub is stopping"))
        if self._shared:
            with suppress(StoreError):
                await self._write(replace(self.roll.mine, serves=False))

    async def _renew(self) -> None:
        """For all who wait by now. Whoever comes while the commit is under way waits for the next."""
        waiting, self._waiting = self._waiting, []
        failure: Unavailable | None = None
        began = self._elapsed()
        try:
            async with asyncio.timeout(self._period_seconds):
                await self._write(replace(self.roll.mine, silent=tuple(self._silent())))
            self._due, self._proved = False, began
        except Conflict:
            # An earlier write came through after all, and is not seen here yet.
            self._waiting[:0] = waiting
            await asyncio.sleep(_AGAIN_SECONDS)
            self._wake.set()
            return
        except (StoreError, TimeoutError) as error:
            log.debug("the hub's row is written later: %s", error)
            failure = Unavailable(
                f"this hub does not see the latest of its store: {str(error) or 'no answer in time'}"
            )
        self._answer(waiting, failure)

    async def _write(self, peer: Peer) -> None:
        key = Key(*PEERS, "", self._me)
        entry = self._cache.get(key)
        self._written = self._elapsed()
        await self._cache.commit([Write(key.path(), peer.row(self._me), entry.revision if entry else 0)])

    async def _forget(self) -> None:
        for name in self.roll.forgotten:
            entry = self._cache.get(Key(*PEERS, "", name))
            if entry is not None:
                with suppress(Conflict, Unavailable):
                    await self._cache.commit([Write(entry.key.path(), None, entry.revision)])

    def _let_go(self, failure: Unavailable) -> None:
        waiting, self._waiting = self._waiting, []
        self._answer(waiting, failure)

    @staticmethod
    def _answer(waiting: Sequence[asyncio.Future[None]], failure: Unavailable | None) -> None:
        for turn in waiting:
            if turn.done():
                continue
            if failure is None:
                turn.set_result(None)
            else:
                turn.set_exception(failure)

    def _rows_changed(self, revision: int, events: Sequence[Any]) -> None:
        addresses = self.roll.addresses(_all_addresses)
        rows = [
            event for event in events if event.entry.key[:2] == PEERS and event.entry.key.name != self._me
        ]
        for event in rows:
            gone = event.type == "DELETED"
            self.roll.seen(event.entry.key.name, None if gone else _peer(event.entry.object["spec"]))
        if rows:
            if any(event.type == "ADDED" for event in rows):
                self._due = True  # it has to learn that this hub lives
                self._wake.set()
            self._look(moved=addresses != self.roll.addresses(_all_addresses))

    def _look(self, moved: bool = False) -> None:
        seen = self.roll.others, self.is_cut_off
        if moved or seen != self._looked:
            if seen[1] != self._looked[1]:
                log.warning("this hub is %s", "cut off from its store" if seen[1] else "back")
            self._looked = seen
            for callback in list(self._told):
                callback()


def _all_addresses(peer: Peer) -> Sequence[str]:
    return (*peer.apis, *peer.gateways)


def _peer(spec: Mapping[str, Any]) -> Peer:
    return Peer(
        tuple(spec["apis"]), tuple(spec["gateways"]), bool(spec["serves"]), tuple(spec.get("silent") or ())
    )
