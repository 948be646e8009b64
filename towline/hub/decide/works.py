"""Works: what each cluster must hold for a binding, a hub Namespace or a user's own Work. Pure rendering, nothing stored.

A binding's manifests are the same in every cluster but for the replicas, the overrides and two values (the Work's id and
namespace). They are rendered once for each number of replicas and each set of overrides, and cut at those two values, so that
clusters share the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from towline.hub.decide.bindings import derived_uuid, desired, observed
from towline.hub.decide.graceful import purging, stop_after_seconds
from towline.hub.decide.overrides import (
    NO_OVERRIDES,
    OverrideFailed,
    Overrides,
    Rule,
    apply,
    is_blocked,
    rules_for,
)
from towline.hub.decide.preservation import state_for
from towline.hub.decide.scheduling.division import divide
from towline.hub.decide.wire import (
    Applied,
    Blocked,
    Conflict,
    ObjectRef,
    Phase,
    WireWork,
    WorkReport,
    hash_of_report,
)
from towline.kube import interpreter, names
from towline.kube.objects import (
    Key,
    Object,
    annotations_of,
    generation_of,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
    with_labels,
)
from towline.proto.digest import EMPTY_DIGEST, work_hash

Pieces = tuple[bytes, ...]
Marks = tuple[Mapping[str, str], Mapping[str, str]]
"""Labels and annotations that a manifest gets."""

MANIFEST_BYTES_MAX = 3 * 1024 * 1024
"""What overrides may make of a manifest: Kubernetes' limit of a request."""


class Variant(NamedTuple):
    """A manifest that several clusters share; without pieces where overrides keep it from being sent."""

    pieces: Pieces = ()
    overrides: Applied | None = None
    blocked: Blocked | None = None


def of_binding(
    key: Key,
    binding: Object,
    template: Object | None,
    revision: int,
    overrides: Overrides = NO_OVERRIDES,
    rendered: dict[Hashable, Variant] | None = None,
    only: str = "",
) -> dict[str, WireWork]:
    """By cluster: a Work for each desired one, a removal for each that is only observed. One that overrides block has no
    manifests: what the cluster has is not known here.

    Without its template (it vanished this moment) a binding renders removals only. `rendered` are the variants of an earlier
    call with the same template, binding's spec and overrides; new ones are put into it. `only`: no other desired cluster's."""
    ref = (binding.get("spec") or {}).get("resource") or {}
    namespace, name, kind = (
        str(ref.get("namespace") or ""),
        str(ref.get("name") or ""),
        str(ref.get("kind") or ""),
    )
    work = names.work_name(namespace, name, kind)
    refs = (ObjectRef(str(ref.get("apiVersion") or ""), kind, namespace, name),)
    wanted, entries = desired(binding), observed(binding)
    spec = binding.get("spec") or {}
    preserve = bool(spec.get("preserveResourcesOnDeletion"))
    works: dict[str, WireWork] = {}
    for cluster in entries.keys() - wanted.keys():
        works[cluster] = _removal(work, _uid(binding, cluster), revision, preserve, refs)
    if template is None:
        return works
    conflict = _conflict(
        annotations_of(template).get(names.CONFLICT_RESOLUTION), spec.get("conflictResolution")
    )
    suspended = bool(purging(binding)) or _suspended(spec)
    stop_after = stop_after_seconds(spec)
    rendered = {} if rendered is None else rendered
    completions = _completions(template, spec, wanted)
    for cluster, replicas in wanted.items():
        if only and cluster != only:
            continue
        rules, same = rules_for(overrides, cluster)
        state = state_for(spec, cluster)
        at = (replicas, completions.get(cluster), same, bool(state))
        variant = rendered.get(at)
        if variant is None:
            manifest = with_labels(_revised(template, spec, replicas, completions.get(cluster)), state)
            labels, annotations = _owner_marks(key, binding, template)
            marks = labels, {**annotations, **_kept(preserve)}
            changed = _overridden(manifest, overrides, rules, cluster)
            variant = rendered[at] = _variant(changed, work, marks, conflict)
        uid = _uid(binding, cluster)
        digest, pieces = _content(variant, uid, cluster, conflict, preserve, stop_after)
        works[cluster] = WireWork(
            name=work,
            uid=uid,
            revision=revision,
            hash=digest,
            pieces=pieces,
            conflict=conflict,
            preserve=preserve,
            stop_after_seconds=stop_after,
            suspended=suspended is True or (suspended is not False and cluster in suspended),
            refs=refs,
            overrides=variant.overrides,
            blocked=variant.blocked,
            report_hash=stored_report_hash(entries.get(cluster), blocked=variant.blocked is not None),
        )
    return works


