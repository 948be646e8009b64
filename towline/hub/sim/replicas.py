"""ReplicaSets and Deployments: the right number of Pods, and from one template to the next without a gap."""

from __future__ import annotations

from towline.hub.sim.pods import STEERING, available_at, is_active, is_ready
from towline.hub.sim.round import (
    Round,
    condition_of,
    epoch,
    owned_by,
    pod_from,
    share,
    template_hash,
    with_condition,
    without_zeros,
)
from towline.kube import last_applied
from towline.kube.objects import (
    Key,
    Object,
    annotations_of,
    generation_of,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
    with_annotations,
    with_metadata,
)

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
PROGRESS_SECONDS = 600
HISTORY = 10


def run_replica_set(round: Round, key: Key, replica_set: Object) -> None:
    """As many active Pods as asked for; the ones that are not ready, then the youngest, go first."""
    if is_deleting(replica_set):
        return
    wanted = _replicas(replica_set)
    active = [pod for pod in round.children(replica_set, "", "pods") if is_active(pod)]
    if len(active) > wanted:
        active.sort(key=lambda pod: (is_ready(pod), _inverse(pod["metadata"].get("creationTimestamp"))))
        for pod in active[: len(active) - wanted]:
            round.remove(pod_key(pod))
        active = active[len(active) - wanted :]
    for _ in range(wanted - len(active)):
        prefix = f"{name_of(replica_set)}-"
        pod = pod_from(replica_set, round.new_name(prefix), {})
        pod["metadata"]["generateName"] = prefix
        active.append(round.create(pod_key(pod), pod))
    status = {
        "replicas": len(active),
        "fullyLabeledReplicas": len(active),
        "readyReplicas": sum(map(is_ready, active)),
        "availableReplicas": count_available(round, key, replica_set, active),
        "observedGeneration": generation_of(replica_set),
    }
    round.put_status(key, replica_set, without_zeros(status, "replicas"))


def run_deployment(round: Round, key: Key, deployment: Object) -> None:
    """One ReplicaSet per template; the newest grows and the others shrink within maxSurge and maxUnavailable."""
    if is_deleting(deployment):
        return
    _adopt(round, deployment)
    sets = {name_of(s): s for s in round.children(deployment, "apps", "replicasets")}
    name = f"{name_of(deployment)}-{template_hash(deployment['spec'].get('template'))}"
    newest = sets.pop(name, None)
    older = sorted(sets.values(), key=_revision)
    paused = bool(deployment["spec"].get("paused"))
    if newest is None and not paused:
        newest = _new_replica_set(round, deployment, name, older)
        if newest is None:
            return
    if newest is not None and older and _revision(newest) < _revision(older[-1]):
        newest = _with_revision(round, newest, _revision(older[-1]) + 1)  # back to an earlier template
    if newest is not None and annotations_of(deployment).get(REVISION) != str(_revision(newest)):
        deployment = round.put(key, with_annotations(deployment, {REVISION: str(_revision(newest))}))
    if paused:
        _scale_paused(round, deployment, newest, older)
    elif newest is not None:
        _roll(round, deployment, newest, older)
    _deployment_status(round, key, deployment, name)
    _forget_history(round, deployment, older)


def count_available(round: Round, key: Key, owner: Object, pods: list[Object]) -> int:
    """How many of `pods` are ready for minReadySeconds; wakes `key` when the next one will be."""
    count = 0
    for pod in pods:
        at = available_at(pod, float(owner["spec"].get("minReadySeconds") or 0))
        if at is not None and at <= round.now:
            count += 1
        elif at is not None:
            round.wake(key, at)
    return count


def pod_key(pod: Object) -> Key:
    return Key("", "pods", namespace_of(pod), name_of(pod))


def _replicas(owner: Object) -> int:
    value = owner["spec"].get("replicas")
    return 1 if value is None else int(value)


def _inverse(stamp: str | None) -> tuple[int, ...]:
    """Sorts later times first."""
    return tuple(-ord(letter) for letter in stamp or "")


def _set_key(replica_set: Object) -> Key:
    return Key("apps", "replicasets", namespace_of(replica_set), name_of(replica_set))


def _revision(replica_set: Object) -> int:
    text = annotations_of(replica_set).get(REVISION, "0")
    return int(text) if text.isdigit() else 0


def _with_revision(round: Round, replica_set: Object, revision: int) -> Object:
    return round.put(_set_key(replica_set), with_annotations(replica_set, {REVISION: str(revision)}))


