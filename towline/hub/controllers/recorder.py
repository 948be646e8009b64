"""The recorder: notes of decisions become Kubernetes Events, aggregated and written a few batches a second.

Events are hints for people: when too many wait, or the store refuses, they are dropped and counted, never waited for.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from towline.hub.decide.conditions import epoch, rfc3339
from towline.hub.decide.plan import EventNote
from towline.hub.store.cache import Cache
from towline.hub.store.contract import COMMIT_WRITES_MAX, StoreError, Write
from towline.kube.objects import Key, Object, encode, revision_of

log = logging.getLogger(__name__)

BATCH_SECONDS = 0.3
PENDING_MAX = 2000
TTL_SECONDS = 3600.0
SWEEP_SECONDS = 300.0
COMPONENT = "towline-hub"


class _Subject(NamedTuple):
    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str


class _Kept(NamedTuple):
    """An event that waits to be written."""

    note: EventNote
    times: int
    first: float
    last: float


class Recorder:
    """`sleep` paces the batches; `now` is epoch seconds, `new_uid` a fresh UUID."""

    def __init__(
        self,
        cache: Cache,
        *,
        now: Callable[[], float],
        new_uid: Callable[[], str],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._cache = cache
        self._now = now
        self._new_uid = new_uid
        self._sleep = sleep
        self._pending: dict[tuple[_Subject, str, str, str], _Kept] = {}
        self._wake = asyncio.Event()
        self.dropped = 0
        self.commits = 0

    def record(self, note: EventNote, written: Iterable[Object] = ()) -> None:
        """Keep `note` for the next batch. `written` are objects that were just created: a note about one of them was made
        before it had its uid."""
        subject = _subject(note.regarding, written)
        at = (subject, note.type, note.reason, note.message)
        known = self._pending.get(at)
        if known is None and len(self._pending) >= PENDING_MAX:
            self.dropped += 1
            return
        now = self._now()
        self._pending[at] = _Kept(note, known.times + 1 if known else 1, known.first if known else now, now)
        self._wake.set()

    async def run(self) -> None:
        """Write batches as notes come, and sweep old events, until cancelled."""
        swept = self._now()
        while True:
            due = swept + SWEEP_SECONDS - self._now()
            try:
                async with asyncio.timeout(max(0.0, due)):
                    await self._wake.wait()
            except TimeoutError:
                await self.sweep()
                swept = self._now()
                continue
            await self.flush()
            await self._sleep(BATCH_SECONDS)

    async def flush(self) -> None:
        """Write what waits, as much as fits into one commit."""
        batch = list(self._pending.items())[:COMMIT_WRITES_MAX]
        for at, _ in batch:
            del self._pending[at]
        if not self._pending:
            self._wake.clear()
        writes: dict[str, Write] = {}
        for (subject, *_), kept in batch:
            write = self._write(subject, kept)
            if write is not None:
                writes[write.key] = write
        await self._commit(list(writes.values()))

    async def sweep(self) -> None:
        """Drop events that were not repeated for an hour."""
        limit = self._now() - TTL_SECONDS
        old = []
        for entry in self._cache.list("", "events"):
            last = epoch(entry.object.get("lastTimestamp") or entry.meta.creationTimestamp)
            if last is not None and last < limit:
                old.append(Write(entry.key.path(), None, entry.revision))
        for start in range(0, len(old), COMMIT_WRITES_MAX):
            await self._commit(old[start : start + COMMIT_WRITES_MAX])

    async def _commit(self, writes: Sequence[Write]) -> None:
        if not writes:
            return
        try:
            await self._cache.commit(writes)
            self.commits += 1
        except StoreError as failure:
            self.dropped += len(writes)
            log.debug("%d events were dropped: %s", len(writes), failure)

    def _write(self, subject: _Subject, kept: _Kept) -> Write | None:
        namespace = subject.namespace or "default"
        space = self._cache.get(Key("", "namespaces", "", namespace))
        if space is not None and space.meta.deletionTimestamp is not None:
            return None  # nothing new may appear in a namespace that is being emptied
        key = Key("", "events", namespace, _event_name(subject, kept.note))
        known = self._cache.snapshot.get(key)
        if known is not None:
            event = {
                **known,
                "count": int(known.get("count") or 0) + kept.times,
                "lastTimestamp": rfc3339(kept.last),
            }
            return Write(key.path(), encode(event), revision_of(known))
        return Write(key.path(), encode(self._event(key, subject, kept)), 0)

    def _event(self, key: Key, subject: _Subject, kept: _Kept) -> Object:
        involved = {
            "kind": subject.kind,
            "namespace": subject.namespace,
            "name": subject.name,
            "uid": subject.uid,
            "apiVersion": subject.api_version,
        }
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": key.name,
                "namespace": key.namespace,
                "uid": self._new_uid(),
                "creationTimestamp": rfc3339(kept.first),
            },
            "involvedObject": {field: value for field, value in involved.items() if value},
            "reason": kept.note.reason,
            "message": kept.note.message,
            "source": {"component": COMPONENT},
            "firstTimestamp": rfc3339(kept.first),
            "lastTimestamp": rfc3339(kept.last),
            "count": kept.times,
            "type": kept.note.type,
            "eventTime": None,
            "reportingComponent": COMPONENT,
            "reportingInstance": "",
        }


def _subject(regarding: Mapping[str, Any], written: Iterable[Object]) -> _Subject:
    subject = _read_subject(regarding)
    if subject.uid:
        return subject
    for obj in written:
        created = _read_subject(obj)
        if created[:4] == subject[:4]:
            return created
    return subject


def _read_subject(obj: Mapping[str, Any]) -> _Subject:
    """`obj` is an object or a reference."""
    metadata = obj.get("metadata") or obj
    fields = (metadata.get("namespace"), metadata.get("name"), metadata.get("uid"))
    namespace, name, uid = (str(field or "") for field in fields)
    return _Subject(str(obj.get("apiVersion") or ""), str(obj.get("kind") or ""), namespace, name, uid)


def _event_name(subject: _Subject, note: EventNote) -> str:
    """The same for the same thing happening to the same object, so that repetitions count up one Event."""
    identity = "\0".join([*subject, note.type, note.reason, note.message])
    digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
    return f"{subject.name.replace(':', '.').lower()[:200]}.{digest}"
