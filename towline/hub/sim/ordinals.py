"""StatefulSets: numbered Pods that start in order, keep their names and claims, and are replaced from the last."""

from __future__ import annotations

from towline.hub.sim.pods import is_active, is_ready
from towline.hub.sim.replicas import count_available, pod_key
from towline.hub.sim.round import Round, pod_from, template_hash, without_zeros
from towline.kube.objects import Key, Object, generation_of, is_deleting, labels_of, name_of, namespace_of

REVISION_LABEL = "controller-revision-hash"
NAME_LABEL = "statefulset.kubernetes.io/pod-name"
INDEX_LABEL = "apps.kubernetes.io/pod-index"


def run_stateful_set(round: Round, key: Key, stateful_set: Object) -> None:
    if is_deleting(stateful_set):
        return
    spec = stateful_set["spec"]
    revision = f"{name_of(stateful_set)}-{template_hash(spec.get('template'))}"
    first = int((spec.get("ordinals") or {}).get("start") or 0)
    wanted = range(first, first + (1 if spec.get("replicas") is None else int(spec["replicas"])))
    in_order = spec.get("podManagementPolicy") != "Parallel"
    held = _held(round, stateful_set)
    for ordinal, pod in list(held.items()):
        if not is_active(pod):
            round.remove(pod_key(pod))
            del held[ordinal]
    _fill(round, stateful_set, revision, wanted, held, in_order)
    for ordinal in sorted(set(held) - set(wanted), reverse=True):
        if in_order and any(not is_ready(held[o]) for o in wanted if o in held):
            break  # in order means: not while a Pod that stays is not ready
        round.remove(pod_key(held.pop(ordinal)))
    _replace_outdated(round, stateful_set, revision, wanted, held)
    _status(round, key, stateful_set, revision, _held(round, stateful_set))


def _held(round: Round, stateful_set: Object) -> dict[int, Object]:
    held: dict[int, Object] = {}
    for pod in round.children(stateful_set, "", "pods"):
        ordinal = name_of(pod).rpartition("-")[2]
        if ordinal.isdigit():
            held[int(ordinal)] = pod
    return dict(sorted(held.items()))


def _fill(
    round: Round, stateful_set: Object, revision: str, wanted: range, held: dict[int, Object], in_order: bool
) -> None:
    for ordinal in wanted:
        if ordinal not in held:
            key = Key("", "pods", namespace_of(stateful_set), f"{name_of(stateful_set)}-{ordinal}")
            if not round.is_free(key):
                return  # its predecessor is going, or somebody else's Pod has the name
            held[ordinal] = _start(round, stateful_set, revision, ordinal)
        if in_order and not is_ready(held[ordinal]):
            return  # the next one starts when this one is ready


def _start(round: Round, stateful_set: Object, revision: str, ordinal: int) -> Object:
    name = f"{name_of(stateful_set)}-{ordinal}"
    labels = {REVISION_LABEL: revision, NAME_LABEL: name, INDEX_LABEL: str(ordinal)}
    volumes = list(((stateful_set["spec"].get("template") or {}).get("spec") or {}).get("volumes") or ())
    for template in stateful_set["spec"].get("volumeClaimTemplates") or ():
        claim = f"{name_of(template)}-{name}"
        _claim(round, stateful_set, template, claim)
        volumes.append({"name": name_of(template), "persistentVolumeClaim": {"claimName": claim}})
    extra = {"volumes": volumes} if volumes else {}
    subdomain = stateful_set["spec"].get("serviceName")
    if subdomain:
        extra["subdomain"] = subdomain
    pod = pod_from(stateful_set, name, labels, hostname=name, **extra)
    return round.create(pod_key(pod), pod)


def _claim(round: Round, stateful_set: Object, template: Object, name: str) -> None:
    """The claim outlives Pod and StatefulSet, so it has no owner."""
    namespace = namespace_of(stateful_set)
    key = Key("", "persistentvolumeclaims", namespace, name)
    if round.is_free(key):
        labels = {
            **labels_of(template),
            **((stateful_set["spec"].get("selector") or {}).get("matchLabels") or {}),
        }
        metadata = {"name": name, "namespace": namespace, "labels": labels}
        spec = template.get("spec") or {}
        claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}
        round.create(key, {**claim, "status": {"phase": "Pending"}})


def _replace_outdated(
    round: Round, stateful_set: Object, revision: str, wanted: range, held: dict[int, Object]
) -> None:
    """Takes away one Pod of an earlier template, the highest first, when all the others are ready."""
    strategy = stateful_set["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return
    partition = int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
    outdated = [
        o
        for o in held
        if o in wanted and o >= partition and labels_of(held[o]).get(REVISION_LABEL) != revision
    ]
    if not outdated:
        return
    last = max(outdated)
    broken = [o for o in held if not is_ready(held[o])]
    if all(o == last for o in broken) and len(held) == len(wanted):
        round.remove(pod_key(held.pop(last)))


def _status(round: Round, key: Key, stateful_set: Object, revision: str, held: dict[int, Object]) -> None:
    pods = list(held.values())
    ready = sum(map(is_ready, pods))
    updated = sum(labels_of(p).get(REVISION_LABEL) == revision for p in pods)
    wanted = stateful_set["spec"].get("replicas")
    wanted = 1 if wanted is None else int(wanted)
    old = stateful_set.get("status") or {}
    current = str(old.get("currentRevision") or revision)
    if updated == len(pods) == ready == wanted:
        current = revision
    status = {
        "observedGeneration": generation_of(stateful_set),
        "replicas": len(pods),
        "readyReplicas": ready,
        "availableReplicas": count_available(round, key, stateful_set, pods),
        "currentReplicas": sum(labels_of(p).get(REVISION_LABEL) == current for p in pods),
        "updatedReplicas": updated,
        "currentRevision": current,
        "updateRevision": revision,
        "collisionCount": 0,
    }
    always = ("replicas", "availableReplicas", "collisionCount")
    round.put_status(key, stateful_set, without_zeros(status, *always))
