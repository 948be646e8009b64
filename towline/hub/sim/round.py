"""One round of the workload rules: reads through what it already wrote, and ends as one list of writes.

A rule changes an object by calling the round; the round then also runs the rules of that object and of its owner,
until nothing changes any more. So one change of a Deployment becomes all writes that it implies (ReplicaSet, Pods,
every status) at once, and each object is written at most once a round, however many rules touched it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from towline.hub.decide.plan import Delete, Put
from towline.hub.sim.cluster import PODS, Cluster, Use, requests_of
from towline.kube.objects import (
    Key,
    Object,
    content_hash,
    finalizers_of,
    generation_of,
    is_deleting,
    name_of,
    revision_of,
    uid_of,
    with_metadata,
)

SAFE_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""The letters of generated names: no vowels, so that no words appear."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the simulated members' workloads are, where no annotation says otherwise."""

    ready_seconds: float = 1.0
    complete_seconds: float = 1.0


class Round:
    """An overlay over the cluster. Objects that it hands out are frozen; rules make changed copies."""

    def __init__(self, cluster: Cluster, now: float, new_uid: Callable[[], str], pace: Pace) -> None:
        self.cluster = cluster
        self.now = now
        self.stamp = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.pace = pace
        self.wakes: dict[Key, float] = {}
        self.touched: dict[Key, None] = {}
        self._new_uid = new_uid
        self._changed: dict[Key, Object | None] = {}
        self._new_children: dict[str, dict[Key, None]] = {}
        self._created_uids: dict[str, Key] = {}
        self._created_addresses: set[str] = set()
        self._use: dict[str, Use] = {}

    # --- reading ---------------------------------------------------------------------------------------------

    def get(self, key: Key) -> Object | None:
        return self._changed[key] if key in self._changed else self.cluster.get(key)

    def children(self, owner: Object, group: str, resource: str) -> list[Object]:
        """What this owner controls of a resource, in no particular order."""
        uid = uid_of(owner)
        keys = {**dict.fromkeys(self.cluster.children(uid)), **self._new_children.get(uid, {})}
        found = (self.get(key) for key in keys if key.group == group and key.resource == resource)
        return [obj for obj in found if obj is not None and controller_uid(obj) == uid]

    def dependents(self, uid: str) -> list[Key]:
        """Keys of all objects of any kind that name `uid` among their owners."""
        keys = {**dict.fromkeys(self.cluster.children(uid)), **self._new_children.get(uid, {})}
        return [key for key in keys if uid in owner_uids(self.get(key) or {})]

    def key_of(self, uid: str) -> Key | None:
        """Where the object with this uid is, None when it is gone (or goes in this round)."""
        key = self._created_uids.get(uid) or self.cluster.key_of(uid)
        return None if key is None or uid_of(self.get(key) or {}) != uid else key

    def is_free(self, key: Key) -> bool:
        """Nothing is at `key`, and nothing was before this round. What this round removes must be seen to go
        before another takes its name; its removal then brings the owner back."""
        return self.get(key) is None and self.cluster.get(key) is None

    def controller(self, obj: Object) -> Object | None:
        """The object that controls `obj`, if it has one that exists."""
        key = self.key_of(controller_uid(obj))
        return self.get(key) if key else None

    def use_of(self, node: str) -> Use:
        return self.cluster.use_of(node).plus(self._use.get(node, Use()))

    def new_name(self, prefix: str) -> str:
        """`prefix` with five letters that nobody can guess, as generateName makes it."""
        return prefix[:58] + _letters(self._new_uid().encode(), 5)

    def new_address(self, network: int, bits: int) -> str:
        """An IPv4 address with `bits` free low bits under `network` that nobody in the cluster has."""
        at = int.from_bytes(content_hash(self._new_uid())[:4], "big")
        while True:
            number = network | (at % (1 << bits))
            address = ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))
            taken = self.cluster.address_taken(address) or address in self._created_addresses
            if number & 255 not in (0, 255) and not taken:
                self._created_addresses.add(address)
                return address
            at += 1

    # --- writing ---------------------------------------------------------------------------------------------

    def create(self, key: Key, obj: Object) -> Object:
        """A new object; uid and creationTimestamp are filled in. The caller made sure that `key` is free."""
        uid = self._new_uid()
        created = with_metadata(obj, uid=uid, creationTimestamp=self.stamp)
        self._created_uids[uid] = key
        self.put(key, created)
        return created

    def put(self, key: Key, obj: Object) -> Object:
        """Replace the object at `key`; writes nothing when nothing differs."""
        before = self.get(key)
        if before == obj:
            return obj
        self._account(key, before, -1)
        self._account(key, obj, 1)
        self._changed[key] = obj
        if before is None or owner_uids(before) != owner_uids(obj):
            for owner in owner_uids(obj):
                self._new_children.setdefault(owner, {})[key] = None
        self.touch(key, obj)
        return obj

    def put_status(self, key: Key, obj: Object, status: Mapping[str, Any]) -> Object:
        """`obj` with this status; counters of zero and empty fields are left out by the caller."""
        return obj if obj.get("status") == status else self.put(key, {**obj, "status": dict(status)})

    def put_spec(self, key: Key, obj: Object, **fields: Any) -> Object:
        """`obj` with these fields of its spec replaced, and its generation one higher."""
        spec = obj.get("spec") or {}
        if all(spec.get(field) == value for field, value in fields.items()):
            return obj
        changed = {**obj, "spec": {**spec, **fields}}
        return self.put(key, with_metadata(changed, generation=generation_of(obj) + 1))

    def remove(self, key: Key) -> None:
        """Delete as a client would: an object with finalizers is only marked."""
        obj = self.get(key)
        if obj is None:
            return
        if finalizers_of(obj):
            if not is_deleting(obj):
                self.put(key, with_metadata(obj, deletionTimestamp=self.stamp, deletionGracePeriodSeconds=0))
            return
        self._account(key, obj, -1)
        self._changed[key] = None
        self.touch(key, obj)
        for child in self.dependents(uid_of(obj)):
            self.touched[child] = None

    def wake(self, key: Key, at: float) -> None:
        """Run the rules of `key` again at `at` (epoch seconds), or earlier."""
        self.wakes[key] = min(at, self.wakes.get(key, at))

    def touch(self, key: Key, obj: Object | None) -> None:
        """Run the rules of `key` and of those who own it in this round."""
        self.touched[key] = None
        for uid in owner_uids(obj or {}):
            owner = self._created_uids.get(uid) or self.cluster.key_of(uid)
            if owner is not None:
                self.touched[owner] = None

    @property
    def changed_count(self) -> int:
        return len(self._changed)

    # --- the outcome -----------------------------------------------------------------------------------------

    def writes(self) -> list[Put | Delete]:
        """What this round changed, in the order in which it was first changed: owners before what they own."""
        out: list[Put | Delete] = []
        for key, obj in self._changed.items():
            before = self.cluster.get(key)
            expected = revision_of(before) if before is not None else 0
            if obj is None and before is not None:
                out.append(Delete(key, expected))
            elif obj is not None and obj != before:
                out.append(Put(key, obj, expected))
        return out

    def _account(self, key: Key, pod: Object | None, sign: int) -> None:
        """Keep the nodes' room right within the round, before the cluster's own sums know of it."""
        if (key.group, key.resource) != PODS or pod is None:
            return
        node = (pod.get("spec") or {}).get("nodeName")
        if node and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            self._use[node] = self._use.get(node, Use()).plus(requests_of(pod["spec"]), sign)


