"""What goes with a namespace or a CRD: their objects are deleted first, then they may go themselves.

Nothing polls: a change in a terminating namespace wakes the routine, and so does a change of a terminating CRD's objects.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

from towline.hub.api import writes
from towline.hub.api.claims import NAMESPACES
from towline.hub.api.deletes import COLLECTION_CONCURRENCY, DeleteOptions, delete
from towline.hub.api.engine import Engine
from towline.hub.api.status import StatusError
from towline.hub.api.writes import Changed, Options
from towline.hub.store.watch import Entry, WatchEvent
from towline.kube.kinds import Kind
from towline.kube.objects import Key, Object, finalizers_of, without_finalizer

log = logging.getLogger(__name__)

DEFINITIONS = ("apiextensions.k8s.io", "customresourcedefinitions")
CONTENT_FINALIZER = "kubernetes"
INSTANCES_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
RETRY_SECONDS = 1.0

_OPTIONS = Options(manager="towline")


class Cleanup:
    """One routine for all that is terminating."""

    def __init__(self, engine: Engine, *, namespaces: bool = True) -> None:
        self._engine = engine
        self._namespaces = namespaces
        self._dirty: set[Key] = set()
        self._woken = asyncio.Event()
        self._terminating: set[Key] = set()
        self._unsubscribe: Callable[[], None] = lambda: None

    async def run(self) -> None:
        """Until cancelled."""
        self._unsubscribe = self._engine.cache.subscribe(self._changed)
        for at in (NAMESPACES, DEFINITIONS):
            for entry in self._engine.cache.list(*at):
                self._look(entry)
        loop = asyncio.get_running_loop()
        while True:
            await self._woken.wait()
            self._woken.clear()
            dirty, self._dirty = self._dirty, set()
            for key in sorted(dirty):
                try:
                    await self._clean(key)
                except StatusError as error:
                    log.warning("%s is not cleaned up yet: %s", key, error)
                    loop.call_later(RETRY_SECONDS, self._wake, key)
                except Exception:
                    log.exception("%s cannot be cleaned up", key)
                    loop.call_later(RETRY_SECONDS, self._wake, key)

    def stop(self) -> None:
        self._unsubscribe()

    def _changed(self, revision: int, events: Sequence[WatchEvent]) -> None:
        for event in events:
            key = event.entry.key
            if key[:2] == NAMESPACES or key[:2] == DEFINITIONS:
                if event.type == "DELETED":
                    self._terminating.discard(key)
                else:
                    self._look(event.entry)
            elif self._terminating:
                self._wake_owner(key)

    def _look(self, entry: Entry) -> None:
        ours = self._namespaces or entry.key[:2] != NAMESPACES
        if ours and entry.meta.deletionTimestamp:
            self._terminating.add(entry.key)
            self._wake(entry.key)

    def _wake_owner(self, key: Key) -> None:
        namespace = Key(*NAMESPACES, "", key.namespace)
        definition = Key(*DEFINITIONS, "", f"{key.resource}.{key.group}")
        for owner in (namespace, definition):
            if owner in self._terminating:
                self._wake(owner)

    def _wake(self, key: Key) -> None:
        self._dirty.add(key)
        self._woken.set()

    async def _clean(self, key: Key) -> None:
        entry = self._engine.cache.get(key)
        if entry is None or not entry.meta.deletionTimestamp:
            return
        if key[:2] == NAMESPACES:
            content = self._content(key.name)
            kind, let_go = self._engine.kinds.stored(*NAMESPACES), _without_content_finalizer
        else:
            content = self._instances(key.name)
            kind, let_go = self._engine.kinds.stored(*DEFINITIONS), _without_instances_finalizer
        await self._delete_all(content)
        if content or kind is None:
            return  # the deletions come back as changes, and wake this again
        try:
            await writes.change_stored(self._engine, kind, key, "finalize", let_go, _OPTIONS, 0)
        except StatusError as error:
            if error.code != 404:
                raise
        # An object may have been created between the look and the end of its namespace.
        if key[:2] == NAMESPACES and self._engine.cache.get(key) is None:
            await self._delete_all(self._content(key.name))

    async def _delete_all(self, content: Iterable[tuple[Kind, Entry]]) -> None:
        room = asyncio.Semaphore(COLLECTION_CONCURRENCY)

        async def one(kind: Kind, entry: Entry) -> None:
            async with room:
                try:
                    await delete(self._engine, kind, entry.key, DeleteOptions())
                except StatusError as error:
                    if error.code != 404:
                        raise

        try:
            async with asyncio.TaskGroup() as group:
                for kind, entry in content:
                    if not entry.meta.deletionTimestamp:
                        group.create_task(one(kind, entry))
        except* StatusError as errors:
            raise errors.exceptions[0] from None

    def _content(self, namespace: str) -> list[tuple[Kind, Entry]]:
        """The stored objects of a namespace. Computed ones go with what they are computed from."""
        found: list[tuple[Kind, Entry]] = []
        seen: set[tuple[str, str]] = set()
        for kind in self._engine.kinds:
            if kind.namespaced and kind.resource not in seen:
                seen.add(kind.resource)
                entries = self._engine.cache.list(*kind.resource, namespace)
                found += [(kind, entry) for entry in entries]
        return found

    def _instances(self, name: str) -> list[tuple[Kind, Entry]]:
        """The stored objects of the kind that CRD `<plural>.<group>` defines."""
        plural, _, group = name.partition(".")
        kind = self._engine.kinds.stored(group, plural)
        if kind is None or not kind.custom:
            return []
        return [(kind, entry) for entry in self._engine.cache.list(group, plural)]


def _without_content_finalizer(old: Object) -> Changed:
    spec = old.get("spec") or {}
    left = [f for f in spec.get("finalizers") or [] if f != CONTENT_FINALIZER]
    if left == (spec.get("finalizers") or []):
        return Changed(old, ())
    spec = {field: value for field, value in spec.items() if field != "finalizers"}
    return Changed({**old, "spec": {**spec, "finalizers": left} if left else spec}, ())


def _without_instances_finalizer(old: Object) -> Changed:
    if INSTANCES_FINALIZER not in finalizers_of(old):
        return Changed(old, ())
    return Changed(without_finalizer(old, INSTANCES_FINALIZER), ())
