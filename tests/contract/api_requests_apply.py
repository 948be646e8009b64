"""Server-side apply in its corners, as scenarios for test_api: subresources, lists of every kind, ownership that moves."""

from __future__ import annotations

import json
from typing import Any

from tests.contract.api_steps import (
    Space,
    apply,
    configmap,
    container,
    deployment,
    get,
    obj,
    patch,
    pods,
    post,
    put,
    service,
)
from tests.contract.differential import Scenario

APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def apply_subresources() -> Scenario:
    at = Space("apply-subresources")
    web = f"{at.deployments}/web"

    def scale(replicas: Any, **metadata: Any) -> dict[str, Any]:
        return obj(
            "autoscaling/v1",
            "Scale",
            "web",
            spec={"replicas": replicas},
            metadata={"namespace": at.name, **metadata},
        )

    def status(**fields: Any) -> dict[str, Any]:
        return obj("apps/v1", "Deployment", "web", status=fields)

    def partly(**spec: Any) -> dict[str, Any]:
        return obj("apps/v1", "Deployment", "web", spec=spec)

    available = {"type": "Available", "status": "True", "reason": "R", "message": "m"}
    return Scenario(
        at.name,
        (
            at.made,
            apply("web", web, deployment()),
            apply("scale_conflict", f"{web}/scale", scale(5), "scaler"),
            apply("scale_forced", f"{web}/scale", scale(5), "scaler", "&force=true"),
            get("scaled", web),
            apply("scale_same", f"{web}/scale", scale(5), "scaler"),
            apply("scale_agreed", f"{web}/scale", scale(5), "other"),
            apply("web_conflict", web, deployment()),
            apply("web_agrees", web, deployment(replicas=5)),
            apply("scale_moves", f"{web}/scale", scale(6), "scaler", "&force=true"),
            get("moved", web),
            put("scale_put", f"{web}/scale?fieldManager=putter", scale(7)),
            patch("scale_patch", f"{web}/scale?fieldManager=patcher", {"spec": {"replicas": 8}}),
            get("patched", web),
            apply("scale_wrong", f"{web}/scale", deployment(), "scaler"),
            apply("status", f"{web}/status", status(replicas=1, conditions=[available]), "watcher"),
            apply("status_same", f"{web}/status", status(replicas=1, conditions=[available]), "watcher"),
            apply("status_other", f"{web}/status", status(conditions=[{"type": "Progressing", "status": "True"}]), "other"),
            apply("status_conflict", f"{web}/status", status(conditions=[{**available, "status": "False"}]), "other"),
            apply("status_dropped", f"{web}/status", status(), "watcher"),
            apply("status_spec", f"{web}/status", partly(replicas=9), "watcher"),
            apply("main_status", web, status(replicas=9), "other"),
            get("left", web),
        ),
    )  # fmt: skip