def _adopt(round: Round, deployment: Object) -> None:
    """Takes over the ReplicaSets that its selector matches and nobody owns: an orphaning delete leaves them."""
    wanted = (deployment["spec"].get("selector") or {}).get("matchLabels") or {}
    for key in list(round.cluster.ownerless_sets):
        found = round.get(key) if key.namespace == namespace_of(deployment) else None
        if found is None or found["metadata"].get("ownerReferences") or is_deleting(found):
            continue
        if wanted and wanted.items() <= labels_of(found).items():
            round.put(key, with_metadata(found, ownerReferences=owned_by(deployment)))


def _new_replica_set(round: Round, deployment: Object, name: str, older: list[Object]) -> Object | None:
    """Makes the ReplicaSet of the current template.

    None while another has the name (of a Deployment of this name before, say): when it goes, this runs again."""
    namespace = namespace_of(deployment)
    key = Key("apps", "replicasets", namespace, name)
    revision = str(max((_revision(s) for s in older), default=0) + 1)
    if not round.is_free(key):
        return None
    spec = deployment["spec"]
    template = spec.get("template") or {}
    metadata = template.get("metadata") or {}
    labels = {**(metadata.get("labels") or {}), HASH_LABEL: name.rpartition("-")[2]}
    selector = spec.get("selector") or {}
    matching = {**(selector.get("matchLabels") or {}), HASH_LABEL: labels[HASH_LABEL]}
    annotations = {k: v for k, v in annotations_of(deployment).items() if not _is_its_own(k)}
    made = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "generation": 1,
            "labels": labels,
            "annotations": {**annotations, REVISION: revision},
            "ownerReferences": owned_by(deployment),
        },
        "spec": {
            "replicas": 0,
            **({"minReadySeconds": spec["minReadySeconds"]} if spec.get("minReadySeconds") else {}),
            "selector": {**selector, "matchLabels": matching},
            "template": {**template, "metadata": {**metadata, "labels": labels}},
        },
    }
    return round.create(key, made)


def _is_its_own(annotation: str) -> bool:
    """Annotations that speak of the Deployment itself and are not handed down."""
    return annotation in (last_applied.ANNOTATION, REVISION, *STEERING)


def _scale(round: Round, replica_set: Object, replicas: int) -> Object:
    return round.put_spec(_set_key(replica_set), replica_set, replicas=replicas)


def _scale_paused(round: Round, deployment: Object, newest: Object | None, older: list[Object]) -> None:
    """A paused Deployment can still be scaled: its ReplicaSet in use follows."""
    in_use = [s for s in [*older, newest] if s is not None and _replicas(s)]
    if in_use:
        others = sum(_replicas(s) for s in in_use[:-1])
        _scale(round, in_use[-1], max(0, _replicas(deployment) - others))


def _roll(round: Round, deployment: Object, newest: Object, older: list[Object]) -> None:
    """One step of the rollout; each Pod that becomes ready brings the next."""
    wanted = _replicas(deployment)
    strategy = deployment["spec"].get("strategy") or {}
    if strategy.get("type") == "Recreate":
        for replica_set in older:
            _scale(round, replica_set, 0)
        if not any((s.get("status") or {}).get("replicas") for s in older):
            _scale(round, newest, wanted)
        return
    rolling = strategy.get("rollingUpdate") or {}
    surge = share(rolling.get("maxSurge"), wanted, up=True, default="25%")
    unavailable = share(rolling.get("maxUnavailable"), wanted, up=False, default="25%")
    if not surge and not unavailable:
        unavailable = 1  # both round to zero: without this nothing could ever move
    room = wanted + surge - sum(map(_replicas, [*older, newest]))
    grown = min(wanted, _replicas(newest) + max(0, room))
    newest = _scale(round, newest, grown)
    _shrink_older(round, newest, older, wanted - unavailable)


def _shrink_older(round: Round, newest: Object, older: list[Object], available_min: int) -> None:
    """Takes from the older ReplicaSets what is not needed to keep `available_min` Pods available."""
    unavailable_new = _replicas(newest) - _available(newest)
    spare = sum(map(_replicas, [*older, newest])) - available_min - unavailable_new
    for index, replica_set in enumerate(older):  # first those that do not work anyway
        idle = _replicas(replica_set) - _available(replica_set)
        if spare > 0 and idle > 0:
            taken = min(spare, idle)
            older[index] = _scale(round, replica_set, _replicas(replica_set) - taken)
            spare -= taken
    spare = sum(map(_available, [*older, newest])) - available_min
    for replica_set in older:
        if spare > 0 and _replicas(replica_set):
            taken = min(spare, _replicas(replica_set))
            _scale(round, replica_set, _replicas(replica_set) - taken)
            spare -= taken


