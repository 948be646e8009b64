"""The API without HTTP: writes by the hub itself, through the same admission as everybody's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from towline.hub.api import deletes, patching, writes
from towline.hub.api.claims import NAMESPACES
from towline.hub.api.deletes import DeleteOptions
from towline.hub.api.engine import Engine
from towline.hub.api.patching import Patch
from towline.hub.api.status import StatusError, unknown_resource
from towline.hub.api.writes import Options
from towline.kube import default_roles
from towline.kube.kinds import Kind
from towline.kube.objects import Key, Object, decode, namespace_of, revision_of


class Local:
    """Creates, changes and deletes whole objects as `manager`. All methods raise StatusError as a client would get it; a
    namespaced object names its namespace."""

    def __init__(self, engine: Engine, manager: str = "towline") -> None:
        self._engine = engine
        self._options = Options(manager=manager, validation="Strict")

    async def create(self, obj: Object) -> Object:
        kind = self._kind(obj)
        return _object(await writes.create(self._engine, kind, namespace_of(obj), obj, self._options))

    async def update(self, obj: Object, subresource: str = "") -> Object:
        """Replace; at its resourceVersion when it has one. `subresource` "status" writes the status only."""
        kind = self._kind(obj)
        written = await writes.update(self._engine, kind, kind.key_of(obj), obj, self._options, subresource)
        return _object(written)

    async def write(self, obj: Object) -> Object:
        """Create `obj`, or replace it when it has a resourceVersion."""
        return await (self.update(obj) if revision_of(obj) else self.create(obj))

    async def apply(self, obj: Object, *, force: bool = True) -> Object:
        """Server-side apply."""
        kind = self._kind(obj)
        options = Options(manager=self._options.manager, validation="Strict", force=force)
        patch = Patch("apply", obj)
        return _object(await patching.patch(self._engine, kind, kind.key_of(obj), patch, options))

    async def delete(self, key: Key) -> None:
        """Delete, or mark where finalizers hold. An object that is not there is no error."""
        kind = self._engine.kinds.stored(key.group, key.resource)
        if kind is None:
            raise unknown_resource()
        try:
            await deletes.delete(self._engine, kind, key, DeleteOptions())
        except StatusError as error:
            if error.code != 404:
                raise

    async def ensure_namespaces(self, names: Iterable[str]) -> None:
        """Create the namespaces that are not there."""
        for name in names:
            if self._engine.cache.get(Key(*NAMESPACES, "", name)) is None:
                try:
                    await self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
                except StatusError as error:
                    if error.reason != "AlreadyExists":  # another hub was faster
                        raise

    async def ensure_roles(self) -> None:
        """Create the default roles and bindings that are not there, and add what is missing in the others."""
        for wanted in (*default_roles.roles(), *default_roles.bindings()):
            key = self._kind(wanted).key_of(wanted)
            entry = self._engine.cache.get(key)
            changed = default_roles.reconciled(entry.object, wanted) if entry is not None else None
            try:
                if entry is not None and changed is None:
                    await self.delete(key)
                if changed is None:
                    await self.create(wanted)
                elif entry is not None and changed is not entry.object:
                    await self.update(changed)
            except StatusError as error:
                if error.code != 409:  # another hub was faster
                    raise

    def _kind(self, obj: Mapping[str, Any]) -> Kind:
        kind = self._engine.kinds.of_object(obj)
        if kind is None:
            raise unknown_resource()
        return kind


def _object(written: writes.Written) -> Object:
    return decode(written.value)