# --- objects, read and made ----------------------------------------------------------------------------------


def owner_uids(obj: Mapping[str, Any]) -> list[str]:
    return [str(ref.get("uid")) for ref in (obj.get("metadata") or {}).get("ownerReferences") or ()]


def controller_uid(obj: Mapping[str, Any]) -> str:
    """The uid of the owner that controls `obj`; empty when none does."""
    for ref in (obj.get("metadata") or {}).get("ownerReferences") or ():
        if ref.get("controller"):
            return str(ref.get("uid"))
    return ""


def owned_by(owner: Object) -> list[Object]:
    """The ownerReferences of what this controller makes."""
    return [
        {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": name_of(owner),
            "uid": uid_of(owner),
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]


def template_hash(template: Any) -> str:
    """Ten letters that are equal for equal Pod templates."""
    return _letters(content_hash(template), 10)


def pod_from(owner: Object, name: str, labels: Mapping[str, str], **spec: Any) -> Object:
    """A Pod of this workload's template. `labels` come on top of the template's, `spec` over its spec."""
    template = owner["spec"].get("template") or {}
    metadata = template.get("metadata") or {}
    made: Object = {
        "name": name,
        "namespace": owner["metadata"].get("namespace") or "",
        "labels": {**(metadata.get("labels") or {}), **labels},
        "ownerReferences": owned_by(owner),
    }
    if metadata.get("annotations"):
        made["annotations"] = metadata["annotations"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": made,
        "spec": {"serviceAccountName": "default", **(template.get("spec") or {}), **spec},
        "status": {"phase": "Pending"},
    }


def without_zeros(status: Mapping[str, Any], *always: str) -> Object:
    """`status` without zeros, empty lists and None, as Kubernetes omits them; fields in `always` stay."""
    return {k: v for k, v in status.items() if k in always or v not in (0, None, [], "")}


def with_condition(
    conditions: list[Object] | None,
    stamp: str,
    type: str,
    status: str,
    reason: str,
    message: str,
    **more: Any,
) -> list[Object]:
    """`conditions` with this one set; its lastTransitionTime moves only when its status changes."""
    kept = list(conditions or ())
    for index, old in enumerate(kept):
        if old.get("type") == type:
            since = old.get("lastTransitionTime") if old.get("status") == status else stamp
            kept[index] = _condition(type, status, reason, message, since or stamp, more)
            return kept
    return [*kept, _condition(type, status, reason, message, stamp, more)]


def condition_of(obj: Mapping[str, Any], type: str) -> Object | None:
    for condition in (obj.get("status") or {}).get("conditions") or ():
        if condition.get("type") == type:
            found: Object = condition
            return found
    return None


def share(value: Any, of: int, *, up: bool, default: Any) -> int:
    """An int-or-percentage field as a number of `of`, as maxSurge (rounded up) and maxUnavailable (down)."""
    value = default if value is None else value
    if isinstance(value, str) and value.endswith("%"):
        product = int(value[:-1]) * of
        return -(-product // 100) if up else product // 100
    return int(value)


def epoch(stamp: str) -> float:
    """The time of an RFC 3339 stamp as Kubernetes writes them, in epoch seconds."""
    return datetime.fromisoformat(stamp).timestamp()


def _condition(
    type: str, status: str, reason: str, message: str, since: str, more: Mapping[str, Any]
) -> Object:
    made: Object = {"type": type, "status": status, "lastTransitionTime": since, **more}
    if reason:
        made["reason"] = reason
    if message:
        made["message"] = message
    return made


def _letters(data: bytes, count: int) -> str:
    number = int.from_bytes(content_hash(data.hex()), "big")
    out = []
    for _ in range(count):
        number, digit = divmod(number, len(SAFE_LETTERS))
        out.append(SAFE_LETTERS[digit])
    return "".join(out)
