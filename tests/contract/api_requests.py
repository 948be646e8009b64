"""What kubectl, client libraries and agents ask of an API server, as scenarios for test_api."""

from __future__ import annotations

from typing import Any

from tests.contract import (
    api_requests_apply,
    api_requests_crds,
    api_requests_kinds,
    api_requests_rbac,
    api_requests_reads,
    api_requests_webhooks,
)
from tests.contract.api_requests_tokens import tokens
from tests.contract.api_steps import (
    CRDS,
    LONG,
    TABLE,
    Space,
    apply,
    configmap,
    container,
    crd,
    delete,
    deployment,
    get,
    obj,
    patch,
    pods,
    post,
    put,
    service,
    widget,
)
from tests.contract.differential import JSON, Scenario, Step

PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json"
PARTIAL_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"


# --- scenarios -------------------------------------------------------------------------------------------------


def creating() -> Scenario:
    at = Space("creating")
    maps = at.configmaps
    return Scenario(
        at.name,
        (
            at.made,
            post("create", maps, configmap(metadata={"labels": {"a": "b"}})),
            post("again", maps, configmap()),
            post("minimal", maps, {"metadata": {"name": "minimal"}}),
            post("manager", f"{maps}?fieldManager=me", configmap("managed")),
            post("generated", maps, {"metadata": {"generateName": "gen-"}, "data": {"a": "b"}}),
            post("malformed", maps, '{"metadata": {'),
            post("not_an_object", maps, "[]"),
            post("yaml", maps, "metadata: {name: from-yaml}\ndata: {a: '1'}", "application/yaml"),
            post("unknown_type", maps, "hello", "text/plain"),
            post("wrong_kind", maps, obj("v1", "Secret", "c2")),
            post("wrong_version", maps, obj("v2", "ConfigMap", "c2")),
            post("wrong_namespace", maps, configmap("c2", metadata={"namespace": "other"})),
            post("no_namespace", "/api/v1/namespaces/absent/configmaps", configmap()),
            post("no_name", maps, {"data": {"a": "b"}}),
            post("bad_name", maps, configmap("No_Good")),
            post("long_name", maps, configmap(LONG)),
            post("bad_label", maps, configmap("c2", metadata={"labels": {"a/b/c": "d", "e": "-"}})),
            post("bad_annotation", maps, configmap("c2", metadata={"annotations": {"-": "d"}})),
            post("bad_owner", maps, configmap("c2", metadata={"ownerReferences": [{"kind": "A"}]})),
            post("bad_finalizer", maps, configmap("c2", metadata={"finalizers": ["UPPER/x y"]})),
            post("revision", maps, configmap("c2", metadata={"resourceVersion": "5"})),
            post("bad_key", maps, configmap("c2", {"a b": "1"})),
            post("bad_value", maps, configmap("c2", {"a": 1})),
            post("bad_metadata", maps, {"metadata": {"name": "c2", "labels": ["a"]}}),
            post("both_data", maps, configmap("c2", binaryData={"a": "MQ=="})),
            post("unknown", maps, configmap("c3", {}, dta={"a": "1"})),
            post("unknown_warn", f"{maps}?fieldValidation=Warn", configmap("c4", dta={"a": "1"})),
            post("unknown_strict", f"{maps}?fieldValidation=Strict", configmap("c5", dta={"a": "1"})),
            post("unknown_ignore", f"{maps}?fieldValidation=Ignore", configmap("c6", dta={"a": "1"})),
            post("twice_strict", f"{maps}?fieldValidation=Strict", '{"metadata":{"name":"c7","name":"c7"}}'),
            post("validation", f"{maps}?fieldValidation=Perhaps", configmap("c7")),
            post("dry_run", f"{maps}?dryRun=All", configmap("c8")),
            post("dry_run_wrong", f"{maps}?dryRun=Some", configmap("c8")),
            post("long_manager", f"{maps}?fieldManager={LONG}", configmap("c8")),
            post("system_fields", maps, configmap("c9", metadata={
                "uid": "mine", "creationTimestamp": "2001-01-01T00:00:00Z", "generation": 7,
                "deletionTimestamp": "2001-01-01T00:00:00Z", "selfLink": "/x"})),
            get("list", maps),
        ),
    )  # fmt: skip


