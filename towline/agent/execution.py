"""What to do with one object of the member: a Work's manifest and what is known of the object in, one action out.

Pure. The applier carries the action out and comes back with what it saw. The rules:

- An object is ours when its label karmada.io/managed is "true" and its annotations work.karmada.io/namespace and
  work.karmada.io/name are this Work's, compared as a parsed pair (DESIGN 10: never by prefix).
- Not being able to read is never absence: without an observation the only answers are Read, or an Apply that
  carries the uid of the object it was decided on (the API server refuses it when that object is another one).
- Nothing foreign is written, except where the Work says OVERWRITE, and nothing foreign is ever deleted.
- Deleting carries the uid of the object that was seen to be ours.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from towline.agent import drift
from towline.agent.desired import Ref
from towline.kube import interpreter, names
from towline.kube.objects import (
    Object,
    annotations_of,
    content_hash,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
    with_annotations,
    with_labels,
)


class Owner(NamedTuple):
    """The Work that an object belongs to: its execution namespace (karmada-es-<cluster>) and name."""

    namespace: str
    name: str


class Mode(enum.Enum):
    """What a Work says about objects that exist and are not its own; the values are the protocol's."""

    ABORT = 0
    OVERWRITE = 1
    SHARE = 2


class Blank(enum.Enum):
    """An observation without an object. ABSENT: the API server said 404. UNKNOWN: nobody could say."""

    UNKNOWN = "unknown"
    ABSENT = "absent"


UNKNOWN = Blank.UNKNOWN
ABSENT = Blank.ABSENT


@dataclass(frozen=True, slots=True)
class Seen:
    """What matters of an object of the member as it was last read or watched."""

    uid: str
    resource_version: str
    owner: Owner | None
    """None: it does not say that it belongs to a Work."""
    deleting: bool
    entry: bytes
    """Hash of our managedFields entry; empty: we own no field of it."""
    object: Object | None = None
    """The whole object, when it was read just now; watched ones are not kept."""


Observation = Seen | Blank


@dataclass(frozen=True, slots=True)
class Applied:
    """What our last successful apply of an object left behind; kept on disk."""

    manifest: bytes
    """Hash of the manifest as it was sent."""
    uid: str
    entry: bytes
    """Hash of our managedFields entry as the API server returned it."""


# --- actions --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Read:
    """GET the object, then ask again."""


@dataclass(frozen=True, slots=True)
class Apply:
    """One server-side apply of `body`, forced. `drift` says what it puts back; empty: nothing of others."""

    body: Object
    drift: str = ""


@dataclass(frozen=True, slots=True)
class Conflict:
    """An object that is not ours is in the way. Touch nothing, report `message`, look again later."""

    message: str


@dataclass(frozen=True, slots=True)
class Share:
    """It is enough that a foreign object of this name exists."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The object is on its way out. Look again when it is gone."""

    message: str


@dataclass(frozen=True, slots=True)
class Delete:
    """DELETE with this uid as precondition, background propagation."""

    uid: str


@dataclass(frozen=True, slots=True)
class Release:
    """Let go of an object and keep it: a JSON merge patch that takes our marks off."""

    patch: Object


@dataclass(frozen=True, slots=True)
class Nothing:
    """As it should be. For a removal: nothing of ours is left under this name."""


ApplyAction = Read | Apply | Conflict | Share | Wait | Nothing
RemoveAction = Read | Delete | Release | Wait | Nothing


# --- the decisions --------------------------------------------------------------------------------------------


def to_apply(
    body: Object,
    body_hash: bytes,
    owner: Owner,
    mode: Mode,
    observed: Observation,
    applied: Applied | None,
    *,
    cluster: str,
    rival_held: bool = False,
) -> ApplyAction:
    """What brings the member's object to `body` (from `prepared`).

    `rival_held`: the Work that the observed object names as its owner is one that this agent holds as well; then
    not even OVERWRITE takes the object away, or the two would take it from each other for ever.
    """
    if observed is UNKNOWN:
        if applied is None:
            return Read()
        if applied.manifest == body_hash:
            return Nothing()
        return Read() if needs_observed(body) else Apply(_precondition(body, uid=applied.uid))
    if isinstance(observed, Blank):
        gone = applied is not None
        return Apply(body, drift="deleted by another hand, created again" if gone else "")
    if observed.deleting:
        return Wait(
            f"{shown(ref_of(body))} is being deleted in the member; it is created again when it is gone"
        )

    once_ours = applied is not None and applied.uid == observed.uid
    if observed.owner != owner and not (once_ours and observed.owner is None):
        return _foreign(body, owner, mode, observed, cluster, rival_held)
    if once_ours and applied is not None and applied.entry == observed.entry and observed.owner == owner:
        if applied.manifest == body_hash:
            return Nothing()
        return _apply(body, observed, "")
    return _apply(body, observed, _drift(body, observed, applied))