def apply_lists() -> Scenario:
    at = Space("apply-lists")
    s, web = f"{at.services}/s", f"{at.deployments}/web"

    def ports(*listed: Any) -> dict[str, Any]:
        return obj("v1", "Service", "s", spec={"ports": list(listed)})

    def only(*containers: Any, **spec: Any) -> dict[str, Any]:
        return obj(
            "apps/v1",
            "Deployment",
            "web",
            spec={"template": {"spec": {"containers": list(containers), **spec}}},
        )

    def meta(**metadata: Any) -> dict[str, Any]:
        return obj("v1", "ConfigMap", "c", metadata=metadata)

    tcp, udp = {"port": 53, "protocol": "TCP", "name": "t"}, {"port": 53, "protocol": "UDP", "name": "u"}

    def owner(name: str) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": f"${{{name}:metadata.uid}}"}

    c = f"{at.configmaps}/c"
    return Scenario(
        at.name,
        (
            at.made,
            apply("service", s, service(ports=[tcp])),
            apply("both", s, ports(udp), "two"),
            apply("defaulted_key", s, ports({"port": 80, "name": "w"}), "three"),
            apply("target", s, ports({"port": 53, "protocol": "UDP", "targetPort": 5353}), "four"),
            apply("target_conflict", s, ports({"port": 53, "protocol": "UDP", "targetPort": 99}), "five"),
            apply("duplicate", s, ports(tcp, tcp), "six"),
            apply("no_key", s, ports({"name": "x"}), "six"),
            apply("dropped", s, ports(), "two"),
            get("service_left", s),
            apply("web", web, deployment(template=pods("web", container("a", env=[{"name": "A", "value": "1"}]), container("b")))),
            apply("env", web, only(container("a", env=[{"name": "B", "value": "2"}])), "two"),
            apply("env_from", web, only({"name": "a", "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}), "two"),
            apply("args_atomic", web, only({"name": "a", "args": ["x", "y"]}), "two"),
            apply("args_conflict", web, only({"name": "a", "args": ["x"]}), "three"),
            apply("volumes", web, only({"name": "a", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}, volumes=[{"name": "v", "emptyDir": {}}]), "two"),
            apply("init", web, only({"name": "a"}, initContainers=[container("i")]), "four"),
            apply("tolerations_atomic", web, only({"name": "a"}, tolerations=[{"key": "k", "operator": "Exists"}]), "five"),
            apply("spread", web, only({"name": "a"}, topologySpreadConstraints=[{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}]), "five"),
            apply("two_left", web, only(), "two"),
            apply("reorder", web, deployment(template=pods("web", container("b"), container("a", env=[{"name": "A", "value": "1"}])))),
            get("web_left", web),
            apply("finalizers", c, meta(finalizers=["example.com/a"])),
            apply("finalizers_two", c, meta(finalizers=["example.com/b"]), "two"),
            apply("finalizers_gone", c, meta(), "two"),
            post("o", at.configmaps, configmap("o")),
            post("p", at.configmaps, configmap("p")),
            apply("owners", c, meta(finalizers=["example.com/a"], ownerReferences=[owner("o")])),
            apply("owners_two", c, meta(ownerReferences=[owner("p")]), "two"),
            apply("annotations", c, meta(annotations={"a": "1", "b/c": "2"}), "three"),
            apply("annotations_dropped", c, meta(annotations={"b/c": "2"}), "three"),
            apply("null", c, {**meta(), "data": {"n": None}}, "four"),
            apply("all_gone", c, meta(finalizers=[])),
            get("map_left", c),
        ),
    )  # fmt: skip


def apply_ownership() -> Scenario:
    at = Space("apply-ownership")
    c, web = f"{at.configmaps}/c", f"{at.deployments}/web"

    def conf(**data: Any) -> dict[str, Any]:
        return obj("v1", "ConfigMap", "c", data=data)

    def last(found: dict[str, Any]) -> dict[str, Any]:
        annotated: dict[str, Any] = json.loads(json.dumps(found))
        annotated["metadata"].setdefault("annotations", {})[APPLIED] = json.dumps(found) + "\n"
        return annotated

    client, ssa = "kubectl-client-side-apply", "kubectl"
    old = deployment(paused=True)
    return Scenario(
        at.name,
        (
            at.made,
            # What kubectl apply does without and then with --server-side.
            post("client_side", f"{at.deployments}?fieldManager={client}", last(old)),
            apply("migrated", web, deployment(), ssa),
            apply("migrated_forced", web, deployment(), ssa, "&force=true"),
            apply("after", web, deployment(replicas=4), ssa),
            get("web", web),
            post("c", f"{at.configmaps}?fieldManager={client}", last(configmap(data={"a": "1", "b": "2"}))),
            apply("c_dropped", c, conf(a="1"), ssa),
            apply("c_changed", c, conf(a="2"), ssa),
            get("c_read", c),
            *(patch(f"by_{n}", f"{c}?fieldManager=m{n:02}", {"data": {f"k{n}": "1"}}) for n in range(1, 14)),
            get("many", c),
            patch("reset", c, {"metadata": {"managedFields": [{}]}}),
            patch("untracked", f"{c}?fieldManager=late", {"data": {"late": "1"}}),
            apply("first_apply", c, conf(a="3"), "first"),
            apply("first_forced", c, conf(a="3"), "first", "&force=true"),
            patch("renamed", c, [{"op": "replace", "path": "/metadata/managedFields/0/manager", "value": "renamed"}], "json"),
            apply("as_renamed", c, conf(a="3"), "renamed"),
            patch("garbage", c, {"metadata": {"managedFields": [{"manager": "x", "operation": "Steal", "fieldsType": "FieldsV1", "fieldsV1": {}}]}}),
            put("put_without", f"{c}?fieldManager=putter", configmap("c", {"a": "4"})),
            apply("after_put", c, conf(a="5"), "renamed"),
            get("left", c),
        ),
    )  # fmt: skip


SCENARIOS = (apply_subresources(), apply_lists(), apply_ownership())
