"""The workload rules with manual time."""

from __future__ import annotations

import pytest

from tests.simcluster.harness import Member, condition, template, workload


def test_a_deployment_becomes_available_after_the_delay() -> None:
    member = Member(ready_seconds=2)
    member.apply(workload("Deployment", replicas=3))
    member.run()
    status = member.need("Deployment", "web")["status"]
    assert (status["replicas"], status["updatedReplicas"], status["unavailableReplicas"]) == (3, 3, 3)
    assert status["observedGeneration"] == 1
    assert "readyReplicas" not in status
    assert condition(member.need("Deployment", "web"), "Progressing") == ("True", "ReplicaSetUpdated")
    assert {p["status"]["phase"] for p in member.all("Pod")} == {"Pending"}

    member.pass_seconds(1.9)
    assert "readyReplicas" not in member.need("Deployment", "web")["status"]
    member.pass_seconds(0.2)
    deployment = member.need("Deployment", "web")
    assert deployment["status"]["readyReplicas"] == deployment["status"]["availableReplicas"] == 3
    assert "unavailableReplicas" not in deployment["status"]
    assert condition(deployment, "Available") == ("True", "MinimumReplicasAvailable")
    assert condition(deployment, "Progressing") == ("True", "NewReplicaSetAvailable")
    assert deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
    pods = member.all("Pod")
    assert {p["status"]["phase"] for p in pods} == {"Running"}
    assert len({p["status"]["podIP"] for p in pods}) == 3
    assert {p["spec"]["nodeName"] for p in pods} == {"node-0", "node-1"}


def test_a_deployment_costs_two_rounds_of_writes() -> None:
    member = Member()
    member.apply(workload("Deployment", replicas=2))
    member.run()
    assert member.writes == 4  # ReplicaSet, two Pods, and the Deployment
    member.pass_seconds(5)
    assert member.writes == 8  # each of them once more