def namespace_renderer(
    namespace: Object, revision: int, overrides: Overrides = NO_OVERRIDES
) -> Callable[[str, WireWork | None], WireWork]:
    """What makes a hub Namespace's Work for a cluster, given the Work that is there. Where the member has such a namespace
    already, that is enough."""
    name = name_of(namespace)
    work = names.work_name("", name, "Namespace")
    refs = (ObjectRef("v1", "Namespace", "", name),)
    bare = interpreter.prune({field: value for field, value in namespace.items() if field != "spec"})
    marks: Marks = (
        {},
        {names.TEMPLATE_UID: uid_of(namespace), names.TEMPLATE_GENERATION: str(generation_of(namespace))},
    )
    rendered: dict[Hashable, Variant] = {}

    def render(cluster: str, known: WireWork | None) -> WireWork:
        rules, same = rules_for(overrides, cluster)
        variant = rendered.get(same)
        if variant is None:
            changed = _overridden(bare, overrides, rules, cluster)
            variant = rendered[same] = _variant(changed, work, marks, Conflict.ABORT)
        uid = derived_uuid("work", uid_of(namespace), cluster)
        digest, pieces = _content(variant, uid, cluster, Conflict.SHARE, False)
        return WireWork(
            name=work,
            uid=uid,
            revision=revision,
            hash=digest,
            pieces=pieces,
            conflict=Conflict.SHARE,
            refs=refs,
            overrides=variant.overrides,
            blocked=variant.blocked,
            report_hash=known.report_hash if known is not None and not known.removing else b"",
        )

    return render


def namespace_removal(namespace: Object, cluster: str, revision: int, *, preserve: bool) -> WireWork:
    name = name_of(namespace)
    uid = derived_uuid("work", uid_of(namespace), cluster)
    refs = (ObjectRef("v1", "Namespace", "", name),)
    return _removal(names.work_name("", name, "Namespace"), uid, revision, preserve, refs)


def of_stored(stored: Object, revision: int) -> WireWork:
    """A Work that a user (or a controller without bindings) wrote as an object."""
    name, uid, spec = name_of(stored), uid_of(stored), stored.get("spec") or {}
    manifests = [m for m in (spec.get("workload") or {}).get("manifests") or () if isinstance(m, dict)]
    refs = tuple(
        ObjectRef(str(m.get("apiVersion") or ""), str(m.get("kind") or ""), namespace_of(m), name_of(m))
        for m in manifests
    )
    preserve = bool(spec.get("preserveResourcesOnDeletion"))
    if is_deleting(stored):
        return _removal(name, uid, revision, preserve, refs)
    id_ = labels_of(stored).get(names.WORK_ID) or uid
    resolutions = [annotations_of(stored).get(names.CONFLICT_RESOLUTION)]
    resolutions += [annotations_of(m).get(names.CONFLICT_RESOLUTION) for m in manifests]
    conflict = Conflict.OVERWRITE if "overwrite" in resolutions else Conflict.ABORT
    pieces = tuple(
        (
            b"".join(
                _filled(
                    _cut(interpreter.prune(m), name, ({}, _kept(preserve)), conflict),
                    id_,
                    namespace_of(stored),
                )
            ),
        )
        for m in manifests
    )
    return WireWork(
        name,
        uid,
        revision,
        work_hash([piece[0] for piece in pieces], conflict, preserve),
        pieces,
        conflict=conflict,
        preserve=preserve,
        suspended=bool(spec.get("suspendDispatching")),
        refs=refs,
        report_hash=stored_work_report_hash(stored),
    )


# --- what is durably known -----------------------------------------------------------------------------------


def stored_report_hash(entry: Mapping[str, Any] | None, *, blocked: bool = False) -> bytes:
    """The hash of the report that an aggregatedStatus entry was made from; b"" when there was none. While overrides block the
    cluster the entry's words are the hub's, and only its status is the agent's; afterwards the agent is asked again."""
    if not entry or "applied" not in entry:
        return b""
    message = str(entry.get("appliedMessage") or "")
    health = entry.get("health")
    if is_blocked(entry):
        known = blocked and ("status" in entry or health not in (None, "Unknown"))
        return hash_of_report(Phase.APPLIED, "", [(str(health), entry.get("status"))]) if known else b""
    if not entry["applied"]:
        return hash_of_report(Phase.FAILED, message, ())
    return hash_of_report(Phase.APPLIED, message, [(str(health), entry.get("status"))] if health else ())


