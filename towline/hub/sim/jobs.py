"""Jobs: Pods until enough of them succeeded, or too many failed."""

from __future__ import annotations

from towline.hub.sim.pods import is_active, is_ready
from towline.hub.sim.replicas import pod_key
from towline.hub.sim.round import Round, condition_of, epoch, pod_from, with_condition, without_zeros
from towline.kube.objects import Key, Object, is_deleting, name_of, uid_of

BACKOFF_LIMIT = 6


def run_job(round: Round, key: Key, job: Object) -> None:
    if is_deleting(job):
        return
    for over in ("Complete", "Failed"):
        if (condition_of(job, over) or {}).get("status") == "True":
            _expire(round, key, job)
            return
    spec, status = job["spec"], {**(job.get("status") or {})}
    pods = round.children(job, "", "pods")
    active = [pod for pod in pods if is_active(pod)]
    succeeded = sum((pod.get("status") or {}).get("phase") == "Succeeded" for pod in pods)
    failed = sum((pod.get("status") or {}).get("phase") == "Failed" for pod in pods)
    backoff = spec.get("backoffLimit")
    too_many = failed > (BACKOFF_LIMIT if backoff is None else int(backoff))
    parallel = 1 if spec.get("parallelism") is None else int(spec["parallelism"])
    # Without completions the Job is a work queue: the first success ends it, once the others are over.
    completions = int(spec["completions"]) if spec.get("completions") is not None else None
    done = succeeded >= completions if completions is not None else bool(succeeded) and not active
    wanted = parallel if completions is None else min(parallel, completions - succeeded)
    if completions is None and succeeded:
        wanted = len(active)
    if spec.get("suspend") or too_many or done:
        wanted = 0
    for pod in active[wanted:]:
        round.remove(pod_key(pod))
    active = active[:wanted]
    for _ in range(wanted - len(active)):
        active.append(_start(round, job))
    if not spec.get("suspend"):
        status.setdefault("startTime", round.stamp)
    status["active"], status["ready"] = len(active), sum(map(is_ready, active))
    status["succeeded"], status["failed"] = succeeded, failed
    status["conditions"] = _conditions(round, job, too_many=too_many, done=done)
    if done and not too_many:
        status["completionTime"] = round.stamp
    round.put_status(key, job, without_zeros(status, "ready"))


def _start(round: Round, job: Object) -> Object:
    prefix = f"{name_of(job)}-"
    labels = {
        "batch.kubernetes.io/controller-uid": uid_of(job),
        "batch.kubernetes.io/job-name": name_of(job),
        "controller-uid": uid_of(job),
        "job-name": name_of(job),
    }
    pod = pod_from(job, round.new_name(prefix), labels)
    pod["metadata"]["generateName"] = prefix
    return round.create(pod_key(pod), pod)


def _conditions(round: Round, job: Object, *, too_many: bool, done: bool) -> list[Object]:
    conditions: list[Object] = (job.get("status") or {}).get("conditions") or []
    now = {"lastProbeTime": round.stamp}
    if too_many:
        why = ("True", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        conditions = with_condition(conditions, round.stamp, "FailureTarget", *why, **now)
        return with_condition(conditions, round.stamp, "Failed", *why, **now)
    if done:
        why = ("True", "CompletionsReached", "Reached expected number of succeeded pods")
        conditions = with_condition(conditions, round.stamp, "SuccessCriteriaMet", *why, **now)
        return with_condition(conditions, round.stamp, "Complete", *why, **now)
    suspended = condition_of(job, "Suspended")
    if job["spec"].get("suspend"):
        if suspended and suspended.get("status") == "True":
            return conditions
        return with_condition(
            conditions, round.stamp, "Suspended", "True", "JobSuspended", "Job suspended", **now
        )
    if suspended and suspended.get("status") == "True":
        return with_condition(
            conditions, round.stamp, "Suspended", "False", "JobResumed", "Job resumed", **now
        )
    return conditions


def _expire(round: Round, key: Key, job: Object) -> None:
    """A Job that is over goes ttlSecondsAfterFinished later, if that is set."""
    ttl = job["spec"].get("ttlSecondsAfterFinished")
    if ttl is None:
        return
    over = [c for c in job["status"]["conditions"] if c.get("type") in ("Complete", "Failed")]
    at = epoch(over[0]["lastTransitionTime"]) + float(ttl)
    if round.now >= at:
        round.remove(key)
    else:
        round.wake(key, at)