def test_pods_of_a_replica_set_carry_hash_labels_and_owner() -> None:
    member = Member()
    member.apply(workload("Deployment", replicas=1))
    member.run()
    (replica_set,) = member.all("ReplicaSet")
    (pod,) = member.all("Pod")
    value = replica_set["metadata"]["labels"]["pod-template-hash"]
    assert replica_set["metadata"]["name"] == f"web-{value}"
    assert replica_set["spec"]["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": value}
    assert pod["metadata"]["labels"] == {"app": "web", "pod-template-hash": value}
    (owner,) = pod["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == (replica_set["metadata"]["uid"], True)


def test_scaling_down_takes_the_pods_that_are_not_ready() -> None:
    member = Member(ready_seconds=1)
    member.apply(workload("Deployment", replicas=2))
    member.pass_seconds(2)
    ready = {p["metadata"]["name"] for p in member.all("Pod")}
    member.change("Deployment", "web", replicas=4)
    member.run()
    assert len(member.all("Pod")) == 4
    member.change("Deployment", "web", replicas=2)
    member.run()
    assert {p["metadata"]["name"] for p in member.all("Pod")} == ready
    member.change("Deployment", "web", replicas=0)
    member.run()
    assert member.all("Pod") == []
    assert member.need("Deployment", "web")["status"]["observedGeneration"] == 4


@pytest.mark.parametrize("replicas", [1, 2, 4, 10])
def test_a_rollout_never_goes_below_its_minimum_nor_above_its_maximum(replicas: int) -> None:
    member = Member(ready_seconds=1)
    member.apply(workload("Deployment", replicas=replicas))
    member.pass_seconds(2)
    member.change("Deployment", "web", template=template("nginx:2"))
    surge, unavailable = -(-replicas // 4), replicas // 4
    for _ in range(40):
        member.pass_seconds(0.5)
        status = member.need("Deployment", "web")["status"]
        assert status["availableReplicas"] >= replicas - unavailable
        assert status["replicas"] <= replicas + surge
        if status["updatedReplicas"] == status["replicas"] == status["availableReplicas"] == replicas:
            break
    deployment = member.need("Deployment", "web")
    assert {p["spec"]["containers"][0]["image"] for p in member.all("Pod")} == {"nginx:2"}
    assert condition(deployment, "Progressing") == ("True", "NewReplicaSetAvailable")
    assert deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
    assert sorted(s["spec"]["replicas"] for s in member.all("ReplicaSet")) == [0, replicas]


def test_recreate_stops_the_old_pods_before_it_starts_new_ones() -> None:
    member = Member()
    member.apply(workload("Deployment", replicas=2, strategy={"type": "Recreate"}))
    member.pass_seconds(2)
    member.change("Deployment", "web", template=template("nginx:2"))
    member.run()
    assert {p["spec"]["containers"][0]["image"] for p in member.all("Pod")} == {"nginx:2"}


def test_history_is_limited_and_a_rollback_uses_the_old_replica_set() -> None:
    member = Member(ready_seconds=0)
    member.apply(workload("Deployment", replicas=1, revisionHistoryLimit=2, template=template("nginx:0")))
    member.run()
    for tag in range(1, 5):
        member.change("Deployment", "web", template=template(f"nginx:{tag}"))
        member.pass_seconds(1)
    images = {s["spec"]["template"]["spec"]["containers"][0]["image"] for s in member.all("ReplicaSet")}
    assert images == {"nginx:2", "nginx:3", "nginx:4"}
    names = {s["metadata"]["name"] for s in member.all("ReplicaSet")}
    member.change("Deployment", "web", template=template("nginx:3"))
    member.pass_seconds(1)
    assert {s["metadata"]["name"] for s in member.all("ReplicaSet")} == names
    revision = member.need("Deployment", "web")["metadata"]["annotations"][
        "deployment.kubernetes.io/revision"
    ]
    assert revision == "6"


def test_a_paused_deployment_scales_but_does_not_roll() -> None:
    member = Member(ready_seconds=0)
    member.apply(workload("Deployment", replicas=1))
    member.run()
    member.change("Deployment", "web", paused=True, replicas=3, template=template("nginx:2"))
    member.run()
    assert {p["spec"]["containers"][0]["image"] for p in member.all("Pod")} == {"nginx:1"}
    assert len(member.all("Pod")) == 3
    assert condition(member.need("Deployment", "web"), "Progressing") == ("Unknown", "DeploymentPaused")
    member.change("Deployment", "web", paused=False)
    member.pass_seconds(1)
    assert {p["spec"]["containers"][0]["image"] for p in member.all("Pod")} == {"nginx:2"}


def test_min_ready_seconds_delays_availability() -> None:
    member = Member(ready_seconds=1)
    member.apply(workload("Deployment", replicas=1, minReadySeconds=5))
    member.pass_seconds(2)
    status = member.need("Deployment", "web")["status"]
    assert (status["readyReplicas"], status.get("availableReplicas")) == (1, None)
    member.pass_seconds(5)
    assert member.need("Deployment", "web")["status"]["availableReplicas"] == 1


@pytest.mark.parametrize("reason", ["true", "ImagePullBackOff"])
def test_pods_told_to_fail_never_become_ready_until_told_otherwise(reason: str) -> None:
    member = Member()
    deployment = workload("Deployment", replicas=2, progressDeadlineSeconds=30)
    deployment["metadata"]["annotations"] = {"sim.towline.io/fail": reason}
    member.apply(deployment)
    member.pass_seconds(10)
    pods = member.all("Pod")
    waiting = {p["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] for p in pods}
    assert waiting == {"CrashLoopBackOff" if reason == "true" else reason}
    assert {p["status"]["phase"] for p in pods} == {"Running" if reason == "true" else "Pending"}
    assert condition(member.need("Deployment", "web"), "Available") == ("False", "MinimumReplicasUnavailable")
    member.pass_seconds(30)
    late = condition(member.need("Deployment", "web"), "Progressing")
    assert late == ("False", "ProgressDeadlineExceeded")

    member.annotate("Deployment", "web")
    member.pass_seconds(2)
    assert member.need("Deployment", "web")["status"]["availableReplicas"] == 2


def test_running_pods_fail_when_their_workload_is_told_to() -> None:
    member = Member()
    member.apply(workload("Deployment", replicas=2))
    member.pass_seconds(2)
    member.annotate("Deployment", "web", fail="true")
    member.run()
    status = member.need("Deployment", "web")["status"]
    assert (status["replicas"], status["unavailableReplicas"]) == (2, 2)
    assert "readyReplicas" not in status


def test_the_delay_can_be_set_on_the_template() -> None:
    member = Member(ready_seconds=1)
    member.apply(workload("Deployment", replicas=1, template=template(ready_seconds="7")))
    member.pass_seconds(6.9)
    assert not member.need("Deployment", "web")["status"].get("readyReplicas")
    member.pass_seconds(0.2)
    assert member.need("Deployment", "web")["status"]["readyReplicas"] == 1


def test_stateful_pods_start_in_order_and_keep_their_claims() -> None:
    member = Member(ready_seconds=1)
    claims = [{"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}}]
    member.apply(workload("StatefulSet", replicas=3, serviceName="web", volumeClaimTemplates=claims))
    seen = []
    for _ in range(4):
        member.run()
        seen.append([p["metadata"]["name"] for p in member.all("Pod")])
        member.pass_seconds(1)
    assert seen[:3] == [["web-0"], ["web-0", "web-1"], ["web-0", "web-1", "web-2"]]
    status = member.need("StatefulSet", "web")["status"]
    assert (status["readyReplicas"], status["updatedReplicas"], status["availableReplicas"]) == (3, 3, 3)
    assert status["currentRevision"] == status["updateRevision"]
    bound = {c["metadata"]["name"]: c["status"]["phase"] for c in member.all("PersistentVolumeClaim")}
    assert bound == {"data-web-0": "Bound", "data-web-1": "Bound", "data-web-2": "Bound"}
    member.change("StatefulSet", "web", replicas=1)
    member.pass_seconds(1)
    assert [p["metadata"]["name"] for p in member.all("Pod")] == ["web-0"]
    assert len(member.all("PersistentVolumeClaim")) == 3


def test_a_stateful_rollout_replaces_one_pod_at_a_time_from_the_last() -> None:
    member = Member(ready_seconds=1)
    member.apply(workload("StatefulSet", replicas=3, podManagementPolicy="Parallel"))
    member.pass_seconds(1.5)
    member.change("StatefulSet", "web", template=template("nginx:2"))
    order: list[str] = []
    for _ in range(20):
        member.pass_seconds(0.25)
        pods = {p["metadata"]["name"]: p["spec"]["containers"][0]["image"] for p in member.all("Pod")}
        order += [n for n, image in pods.items() if image == "nginx:2" and n not in order]
        assert len(pods) == 3
        assert member.need("StatefulSet", "web")["status"].get("readyReplicas", 0) >= 2
    assert order == ["web-2", "web-1", "web-0"]
    status = member.need("StatefulSet", "web")["status"]
    assert status["currentRevision"] == status["updateRevision"]


def test_a_daemon_set_follows_the_nodes() -> None:
    member = Member(nodes=3, ready_seconds=0)
    member.apply(workload("DaemonSet"))
    member.run()
    assert sorted(p["spec"]["nodeName"] for p in member.all("Pod")) == ["node-0", "node-1", "node-2"]
    status = member.need("DaemonSet", "web")["status"]
    assert (status["desiredNumberScheduled"], status["numberAvailable"], status["numberReady"]) == (3, 3, 3)
    member.delete("Node", "node-1")
    member.run()
    assert sorted(p["spec"]["nodeName"] for p in member.all("Pod")) == ["node-0", "node-2"]
    member.change("DaemonSet", "web", template=template("nginx:2"))
    member.pass_seconds(3)
    assert {p["spec"]["containers"][0]["image"] for p in member.all("Pod")} == {"nginx:2"}
    assert member.need("DaemonSet", "web")["status"]["updatedNumberScheduled"] == 2


def test_a_job_completes() -> None:
    member = Member(ready_seconds=1, complete_seconds=3)
    member.apply(workload("Job", completions=3, parallelism=2))
    member.pass_seconds(2)
    assert member.need("Job", "web")["status"]["active"] == 2
    assert member.need("Job", "web")["status"]["ready"] == 2
    member.pass_seconds(20)
    status = member.need("Job", "web")["status"]
    assert status["succeeded"] == 3
    assert "active" not in status
    assert condition(member.need("Job", "web"), "Complete") == ("True", "CompletionsReached")
    assert status["completionTime"] > status["startTime"]


def test_a_job_told_to_fail_fails_after_its_backoff_limit() -> None:
    member = Member()
    member.apply(workload("Job", completions=1, backoffLimit=2, template=template(fail="OOMKilled")))
    member.pass_seconds(60)
    status = member.need("Job", "web")["status"]
    assert (status["failed"], status.get("succeeded")) == (3, None)
    assert condition(member.need("Job", "web"), "Failed") == ("True", "BackoffLimitExceeded")


def test_a_finished_job_goes_after_its_ttl() -> None:
    member = Member(ready_seconds=0, complete_seconds=0)
    member.apply(workload("Job", completions=1, ttlSecondsAfterFinished=10))
    member.pass_seconds(9)
    assert member.get("Job", "web")
    member.pass_seconds(3)
    assert member.get("Job", "web") is None
    assert member.all("Pod") == []


def test_children_go_with_their_owner() -> None:
    member = Member()
    member.apply(workload("Deployment", replicas=2))
    member.pass_seconds(2)
    member.delete("Deployment", "web")
    member.run()
    assert member.all("ReplicaSet") == member.all("Pod") == []


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_one_deleted_and_made_again_at_once_does_not_trip_over_its_predecessor(kind: str) -> None:
    member = Member()
    member.apply(workload(kind, replicas=2))
    member.pass_seconds(3)
    before = {p["metadata"]["uid"] for p in member.all("Pod")}
    member.delete(kind, "web")
    member.apply(workload(kind, replicas=2))  # the rules see both changes in one round
    member.pass_seconds(5)
    assert member.need(kind, "web")["status"]["readyReplicas"] == 2
    after = {p["metadata"]["uid"] for p in member.all("Pod")}
    assert len(after) == 2
    assert not before & after


def test_foreground_deletion_waits_for_the_children() -> None:
    member = Member()
    member.apply(workload("Deployment", replicas=2))
    member.pass_seconds(2)
    member.delete("Deployment", "web", "foregroundDeletion")
    member.run()
    assert member.get("Deployment", "web") is None
    assert member.all("ReplicaSet") == member.all("Pod") == []


def test_orphaned_children_stay_and_a_new_owner_adopts_them() -> None:
    member = Member()
    member.apply(workload("Deployment", replicas=2))
    member.pass_seconds(2)
    pods = {p["metadata"]["name"] for p in member.all("Pod")}
    member.delete("Deployment", "web", "orphan")
    member.run()
    assert member.get("Deployment", "web") is None
    (left,) = member.all("ReplicaSet")
    assert "ownerReferences" not in left["metadata"]
    member.apply(workload("Deployment", replicas=2))
    member.pass_seconds(2)
    assert {p["metadata"]["name"] for p in member.all("Pod")} == pods
    assert member.need("Deployment", "web")["status"]["readyReplicas"] == 2


def test_a_deleted_pod_is_replaced() -> None:
    member = Member()
    member.apply(workload("Deployment", replicas=2))
    member.pass_seconds(2)
    gone = member.all("Pod")[0]["metadata"]["name"]
    member.delete("Pod", gone)
    member.run()
    names = {p["metadata"]["name"] for p in member.all("Pod")}
    assert len(names) == 2
    assert gone not in names
    assert member.need("Deployment", "web")["status"]["readyReplicas"] == 1


def test_nothing_is_made_in_a_namespace_that_goes() -> None:
    member = Member()
    assert member.get("ServiceAccount", "default")
    member.apply(workload("Deployment", replicas=2))
    member.pass_seconds(2)
    member.delete("Namespace", "default")
    member.delete("ServiceAccount", "default")
    for pod in member.all("Pod"):
        member.delete("Pod", pod["metadata"]["name"])
    member.run()
    assert member.all("Pod") == member.all("ServiceAccount") == []


def test_pods_wait_for_room_and_take_it_when_it_comes() -> None:
    member = Member(nodes=1)
    pods = template()
    pods["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1500m"}}
    member.apply(workload("Deployment", "big", replicas=2, pods=pods))
    member.apply(workload("Deployment", "late", replicas=1, pods=pods))
    member.pass_seconds(2)
    late = next(p for p in member.all("Pod") if p["metadata"]["name"].startswith("late"))
    assert condition(late, "PodScheduled") == ("False", "Unschedulable")
    assert "nodeName" not in late["spec"]
    member.change("Deployment", "big", replicas=1)
    member.pass_seconds(2)
    assert member.need("Deployment", "late")["status"]["readyReplicas"] == 1


def test_services_get_addresses_that_differ() -> None:
    member = Member()
    for index in range(5):
        spec = {"ports": [{"port": 80}], **({"type": "LoadBalancer"} if index == 0 else {})}
        member.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"s{index}"}, "spec": spec})
    headless = {"clusterIP": "None", "ports": [{"port": 80}]}
    member.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "none"}, "spec": headless})
    member.run()
    addresses = [s["spec"]["clusterIP"] for s in member.all("Service")]
    assert len(set(addresses)) == 6
    assert member.need("Service", "none")["spec"]["clusterIP"] == "None"
    assert member.need("Service", "s0")["status"]["loadBalancer"]["ingress"][0]["ip"].startswith("203.0.113.")