def _available(replica_set: Object) -> int:
    """Available Pods, as far as its status speaks of no more than it still wants."""
    available = int((replica_set.get("status") or {}).get("availableReplicas") or 0)
    return min(available, _replicas(replica_set))


def _deployment_status(round: Round, key: Key, deployment: Object, newest_name: str) -> None:
    sets = round.children(deployment, "apps", "replicasets")
    totals = {"replicas": 0, "readyReplicas": 0, "availableReplicas": 0}
    updated = 0
    for replica_set in sets:
        status = replica_set.get("status") or {}
        for field in totals:
            totals[field] += int(status.get(field) or 0)
        if name_of(replica_set) == newest_name:
            updated = int(status.get("replicas") or 0)
    wanted = _replicas(deployment)
    old = deployment.get("status") or {}
    counters = {
        "observedGeneration": generation_of(deployment),
        **totals,
        "updatedReplicas": updated,
        "unavailableReplicas": max(0, max(totals["replicas"], wanted) - totals["availableReplicas"]),
    }
    moved = any(counters[f] != (old.get(f) or 0) for f in (*totals, "updatedReplicas"))
    conditions = _deployment_conditions(round, key, deployment, counters, newest_name, moved)
    round.put_status(key, deployment, without_zeros({**counters, "conditions": conditions}))


def _deployment_conditions(
    round: Round, key: Key, deployment: Object, counters: dict[str, int], newest_name: str, moved: bool
) -> list[Object]:
    """Available and Progressing, with the reasons that `kubectl rollout status` and health checks read."""
    wanted, stamp = _replicas(deployment), round.stamp
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    recreate = (deployment["spec"].get("strategy") or {}).get("type") == "Recreate"
    unavailable = 0 if recreate else share(rolling.get("maxUnavailable"), wanted, up=False, default="25%")
    enough = counters["availableReplicas"] >= wanted - unavailable
    conditions = (deployment.get("status") or {}).get("conditions")
    available = (
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        if enough
        else ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    )
    conditions = _set(conditions, stamp, "Available", *available, moved=False)
    if deployment["spec"].get("paused"):
        return _set(
            conditions,
            stamp,
            "Progressing",
            "Unknown",
            "DeploymentPaused",
            "Deployment is paused",
            moved=moved,
        )
    if counters["updatedReplicas"] == counters["replicas"] == counters["availableReplicas"] == wanted:
        message = f'ReplicaSet "{newest_name}" has successfully progressed.'
        return _set(conditions, stamp, "Progressing", "True", "NewReplicaSetAvailable", message, moved=False)
    before = condition_of(deployment, "Progressing") or {}
    deadline = float(deployment["spec"].get("progressDeadlineSeconds") or PROGRESS_SECONDS)
    fresh = moved or before.get("reason") not in ("ReplicaSetUpdated", "ProgressDeadlineExceeded")
    since = round.now if fresh else epoch(str(before.get("lastUpdateTime")))
    if round.now >= since + deadline:
        message = f'ReplicaSet "{newest_name}" has timed out progressing.'
        return _set(
            conditions, stamp, "Progressing", "False", "ProgressDeadlineExceeded", message, moved=False
        )
    round.wake(key, since + deadline)
    if not fresh:
        return conditions
    message = f'ReplicaSet "{newest_name}" is progressing.'
    return _set(conditions, stamp, "Progressing", "True", "ReplicaSetUpdated", message, moved=moved)


def _set(
    conditions: list[Object] | None,
    stamp: str,
    type: str,
    status: str,
    reason: str,
    message: str,
    *,
    moved: bool,
) -> list[Object]:
    """Like with_condition; lastUpdateTime moves when the condition says something new, or on progress."""
    for old in conditions or ():
        same = (old.get("status"), old.get("reason"), old.get("message")) == (status, reason, message)
        if old.get("type") == type and same and not moved:
            return list(conditions or ())
    return with_condition(conditions, stamp, type, status, reason, message, lastUpdateTime=stamp)


def _forget_history(round: Round, deployment: Object, older: list[Object]) -> None:
    """Empty ReplicaSets of earlier templates go beyond revisionHistoryLimit, the oldest first."""
    limit = deployment["spec"].get("revisionHistoryLimit")
    limit = HISTORY if limit is None else int(limit)
    current = (round.get(_set_key(s)) for s in older)
    empty = [
        s
        for s in current
        if s is not None and not _replicas(s) and not (s.get("status") or {}).get("replicas")
    ]
    for replica_set in empty[: max(0, len(empty) - limit)]:
        round.remove(_set_key(replica_set))