def to_remove(ref: Ref, owner: Owner, preserve: bool, observed: Observation) -> RemoveAction:
    """What takes an object of a Work that is no longer wanted out of the member.

    `preserve` leaves it there and only takes our marks off."""
    if observed is UNKNOWN:
        return Read()
    if isinstance(observed, Blank) or observed.owner != owner:
        return Nothing()
    if preserve:
        if observed.deleting:
            return Nothing()
        return Release(_release_patch(observed.object)) if observed.object is not None else Read()
    if observed.deleting:
        return Wait(f"{shown(ref)} is being deleted in the member")
    return Delete(observed.uid)


# --- manifests and objects ------------------------------------------------------------------------------------


_SERVER_FIELDS = (
    "managedFields",
    "resourceVersion",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "selfLink",
)


def prepared(manifest: Object, owner: Owner) -> Object:
    """`manifest` as it is applied: marked as ours, without status and what only an API server may set."""
    metadata = {k: v for k, v in (manifest.get("metadata") or {}).items() if k not in _SERVER_FIELDS}
    body = {k: v for k, v in manifest.items() if k != "status"}
    body["metadata"] = metadata
    body = with_labels(body, {names.MANAGED: "true"})
    return with_annotations(
        body, {names.WORK_NAMESPACE_ANNOTATION: owner.namespace, names.WORK_NAME_ANNOTATION: owner.name}
    )


def stopped(body: Object) -> Object:
    """`body` so that nothing of it runs; itself for kinds that cannot be told that, and for those that run nothing."""
    halted = interpreter.halted(body)
    # The label would leave the number of replicas to the member.
    return body if halted is None else with_labels(halted, remove=(names.RETAIN_REPLICAS,))


def body_hash(body: Object) -> bytes:
    return content_hash(body)


def ref_of(obj: Mapping[str, Any]) -> Ref:
    return Ref(str(obj.get("apiVersion") or ""), str(obj.get("kind") or ""), namespace_of(obj), name_of(obj))


def shown(ref: Ref) -> str:
    """`Deployment shop/front`, for people."""
    return f"{ref.kind} {ref.namespace}/{ref.name}" if ref.namespace else f"{ref.kind} {ref.name}"


def see(obj: Object, *, keep: bool = False) -> Seen:
    """What matters of `obj`; `keep` holds on to the whole object."""
    metadata = obj.get("metadata") or {}
    return Seen(
        uid=uid_of(obj),
        resource_version=str(metadata.get("resourceVersion") or ""),
        owner=owner_of(obj),
        deleting=is_deleting(obj),
        entry=drift.entry_hash(obj),
        object=obj if keep else None,
    )


def owner_of(obj: Mapping[str, Any]) -> Owner | None:
    """The Work that `obj` says it belongs to."""
    annotations = annotations_of(obj)
    namespace, name = (
        annotations.get(names.WORK_NAMESPACE_ANNOTATION),
        annotations.get(names.WORK_NAME_ANNOTATION),
    )
    if labels_of(obj).get(names.MANAGED) != "true" or not namespace or not name:
        return None
    return Owner(namespace, name)


def needs_observed(body: Object) -> bool:
    """Whether fields of the live object decide what is applied (Karmada's retain-replicas label)."""
    return labels_of(body).get(names.RETAIN_REPLICAS) == "true"


def rank(ref: Ref) -> int:
    """The order in which kinds are applied: lower first. What others live in or refer to goes first."""
    return _RANKS.get((ref.api_version.partition("/")[0], ref.kind), _RANK_OTHERS)