def hash_when_stored(report: WorkReport) -> bytes:
    """What `report_hash` will be once this report is stored."""
    if report.phase == Phase.APPLIED:
        statuses = [(s.health, orjson.loads(s.status) if s.status else None) for s in report.statuses]
        return hash_of_report(Phase.APPLIED, report.message, statuses)
    return hash_of_report(report.phase, report.message, ())


def stored_work_report_hash(stored: Object) -> bytes:
    """The same of a stored Work's own status."""
    status = stored.get("status") or {}
    applied: Mapping[str, Any] = next(
        (c for c in status.get("conditions") or () if c.get("type") == "Applied"), {}
    )
    if applied.get("status") == "True":
        statuses = [
            (str(s.get("health") or ""), s.get("status")) for s in status.get("manifestStatuses") or ()
        ]
        return hash_of_report(Phase.APPLIED, "", statuses)
    if applied.get("status") == "False":
        return hash_of_report(Phase.FAILED, str(applied.get("message") or ""), ())
    return b""


def awaits_decision(binding: Object, template: Object) -> bool:
    """Whether a decision about to come will change the binding's replicas: sending before it would send twice."""
    labels = labels_of(template)
    if names.POLICY_ID not in labels and names.CLUSTER_POLICY_ID not in labels:
        return False
    workload = interpreter.replicas(template)
    return (workload[0] if workload else 0) != int((binding.get("spec") or {}).get("replicas") or 0)


# --- one manifest --------------------------------------------------------------------------------------------


def _revised(template: Object, spec: Mapping[str, Any], replicas: int, completions: int | None) -> Object:
    manifest = interpreter.prune(template)
    if spec.get("replicas") or spec.get("replicaRequirements"):
        manifest = interpreter.revise_replicas(manifest, replicas)
    if completions is not None:
        manifest = {**manifest, "spec": {**manifest["spec"], "completions": completions}}
    return manifest


def _overridden(
    manifest: Object, overrides: Overrides, rules: Sequence[Rule], cluster: str
) -> tuple[Object, Applied | None] | Blocked:
    if not rules:
        return manifest, None
    try:
        return apply(manifest, rules, overrides.cluster(cluster))
    except OverrideFailed as failure:
        return failure.blocked


def _variant(
    changed: tuple[Object, Applied | None] | Blocked, work: str, marks: Marks, conflict: Conflict
) -> Variant:
    if isinstance(changed, Blocked):
        return Variant(blocked=changed)
    manifest, applied = changed
    pieces = _cut(manifest, work, marks, conflict)
    size = sum(map(len, pieces))
    if applied is not None and size > MANIFEST_BYTES_MAX:
        why = f"the object would be {size} bytes, more than {MANIFEST_BYTES_MAX}"
        return Variant(blocked=Blocked(", ".join(applied.policies), why))
    return Variant(pieces, applied)


def _completions(template: Object, spec: Mapping[str, Any], wanted: Mapping[str, int]) -> dict[str, int]:
    """A divided Job's completions are divided too, in proportion to each cluster's replicas."""
    total = (template.get("spec") or {}).get("completions")
    scheduling = (spec.get("placement") or {}).get("replicaScheduling") or {}
    divided = scheduling and (scheduling.get("replicaSchedulingType") or "Divided") == "Divided"
    is_job = template.get("kind") == "Job" and str(template.get("apiVersion")).startswith("batch/")
    if not (is_job and divided and total is not None and spec.get("replicas")):
        return {}
    return divide(int(total), wanted, str((spec.get("resource") or {}).get("uid") or ""))


def _owner_marks(key: Key, binding: Object, template: Object) -> Marks:
    """Labels and annotations that say whose manifest it is."""
    id_label = names.BINDING_ID if key.namespace else names.CLUSTER_BINDING_ID
    labels = {id_label: labels_of(binding).get(id_label) or uid_of(binding)}
    annotations = {
        names.TEMPLATE_UID: uid_of(template),
        names.TEMPLATE_GENERATION: str(generation_of(template)),
    }
    return labels, annotations | owner_annotations(key)


def _kept(preserve: bool) -> dict[str, str]:
    return {names.PRESERVE_ANNOTATION: "true"} if preserve else {}


