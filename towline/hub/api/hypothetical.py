"""What a forecast changes: Clusters and policies of a request, admitted as if they were written. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from towline.hub.api import admission, claims, status
from towline.hub.api.status import StatusError
from towline.hub.decide import bindings, policies
from towline.hub.decide.conditions import rfc3339
from towline.hub.decide.plan import Snapshot
from towline.hub.decide.whatif import Changes, with_assumed_apis, with_policy_taints
from towline.kube import errors, names
from towline.kube.kinds import Kind
from towline.kube.objects import Key, Object, uid_of, with_metadata
from towline.kube.placements import GROUP
from towline.kube.schemas import FieldError

_CHANGEABLE = (
    (names.CLUSTER_GROUP, "Cluster"),
    (names.POLICY_GROUP, "PropagationPolicy"),
    (names.POLICY_GROUP, "ClusterPropagationPolicy"),
    (names.POLICY_GROUP, "OverridePolicy"),
    (names.POLICY_GROUP, "ClusterOverridePolicy"),
)
"""What a forecast may change: what placement reads."""


def changes(snapshot: Snapshot, namespace: str, spec: Mapping[str, Any], now: float) -> Changes:
    """Raises 400 and 422 as for objects that are really written."""
    found: dict[Key, Object | None] = {}
    for n, ref in enumerate(spec.get("delete") or ()):
        kind = _changeable(snapshot, ref, f"spec.delete[{n}]")
        key = kind.key(str(ref.get("namespace") or namespace), str(ref["name"]))
        found[key] = _deleted(key, snapshot.get(key), now)
    for n, obj in enumerate(spec.get("apply") or ()):
        kind = _changeable(snapshot, obj, f"spec.apply[{n}]")
        applied = _admitted(snapshot, kind, obj, namespace, now)
        if kind.kind == "Cluster":
            applied = with_policy_taints(snapshot, with_assumed_apis(snapshot, applied), now)
        found[kind.key_of(applied)] = applied
    return found


def _deleted(key: Key, obj: Object | None, now: float) -> Object | None:
    """A policy that is deleted says to the end what becomes of what it propagated. A cluster is thought to be gone."""
    if obj is None or not policies.is_policy(key):
        return None
    return with_metadata(obj, deletionTimestamp=rfc3339(now))


def _changeable(snapshot: Snapshot, obj: Mapping[str, Any], path: str) -> Kind:
    kind = snapshot.kinds.of_object(obj)
    if kind is None or (kind.group, kind.kind) not in _CHANGEABLE:
        told = [name for _, name in _CHANGEABLE]
        raise invalid(errors.unsupported(f"{path}.kind", obj.get("kind"), told))
    return kind


def _admitted(snapshot: Snapshot, kind: Kind, obj: Object, namespace: str, now: float) -> Object:
    obj = admission.check_envelope(kind, obj)
    if namespace or not kind.namespaced:
        obj = claims.in_namespace(kind, obj, namespace)
    elif not obj["metadata"].get("namespace"):
        raise status.bad_request(f"{kind.kind} {obj['metadata'].get('name')} names no namespace")
    key = kind.key_of(obj)
    old = snapshot.get(key)
    uid = uid_of(old or {}) or bindings.derived_uuid("hypothetical", str(key))
    prepared = admission.prepare(kind, obj, old, validation="Strict", now=rfc3339(now), uid=uid)
    admission.check(kind, prepared, old)
    # As if it was written now: what is lazy compares revisions.
    return with_metadata(prepared.object, uid=uid, resourceVersion=str(snapshot.revision + 1))


def invalid(*found: FieldError) -> StatusError:
    return status.invalid_fields(GROUP, "", "", found)