def reading() -> Scenario:
    at = Space("reading")
    maps = at.configmaps
    return Scenario(
        at.name,
        (
            at.made,
            post("one", maps, configmap("one", metadata={"labels": {"tier": "front"}})),
            post("two", maps, configmap("two", metadata={"labels": {"tier": "back"}})),
            get("get", f"{maps}/one"),
            get("absent", f"{maps}/none"),
            get("list", maps),
            get("by_label", f"{maps}?labelSelector=tier%3Dfront"),
            get("by_set", f"{maps}?labelSelector=tier+in+(front,side),!x"),
            get("by_name", f"{maps}?fieldSelector=metadata.name%3Dtwo"),
            get("bad_label", f"{maps}?labelSelector=a%3D%3D%3Db"),
            get("bad_field", f"{maps}?fieldSelector=data.a%3D1"),
            get("bad_revision", f"{maps}?resourceVersion=abc"),
            get("bad_match", f"{maps}?resourceVersionMatch=Exact"),
            get("bad_match_value", f"{maps}?resourceVersion=1&resourceVersionMatch=Perhaps"),
            get("not_older", f"{maps}?resourceVersion=${{two:metadata.resourceVersion}}&resourceVersionMatch=NotOlderThan"),
            get("from_cache", f"{maps}?resourceVersion=0"),
            get("page", f"{maps}?limit=1"),
            get("table", maps, TABLE),
            get("table_one", f"{maps}/one", TABLE),
            get("table_none", f"{maps}?includeObject=None", TABLE),
            get("table_object", f"{maps}/one?includeObject=Object", TABLE),
            get("partial", f"{maps}/one", PARTIAL),
            get("partial_list", maps, PARTIAL_LIST),
            get("strange_accept", f"{maps}/one", "text/html"),
            get("yaml", f"{maps}/one", "application/yaml"),
            get("unknown_resource", f"{at.core}/nothings"),
            get("unknown_group", f"/apis/nothing.example.com/v1/namespaces/{at.name}/things"),
            get("unknown_version", f"/apis/apps/v9/namespaces/{at.name}/deployments"),
            get("unknown_subresource", f"{maps}/one/status"),
            get("cluster_scoped_in_namespace", f"{at.core}/nodes"),
            post("post_on_one", f"{maps}/one", configmap("one")),
            put("put_on_all", maps, configmap("one")),
            get("group", "/apis/apps"),
            get("no_document", "/apis/nothing.example.com/v1"),
        ),
    )  # fmt: skip