def owner_annotations(key: Key) -> dict[str, str]:
    """The annotations that name a binding on its Works and manifests."""
    if key.namespace:
        return {names.BINDING_NAMESPACE_ANNOTATION: key.namespace, names.BINDING_NAME_ANNOTATION: key.name}
    return {names.CLUSTER_BINDING_NAME_ANNOTATION: key.name}


_HOLE = "@"
_ID_HOLE = f'"metadata":{{"labels":{{"{names.WORK_ID}":"'.encode()
_NAMESPACE_HOLE = f'"annotations":{{"{names.WORK_NAMESPACE_ANNOTATION}":"'.encode()


def _cut(manifest: Object, work: str, marks: Marks, conflict: Conflict) -> Pieces:
    """`manifest` with its marks, encoded in three pieces around the Work's id and the Work's namespace.

    The labels come first in metadata and the annotations second, each with its hole first: no content of the user's can stand before
    them, so the first match is the hole."""
    metadata = manifest.get("metadata") or {}
    labels = {names.WORK_ID: _HOLE, **labels_of(manifest), **marks[0], names.MANAGED: "true"}
    labels[names.WORK_ID] = _HOLE
    annotations = {
        names.WORK_NAMESPACE_ANNOTATION: _HOLE,
        **annotations_of(manifest),
        **marks[1],
        names.WORK_NAME_ANNOTATION: work,
        names.CONFLICT_RESOLUTION: "overwrite" if conflict == Conflict.OVERWRITE else "abort",
    }
    annotations[names.WORK_NAMESPACE_ANNOTATION] = _HOLE
    recorded = {*annotations, names.MANAGED_ANNOTATIONS, names.MANAGED_LABELS}
    annotations[names.MANAGED_ANNOTATIONS] = ",".join(sorted(recorded))
    annotations[names.MANAGED_LABELS] = ",".join(sorted(labels))
    rest = {field: value for field, value in metadata.items() if field not in ("labels", "annotations")}
    ordered = {
        "apiVersion": manifest.get("apiVersion"),
        "kind": manifest.get("kind"),
        "metadata": {"labels": labels, "annotations": annotations, **rest},
    }
    ordered |= {field: value for field, value in manifest.items() if field not in ordered}
    encoded = orjson.dumps(ordered)
    first = encoded.index(_ID_HOLE) + len(_ID_HOLE)
    second = encoded.index(_NAMESPACE_HOLE, first) + len(_NAMESPACE_HOLE)
    return encoded[:first], encoded[first + len(_HOLE) : second], encoded[second + len(_HOLE) :]


def _content(
    variant: Variant, uid: str, cluster: str, conflict: Conflict, preserve: bool, stop_after: int = 0
) -> tuple[bytes, tuple[Pieces, ...]]:
    """A Work's hash and its manifest for one cluster; none where overrides block it."""
    if not variant.pieces:
        return EMPTY_DIGEST, ()
    pieces = _filled(variant.pieces, uid, names.execution_namespace(cluster))
    return work_hash([b"".join(pieces)], conflict, preserve, stop_after), (pieces,)


def _filled(pieces: Pieces, id_: str, namespace: str) -> Pieces:
    head, middle, tail = pieces
    return head, id_.encode(), middle, namespace.encode(), tail


# --- small parts ---------------------------------------------------------------------------------------------


def _uid(binding: Object, cluster: str) -> str:
    return derived_uuid("work", uid_of(binding), cluster)


def _removal(name: str, uid: str, revision: int, preserve: bool, refs: tuple[ObjectRef, ...]) -> WireWork:
    return WireWork(name, uid, revision, EMPTY_DIGEST, (), preserve=preserve, removing=True, refs=refs)


def _conflict(annotation: str | None, resolution: Any) -> Conflict:
    """The template's own annotation counts before the policy's conflictResolution."""
    if annotation in ("overwrite", "abort"):
        return Conflict.OVERWRITE if annotation == "overwrite" else Conflict.ABORT
    return Conflict.OVERWRITE if resolution == "Overwrite" else Conflict.ABORT


def _suspended(spec: Mapping[str, Any]) -> bool | Sequence[str]:
    """True: everywhere; otherwise the clusters where dispatching is suspended."""
    suspension = spec.get("suspension") or {}
    if suspension.get("dispatching"):
        return True
    return (suspension.get("dispatchingOnClusters") or {}).get("clusterNames") or False