_RANK_OTHERS = 3
_RANKS = {
    ("v1", "Namespace"): 0,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): 0,
    ("scheduling.k8s.io", "PriorityClass"): 1,
    ("storage.k8s.io", "StorageClass"): 1,
    ("node.k8s.io", "RuntimeClass"): 1,
    ("networking.k8s.io", "IngressClass"): 1,
    ("rbac.authorization.k8s.io", "ClusterRole"): 1,
    ("rbac.authorization.k8s.io", "Role"): 1,
    ("v1", "ServiceAccount"): 1,
    ("v1", "ResourceQuota"): 1,
    ("v1", "LimitRange"): 1,
    ("v1", "Secret"): 2,
    ("v1", "ConfigMap"): 2,
    ("v1", "PersistentVolume"): 2,
    ("v1", "PersistentVolumeClaim"): 2,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): 2,
    ("rbac.authorization.k8s.io", "RoleBinding"): 2,
}


# --- details --------------------------------------------------------------------------------------------------


def _foreign(
    body: Object, owner: Owner, mode: Mode, observed: Seen, cluster: str, rival_held: bool
) -> ApplyAction:
    ref = ref_of(body)
    where = f"{ref.namespace}/{ref.name}"
    rival = observed.owner
    if mode is Mode.SHARE:
        return Share()
    if mode is Mode.OVERWRITE and not (rival is not None and rival_held):
        return _apply(body, observed, "")
    if rival is not None:
        return Conflict(
            f"resource(kind={ref.kind}, {where}) already exists in the cluster {cluster} and belongs to "
            f"Work {rival.namespace}/{rival.name}, not to {owner.namespace}/{owner.name}"
        )
    return Conflict(
        f"resource(kind={ref.kind}, {where}) already exists in the cluster {cluster} and the "
        "work.karmada.io/conflict-resolution strategy value is empty, Karmada will not manage this resource "
        "(spec.conflictResolution: Overwrite of its policy takes it over)"
    )


def _apply(body: Object, observed: Seen, note: str) -> ApplyAction:
    if not needs_observed(body):
        return Apply(_precondition(body, uid=observed.uid), note)
    if observed.object is None:
        return Read()
    retained = interpreter.retain(body, observed.object)
    if retained is body:
        return Apply(_precondition(body, uid=observed.uid), note)
    # What is sent of the member's is what was read: a scaling in between must win, so the apply is refused (409)
    # when the object has changed since.
    return Apply(_precondition(retained, uid=observed.uid, resource_version=observed.resource_version), note)


def _precondition(body: Object, *, uid: str, resource_version: str = "") -> Object:
    """Kubernetes refuses an apply whose metadata.uid (or resourceVersion) is not the live object's with 409."""
    metadata = {**(body.get("metadata") or {}), "uid": uid}
    if resource_version:
        metadata["resourceVersion"] = resource_version
    return {**body, "metadata": metadata}


def _drift(body: Object, observed: Seen, applied: Applied | None) -> str:
    """For people; empty when we never applied it, or nothing of others is put back."""
    if applied is None:
        return ""
    if applied.uid != observed.uid:
        return "replaced by another hand, put back"
    if observed.object is None:
        return "changed by another hand, put back"
    if needs_observed(body) and "replicas" in (body.get("spec") or {}):
        body = {**body, "spec": {k: v for k, v in body["spec"].items() if k != "replicas"}}
        if not drift.lost_fields(body, observed.object):
            return ""
    return drift.in_words(body, observed.object)


_OUR_ANNOTATION_DOMAINS = (
    "work.karmada.io",
    "resourcetemplate.karmada.io",
    "resourcebinding.karmada.io",
    "clusterresourcebinding.karmada.io",
)
_OUR_LABELS = (
    names.MANAGED,
    names.WORK_ID,
    names.BINDING_ID,
    names.CLUSTER_BINDING_ID,
)


def _release_patch(live: Object) -> Object:
    """Takes our marks off; carries the resourceVersion, so that it is refused when the object changed since."""
    metadata: Object = {
        "uid": uid_of(live),
        "resourceVersion": str((live.get("metadata") or {}).get("resourceVersion") or ""),
        "labels": {key: None for key in labels_of(live) if key in _OUR_LABELS},
        "annotations": {
            key: None
            for key in annotations_of(live)
            if key.partition("/")[0] in _OUR_ANNOTATION_DOMAINS or key == names.PRESERVE_ANNOTATION
        },
    }
    return {"metadata": metadata}