def updating() -> Scenario:
    at = Space("updating")
    maps, c = at.configmaps, f"{at.configmaps}/c"
    rv = "${create:metadata.resourceVersion}"
    return Scenario(
        at.name,
        (
            at.made,
            post("create", maps, configmap()),
            put("same", c, configmap()),
            put("update", c, configmap(data={"a": "2"}, metadata={"resourceVersion": rv})),
            put("stale", c, configmap(data={"a": "3"}, metadata={"resourceVersion": rv})),
            put("unconditional", c, configmap(data={"a": "3", "b": "1"})),
            put("other_uid", c, configmap(metadata={"uid": "00000000-0000-4000-8000-000000000000"})),
            put("other_name", c, configmap("d")),
            put("other_namespace", c, configmap(metadata={"namespace": "other"})),
            put("absent", f"{maps}/none", configmap("none")),
            put("bad_revision", c, configmap(metadata={"resourceVersion": "abc"})),
            put("dry_run", f"{c}?dryRun=All", configmap(data={"z": "9"})),
            put("unknown_strict", f"{c}?fieldValidation=Strict", configmap(dta={})),
            patch("merge", c, {"data": {"c": "1", "b": None}, "metadata": {"labels": {"x": "y"}}}),
            patch("merge_same", c, {"data": {"c": "1"}}),
            patch("merge_stale", c, {"metadata": {"resourceVersion": rv}, "data": {"q": "1"}}),
            patch("merge_uid", c, {"metadata": {"uid": "00000000-0000-4000-8000-000000000000"}}),
            patch("merge_name", c, {"metadata": {"name": "d"}}),
            patch("merge_kind", c, {"kind": "Secret"}),
            patch("merge_bad", c, {"data": {"c": {"d": "e"}}}),
            patch("merge_list", c, "[]"),
            patch("merge_malformed", c, "{"),
            patch("merge_unknown_strict", f"{c}?fieldValidation=Strict", {"dta": {"a": "b"}}),
            patch("merge_unknown_warn", f"{c}?fieldValidation=Warn", {"dta": {"a": "b"}}),
            patch("strategic", c, {"data": {"s": "1"}}, "strategic"),
            patch("json", c, [{"op": "replace", "path": "/data/a", "value": "7"}, {"op": "add", "path": "/data/n", "value": "1"},
                              {"op": "remove", "path": "/data/s"}], "json"),
            patch("json_test", c, [{"op": "test", "path": "/data/a", "value": "1"}], "json"),
            patch("json_absent", c, [{"op": "remove", "path": "/data/zzz"}], "json"),
            patch("json_bad_op", c, [{"op": "frobnicate", "path": "/data/a"}], "json"),
            patch("json_object", c, {"op": "remove"}, "json"),
            patch("json_malformed", c, "[{", "json"),
            patch("patch_absent", f"{maps}/none", {"data": {}}),
            Step("patch_type", "PATCH", c, {"data": {}}, JSON),
            patch("force", f"{c}?force=true", {"data": {}}),
            patch("immutable", c, {"immutable": True}),
            patch("immutable_data", c, {"data": {"a": "8"}}),
            patch("immutable_off", c, {"immutable": None}),
            get("get", c),
        ),
    )  # fmt: skip


def deleting() -> Scenario:
    at = Space("deleting")
    maps, c = at.configmaps, f"{at.configmaps}/c"
    wrong = {"uid": "00000000-0000-4000-8000-000000000000"}
    return Scenario(
        at.name,
        (
            at.made,
            post("create", maps, configmap(metadata={"finalizers": ["example.com/hold"]})),
            delete("wrong_uid", c, {"preconditions": wrong}),
            delete("wrong_revision", c, {"preconditions": {"resourceVersion": "1"}}),
            delete("wrong_policy", c, {"propagationPolicy": "Sideways"}),
            delete("wrong_kind", c, {"kind": "ConfigMap", "apiVersion": "v1"}),
            delete("dry_run", f"{c}?dryRun=All"),
            delete("dry_run_wrong", f"{c}?dryRun=Some"),
            delete("absent", f"{maps}/none"),
            delete("held", c),
            delete("held_again", c),
            patch("edit_held", c, {"data": {"a": "2"}}),
            patch("add_finalizer", c, {"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}),
            post("create_held", maps, configmap()),
            patch("let_go", c, {"metadata": {"finalizers": None}}),
            get("gone", c),
            post("plain", maps, configmap()),
            delete("background", c, {"propagationPolicy": "Background", "kind": "DeleteOptions", "apiVersion": "v1"}),
            get("gone_too", c),
            post("x", maps, configmap("x", metadata={"labels": {"k": "v"}})),
            post("y", maps, configmap("y", metadata={"labels": {"k": "v"}})),
            post("z", maps, configmap("z")),
            delete("collection", f"{maps}?labelSelector=k%3Dv"),
            get("left", maps),
            post("deployment", at.deployments, deployment()),
            delete("deployment_deleted", f"{at.deployments}/web", {"preconditions": {"uid": "${deployment:metadata.uid}"}}),
        ),
    )  # fmt: skip


def deployments() -> Scenario:
    at = Space("deployments")
    web = f"{at.deployments}/web"
    strict = f"{at.deployments}?fieldValidation=Strict"
    bad = {"name": "Bad", "ports": [{"containerPort": 99999}], "imagePullPolicy": "Sometimes"}
    full = container(
        ports=[{"containerPort": 80}, {"containerPort": 81, "name": "admin", "protocol": "UDP"}],
        env=[
            {"name": "A", "value": "1"},
            {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        resources={"limits": {"cpu": "1000m", "memory": "1024Mi"}},
        livenessProbe={"httpGet": {"path": "/", "port": 80}},
        volumeMounts=[{"name": "v", "mountPath": "/v"}],
    )
    volumes = [{"name": "v", "configMap": {"name": "c"}}]
    return Scenario(
        at.name,
        (
            at.made,
            post("create", at.deployments, deployment()),
            post("full", at.deployments, deployment("full", template=pods("full", full, volumes=volumes))),
            post("no_selector", at.deployments, deployment("d", selector=None)),
            post("empty_selector", at.deployments, deployment("d", selector={})),
            post("no_template", at.deployments, deployment("d", template=None)),
            post("mismatch", at.deployments, deployment("d", template=pods("other", container()))),
            post("negative", at.deployments, deployment("d", replicas=-1)),
            post("replicas_text", at.deployments, deployment("d", replicas="two")),
            post("replicas_float", at.deployments, deployment("d", replicas=1.5)),
            post("replicas_large", at.deployments, deployment("d", replicas=2**40)),
            post("bad_quantity", at.deployments, deployment("d", template=pods("d", container(resources={"limits": {"cpu": "lots"}})))),
            post("no_containers", at.deployments, deployment("d", template=pods("d"))),
            post("bad_container", at.deployments, deployment("d", template=pods("d", bad, container("a"), container("a")))),
            post("bad_strategy", at.deployments, deployment("d", strategy={"type": "Slowly"})),
            post("restart", at.deployments, deployment("d", template=pods("d", container(), restartPolicy="Never"))),
            post("unknown_strict", strict, deployment("d", replicaz=3, template=pods("d", container(imag="x")))),
            post("unknown_warn", at.deployments + "?fieldValidation=Warn", deployment("warned", replicaz=3)),
            patch("scale_up", web, {"spec": {"replicas": 3}}),
            patch("labels", web, {"metadata": {"labels": {"more": "1"}}}),
            patch("selector", web, {"spec": {"selector": {"matchLabels": {"app": "other"}}}}),
            patch("image", web, {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "nginx:1.28"}]}}}}, "strategic"),
            patch("sidecar", web, {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "busybox"}]}}}}, "strategic"),
            patch("no_sidecar", web, {"spec": {"template": {"spec": {"containers": [{"name": "side", "$patch": "delete"}]}}}}, "strategic"),
            patch("merge_containers", web, {"spec": {"template": {"spec": {"containers": [{"name": "only", "image": "x"}]}}}}),
            patch("recreate", web, {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}}),
            patch("status_ignored", web, {"status": {"replicas": 5}}),
            patch("status", f"{web}/status", {"status": {"replicas": 3, "readyReplicas": 2, "observedGeneration": 1}, "spec": {"replicas": 9}}),
            patch("status_conditions", f"{web}/status", {"status": {"conditions": [{"type": "Available", "status": "True", "reason": "R"}]}}, "strategic"),
            get("status_get", f"{web}/status"),
            get("scale", f"{web}/scale"),
            put("scale_put", f"{web}/scale", {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web", "namespace": at.name}, "spec": {"replicas": 4}}),
            put("scale_stale", f"{web}/scale", {"apiVersion": "autoscaling/v1", "kind": "Scale",
                "metadata": {"name": "web", "namespace": at.name, "resourceVersion": "${create:metadata.resourceVersion}"}, "spec": {"replicas": 5}}),
            patch("scale_patch", f"{web}/scale", {"spec": {"replicas": 5}}),
            patch("scale_negative", f"{web}/scale", {"spec": {"replicas": -5}}),
            put("scale_dry_run", f"{web}/scale?dryRun=All", {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web", "namespace": at.name}, "spec": {"replicas": 0}}),
            get("get", web),
            get("table", at.deployments, TABLE),
        ),
    )  # fmt: skip


def applying() -> Scenario:
    at = Space("applying")
    c, web = f"{at.configmaps}/c", f"{at.deployments}/web"

    def conf(**fields: Any) -> dict[str, Any]:
        return {k: v for k, v in configmap(**fields).items() if v is not None}

    def partly(containers: Any = None, **spec: Any) -> dict[str, Any]:
        if containers is not None:
            spec["template"] = {"spec": {"containers": containers}}
        return obj("apps/v1", "Deployment", "web", spec=spec)

    status = {"conditions": [{"type": "Ready", "status": "True"}], "replicas": 1}
    return Scenario(
        at.name,
        (
            at.made,
            apply("create", c, conf(data={"a": "1", "b": "2"}, metadata={"labels": {"l": "1"}})),
            apply("same", c, conf(data={"a": "1", "b": "2"}, metadata={"labels": {"l": "1"}})),
            apply("change", c, conf(data={"a": "2"}, metadata={"labels": {"l": "1"}})),
            apply("other", c, conf(data={"x": "1"}), "two"),
            apply("conflict", c, conf(data={"a": "9", "x": "1"}), "two"),
            apply("agreed", c, conf(data={"a": "2", "x": "1"}), "two"),
            apply("forced", c, conf(data={"a": "9", "x": "1"}), "two", "&force=true"),
            apply("taken", c, conf(data={"a": "2"})),
            apply("empty", c, conf(data={}, metadata={"labels": {}})),
            apply("left", c, obj("v1", "ConfigMap", "c"), "two"),
            patch("by_patch", f"{c}?fieldManager=patcher", {"data": {"p": "1"}}),
            apply("against_update", c, conf(data={"p": "2"})),
            apply("dry_run", c, conf(data={"p": "2"}), "one", "&force=true&dryRun=All"),
            apply("no_manager", c, conf(), "", ""),
            apply("no_kind", c, {"metadata": {"name": "c"}}),
            apply("other_name", c, conf(name="d")),
            apply("managed_fields", c, conf(metadata={"managedFields": [{"manager": "x"}]})),
            apply("stale", c, conf(metadata={"resourceVersion": "1"})),
            apply("other_uid", c, conf(metadata={"uid": "00000000-0000-4000-8000-000000000000"})),
            apply("absent_uid", f"{at.configmaps}/n", obj("v1", "ConfigMap", "n", metadata={"uid": "00000000-0000-4000-8000-000000000000"})),
            apply("absent_revision", f"{at.configmaps}/n", obj("v1", "ConfigMap", "n", metadata={"resourceVersion": "1"})),
            apply("unknown", c, conf(data={"p": "1"}, dta={}), "one", "&force=true"),
            apply("unknown_strict", c, conf(dta={}), "one", "&fieldValidation=Strict"),
            apply("bad_type", c, conf(data=["a"])),
            apply("text", c, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {p: '1'}\n", "yaml"),
            apply("malformed", c, "a: [b"),
            apply("web", web, deployment()),
            apply("web_same", web, deployment()),
            apply("side", web, partly([container("side")]), "two"),
            apply("side_env", web, partly([container("side", env=[{"name": "A", "value": "1"}], ports=[{"containerPort": 80}])]), "two"),
            apply("replicas_conflict", web, partly(replicas=5), "two"),
            apply("replicas_forced", web, partly([container("side")], replicas=5), "two", "&force=true"),
            apply("side_gone", web, partly(replicas=5), "two"),
            apply("replicas_released", web, obj("apps/v1", "Deployment", "web"), "two"),
            apply("twice", web, partly([container("t"), container("t")]), "three"),
            put("scale", f"{web}/scale?fieldManager=scaler", {"apiVersion": "autoscaling/v1", "kind": "Scale",
                "metadata": {"name": "web", "namespace": at.name}, "spec": {"replicas": 7}}),
            apply("after_scale", web, deployment()),
            apply("status", f"{web}/status", obj("apps/v1", "Deployment", "web", status=status), "controller"),
            apply("status_ignores_spec", f"{web}/status", obj("apps/v1", "Deployment", "web", spec={"replicas": 1}, status=status), "controller"),
            patch("status_patch", f"{web}/status?fieldManager=other", {"status": {"readyReplicas": 1}}),
            apply("absent_status", f"{at.deployments}/none/status", obj("apps/v1", "Deployment", "none", status=status), "controller"),
            apply("service", f"{at.services}/s", service()),
            apply("service_same", f"{at.services}/s", service()),
            apply("service_port", f"{at.services}/s", service(ports=[{"port": 81}]), "two"),
            patch("reset", c, [{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}], "json"),
            apply("after_reset", c, conf(data={"p": "5"}), "one", "&force=true"),
            get("web_get", web),
        ),
    )  # fmt: skip


def services_and_secrets() -> Scenario:
    at = Space("services-and-secrets")
    s, secret = f"{at.services}/s", f"{at.secrets}/t"
    return Scenario(
        at.name,
        (
            at.made,
            post("create", at.services, service()),
            post("headless", at.services, service("headless", clusterIP="None")),
            post("external", at.services, obj("v1", "Service", "ext", spec={"type": "ExternalName", "externalName": "a.example.com"})),
            post("no_ports", at.services, service("n", ports=[])),
            post("bad_port", at.services, service("n", ports=[{"port": 0, "protocol": "ABC"}])),
            post("unnamed_ports", at.services, service("n", ports=[{"port": 1}, {"port": 2}])),
            post("same_names", at.services, service("n", ports=[{"port": 1, "name": "a"}, {"port": 2, "name": "a"}])),
            post("digit_name", at.services, service("1n")),
            post("bad_type", at.services, service("n", type="Sideways")),
            put("update", s, {**service(ports=[{"port": 81, "targetPort": "http"}]), "metadata": {"name": "s", "labels": {"a": "b"}}}),
            patch("merge_port", s, {"spec": {"ports": [{"port": 81, "name": "web", "targetPort": 8080}]}}, "strategic"),
            patch("cluster_ip", f"{at.services}/headless", {"spec": {"clusterIP": "10.0.0.77"}}),
            get("service_table", at.services, TABLE),
            delete("service_deleted", s),
            post("secret", at.secrets, obj("v1", "Secret", "t", stringData={"b": "text"}, data={"a": "MQ=="})),
            post("bad_base64", at.secrets, obj("v1", "Secret", "u", data={"a": "not base64!"})),
            post("tls_keys", at.secrets, obj("v1", "Secret", "u", type="kubernetes.io/tls", data={})),
            patch("type", secret, {"type": "other"}),
            patch("string_data", secret, {"stringData": {"a": "2"}}),
            apply("apply_string_data", secret, obj("v1", "Secret", "t", stringData={"c": "3"})),
            get("secret_table", at.secrets, TABLE),
        ),
    )  # fmt: skip


def namespaces() -> Scenario:
    at = Space("namespaces")
    path = "/api/v1/namespaces"
    n = f"{path}/diff-n"
    return Scenario(
        at.name,
        (
            post("create", path, obj("v1", "Namespace", "diff-n", metadata={"labels": {"a": "b"}})),
            post("again", path, obj("v1", "Namespace", "diff-n")),
            post("bad_name", path, obj("v1", "Namespace", "a.b")),
            post("long_name", path, obj("v1", "Namespace", "x" * 64)),
            patch("label", n, {"metadata": {"labels": {"a": None, "c": "d"}}}),
            patch("own_label", n, {"metadata": {"labels": {"kubernetes.io/metadata.name": "other"}}}),
            put("update", n, obj("v1", "Namespace", "diff-n")),
            apply("apply", n, obj("v1", "Namespace", "diff-n", metadata={"labels": {"e": "f"}})),
            post("content", f"{n}/configmaps", configmap(metadata={"finalizers": ["example.com/hold"]})),
            delete("delete", n),
            post("create_inside", f"{n}/configmaps", configmap("late")),
            apply("apply_inside", f"{n}/configmaps/late", configmap("late")),
            apply("apply_deleting", n, obj("v1", "Namespace", "diff-n", metadata={"labels": {"e": "f"}})),
            put("finalize_stale", f"{n}/finalize", obj("v1", "Namespace", "diff-n", metadata={"resourceVersion": "1"}, spec={})),
            delete("collection", path),
        ),
    )  # fmt: skip


def custom_resources() -> Scenario:
    at = Space("custom-resources")
    w = f"{at.widgets}/w"
    own = "${create:metadata.resourceVersion}"
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "w", "namespace": at.name}}
    return Scenario(
        at.name,
        (
            at.made,
            get("before", at.widgets),
            post("crd", CRDS, crd()),
            get("established", f"{CRDS}/widgets.diff.example.com", until=("status.conditions.type=Established.status", "True")),
            get("served", "/apis/diff.example.com/v1", until=("kind", "APIResourceList")),
            get("empty", at.widgets, until=("kind", "WidgetList")),
            post("create", at.widgets, widget(spec={"size": 3, "parts": [{"name": "a"}], "port": "http", "free": {"any": [1, {}]}})),
            post("too_small", at.widgets, widget("v", spec={"size": 0, "colour": "green", "note": "too long"})),
            post("no_size", at.widgets, widget("v", spec={})),
            post("wrong_type", at.widgets, widget("v", spec={"size": "3"})),
            post("unknown", at.widgets, widget("pruned", spec={"size": 1, "extra": 1, "parts": [{"name": "a", "odd": 1}]})),
            post("unknown_strict", f"{at.widgets}?fieldValidation=Strict", widget("v", spec={"size": 1, "extra": 1})),
            post("nulls", at.widgets, widget("nulls", spec={"size": 1, "colour": None, "note": None, "replicas": None})),
            post("same_keys", at.widgets, widget("v", spec={"size": 1, "parts": [{"name": "a"}, {"name": "a"}]})),
            post("with_status", at.widgets, widget("status", status={"phase": "x"})),
            put("no_revision", w, widget()),
            put("update", w, widget(spec={"size": 4}, metadata={"resourceVersion": own})),
            put("stale", w, widget(spec={"size": 5}, metadata={"resourceVersion": own})),
            patch("merge", w, {"spec": {"colour": "red", "replicas": 2}}),
            patch("merge_invalid", w, {"spec": {"colour": "green"}}),
            patch("strategic", w, {"spec": {}}, "strategic"),
            patch("json", w, [{"op": "add", "path": "/spec/parts", "value": [{"name": "b"}]}], "json"),
            patch("status", f"{w}/status", {"status": {"phase": "Done", "replicas": 2}, "spec": {"size": 9}}),
            patch("status_unknown", f"{w}/status", {"status": {"other": "Done"}}),
            get("scale", f"{w}/scale"),
            put("scale_put", f"{w}/scale", {**scale, "spec": {"replicas": 6}}),
            patch("scale_patch", f"{w}/scale", {"spec": {"replicas": 7}}),
            apply("apply", w, widget(spec={"size": 4, "parts": [{"name": "c", "count": 2}]}), query="&force=true"),
            apply("apply_same", w, widget(spec={"size": 4, "parts": [{"name": "c", "count": 2}]})),
            apply("apply_conflict", w, widget(spec={"size": 5}), "two"),
            apply("apply_invalid", w, widget(spec={"size": 99}), query="&force=true"),
            apply("apply_unknown", w, widget(spec={"size": 4, "extra": 1}), query="&force=true&fieldValidation=Strict"),
            apply("apply_unknown_warn", w, widget(spec={"size": 4, "extra": 1}), query="&force=true&fieldValidation=Warn"),
            apply("apply_new", f"{at.widgets}/new", widget("new")),
            apply("apply_fewer", w, widget(spec={"size": 4})),
            get("table", at.widgets, TABLE),
            get("by_field", f"{at.widgets}?fieldSelector=spec.size%3D4"),
            delete("delete", w),
            get("get", f"{at.widgets}/new"),
            patch("rename", f"{CRDS}/widgets.diff.example.com", {"spec": {"scope": "Cluster"}}),
            post("bad_crd", CRDS, {**crd(), "metadata": {"name": "other.diff.example.com"}}),
            delete("crd_deleted", f"{CRDS}/widgets.diff.example.com"),
            get("crd_gone", f"{CRDS}/widgets.diff.example.com", until=("reason", "NotFound")),
            get("after", at.widgets, until=("", "404")),
        ),
    )  # fmt: skip


def watching() -> Scenario:
    at = Space("watching")
    maps, c = at.configmaps, f"{at.configmaps}/c"
    since = f"{maps}?watch=1&timeoutSeconds=1&resourceVersion=${{start:metadata.resourceVersion}}"
    chosen = {"metadata": {"labels": {"k": "v"}}}
    return Scenario(
        at.name,
        (
            at.made,
            get("start", maps),
            post("create", maps, configmap()),
            patch("select", c, chosen),
            patch("edit", c, {"data": {"a": "2"}}),
            patch("same", c, {"data": {"a": "2"}}),
            patch("deselect", c, {"metadata": {"labels": None}}),
            post("held", maps, configmap("held", metadata={"finalizers": ["example.com/hold"], "labels": {"k": "v"}})),
            delete("delete", c),
            delete("mark", f"{maps}/held"),
            patch("let_go", f"{maps}/held", {"metadata": {"finalizers": None}}),
            post("stays", maps, configmap("stays")),
            get("all", since),
            get("labelled", f"{since}&labelSelector=k%3Dv"),
            get("named", f"{since}&fieldSelector=metadata.name%3Dheld"),
            get("initial", f"{maps}?watch=1&timeoutSeconds=1&resourceVersion=0"),
            get("tables", f"{maps}?watch=1&timeoutSeconds=1&resourceVersion=0", TABLE),
            get("partial", f"{maps}?watch=1&timeoutSeconds=1&resourceVersion=0", PARTIAL),
            get("bad_revision", f"{maps}?watch=1&resourceVersion=abc"),
            get("bad_initial", f"{maps}?watch=1&sendInitialEvents=true"),
            get("bad_match", f"{maps}?watch=1&resourceVersionMatch=NotOlderThan"),
        ),
    )  # fmt: skip


SCENARIOS = (
    creating(), reading(), updating(), deleting(), deployments(), applying(), services_and_secrets(), namespaces(),
    custom_resources(), watching(), tokens(),
    *api_requests_reads.SCENARIOS,  # before those that leave nodes and namespaces behind
    *api_requests_apply.SCENARIOS,
    *api_requests_crds.SCENARIOS,
    *api_requests_kinds.SCENARIOS,
    *api_requests_rbac.SCENARIOS,
    *api_requests_webhooks.SCENARIOS,
)  # fmt: skip
