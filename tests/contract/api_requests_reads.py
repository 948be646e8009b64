"""What clients ask of lists, watches and the form of answers, as scenarios for test_api."""

from __future__ import annotations

from typing import Any

from tests.contract.api_steps import Space, configmap, container, delete, get, obj, patch, post, service
from tests.contract.differential import Scenario, Step

GROUP = "application/json;as={};v=v1;g=meta.k8s.io"
TABLE = GROUP.format("Table")
PARTIAL = GROUP.format("PartialObjectMetadata")
PARTIAL_LIST = GROUP.format("PartialObjectMetadataList")


def lists() -> Scenario:
    at = Space("lists")
    maps = at.configmaps
    names = ("a", "a-b", "a.b", "b", "c")
    first = "resourceVersion=${create_b:metadata.resourceVersion}"
    newest = "resourceVersion=${edit:metadata.resourceVersion}"
    go_on = "limit=2&continue=${page:metadata.continue}"
    return Scenario(
        at.name,
        (
            at.made,
            *(post(f"create_{name.replace('.', '_').replace('-', '__')}", maps, configmap(name)) for name in names),
            patch("edit", f"{maps}/a", {"data": {"a": "2"}}),
            get("all", maps),
            get("page", f"{maps}?limit=2"),
            delete("delete", f"{maps}/c"),
            get("second", f"{maps}?{go_on}"),
            get("third", f"{maps}?limit=2&continue=${{second:metadata.continue}}"),
            get("rest_at_once", f"{maps}?continue=${{page:metadata.continue}}"),
            get("other_limit", f"{maps}?limit=1&continue=${{page:metadata.continue}}"),
            get("exact", f"{maps}?{first}&resourceVersionMatch=Exact"),
            get("exact_page", f"{maps}?{first}&resourceVersionMatch=Exact&limit=1"),
            get("exact_second", f"{maps}?limit=1&continue=${{exact_page:metadata.continue}}"),
            get("legacy_exact", f"{maps}?{first}&limit=1"),
            get("exact_zero", f"{maps}?resourceVersion=0&resourceVersionMatch=Exact"),
            get("exact_unset", f"{maps}?resourceVersionMatch=Exact"),
            get("not_older", f"{maps}?{newest}&resourceVersionMatch=NotOlderThan"),
            get("not_older_zero", f"{maps}?resourceVersion=0&resourceVersionMatch=NotOlderThan"),
            get("not_older_limit", f"{maps}?{newest}&resourceVersionMatch=NotOlderThan&limit=1"),
            get("zero_limit", f"{maps}?resourceVersion=0&limit=1"),
            get("newest", f"{maps}?{newest}"),
            get("future", f"{maps}?resourceVersion=999999999"),
            get("match_and_continue", f"{maps}?{go_on}&{first}&resourceVersionMatch=Exact"),
            get("match_continue", f"{maps}?{go_on}&resourceVersionMatch=NotOlderThan"),
            get("match_nonsense", f"{maps}?resourceVersionMatch=Perhaps"),
            get("revision_and_continue", f"{maps}?{go_on}&{first}"),
            get("zero_and_continue", f"{maps}?{go_on}&resourceVersion=0"),
            get("bad_continue", f"{maps}?limit=1&continue=nonsense"),
            get("send_initial", f"{maps}?sendInitialEvents=true"),
            get("send_initial_match", f"{maps}?sendInitialEvents=false&{first}&resourceVersionMatch=Perhaps"),
            get("bad_limit", f"{maps}?limit=many"),
            get("negative_limit", f"{maps}?limit=-1"),
            get("limit_zero", f"{maps}?limit=0"),
            get("bad_timeout", f"{maps}?timeoutSeconds=soon"),
            get("watch_false", f"{maps}?watch=false"),
            get("watch_zero", f"{maps}?watch=0"),
            get("label_page", f"{maps}?labelSelector=!x&limit=2"),
            get("field_page", f"{maps}?fieldSelector=metadata.name!%3Da&limit=1"),
            get("name_page", f"{maps}?fieldSelector=metadata.name%3Da&limit=1"),
            get("table_page", f"{maps}?limit=1", TABLE),
            get("partial_page", f"{maps}?limit=1", PARTIAL_LIST),
            get("get_zero", f"{maps}/a?resourceVersion=0"),
            get("get_newest", f"{maps}/a?{newest}"),
            get("get_bad", f"{maps}/a?resourceVersion=old"),
            get("no_namespace", "/api/v1/namespaces/nowhere/configmaps"),
            delete("collection_page", f"{maps}?limit=1"),
            delete("collection_match", f"{maps}?resourceVersionMatch=Exact"),
            delete("collection_field", f"{maps}?fieldSelector=data.a%3D1"),
        ),
    )  # fmt: skip


def fields() -> Scenario:
    at = Space("fields")
    pods, jobs = f"{at.core}/pods", f"/apis/batch/v1/namespaces/{at.name}/jobs"
    pod = obj("v1", "Pod", "p", spec={"containers": [container()], "nodeName": "n1", "hostNetwork": True})
    bound = obj("v1", "Pod", "q", spec={"containers": [container()], "restartPolicy": "Never"})
    template = {
        "metadata": {"labels": {"j": "j"}},
        "spec": {"containers": [container()], "restartPolicy": "Never"},
    }
    job = {"manualSelector": True, "selector": {"matchLabels": {"j": "j"}}, "template": template}
    event = obj("v1", "Event", "e", involvedObject={"kind": "Pod", "namespace": at.name, "name": "p"},
                reason="Because", type="Warning", source={"component": "tester"},
                firstTimestamp="2020-01-01T00:00:00Z", lastTimestamp="2020-01-01T00:00:00Z")  # fmt: skip

    def made(name: str, path: str, body: dict[str, Any]) -> Step:
        return Step(name, "POST", path, body, accept=PARTIAL)

    def by(name: str, path: str, selector: str) -> Step:
        return get(name, f"{path}?fieldSelector={selector}", PARTIAL_LIST)

    return Scenario(
        at.name,
        (
            at.made,
            made("service_account", f"{at.core}/serviceaccounts", obj("v1", "ServiceAccount", "default")),
            made("pod", pods, pod),
            made("pod_two", pods, bound),
            made("job", jobs, obj("batch/v1", "Job", "j", spec=job, metadata={"labels": {"j": "j"}})),
            made("secret", at.secrets, obj("v1", "Secret", "s", type="example.com/t")),
            made("service", at.services, service(type="NodePort")),
            made("event", f"{at.core}/events", event),
            by("node_name", pods, "spec.nodeName%3Dn1"),
            by("no_node", pods, "spec.nodeName%3D"),
            by("host", pods, "spec.host%3Dn1"),
            by("host_network", pods, "spec.hostNetwork%3Dfalse"),
            by("restart", pods, "spec.restartPolicy%3DNever"),
            by("scheduler", pods, "spec.schedulerName%3Ddefault-scheduler"),
            by("phase", pods, "status.phase%3DPending,metadata.name!%3Dq"),
            by("pod_ip", pods, "status.podIP%3D"),
            by("pod_ips", pods, "status.podIPs!%3Dx"),
            by("pod_field", pods, "spec.priority%3D1"),
            by("event_object", f"{at.core}/events", "involvedObject.name%3Dp,involvedObject.kind%3DPod"),
            by("event_source", f"{at.core}/events", "source%3Dtester"),
            by("event_reporting", f"{at.core}/events", "reportingComponent%3Dtester"),
            by("new_event", f"/apis/events.k8s.io/v1/namespaces/{at.name}/events", "regarding.name%3Dp"),
            by("new_event_field", f"/apis/events.k8s.io/v1/namespaces/{at.name}/events", "involvedObject.name%3Dp"),
            by("event_type", f"{at.core}/events", "type!%3DNormal,reason%3DBecause"),
            by("event_field", f"{at.core}/events", "message%3Dx"),
            by("secret_type", at.secrets, "type%3Dexample.com/t"),
            by("secret_field", at.secrets, "data.a%3Dx"),
            by("service_type", at.services, "spec.type%3DNodePort"),
            by("service_none", at.services, "spec.clusterIP%3DNone"),
            by("job_done", jobs, "status.successful%3D0"),
            by("job_field", jobs, "status.failed%3D0"),
            by("namespace_phase", "/api/v1/namespaces", f"status.phase%3DActive,metadata.name%3D{at.name}"),
            by("namespace_name", "/api/v1/namespaces", "name%3Dx"),
            by("namespace_namespace", "/api/v1/namespaces", "metadata.namespace%3Dx"),
            by("node_field", "/api/v1/nodes", "spec.unschedulable%3Dtrue"),
            by("node_namespace", "/api/v1/nodes", "metadata.namespace%3Dx"),
            by("replicasets", f"/apis/apps/v1/namespaces/{at.name}/replicasets", "status.replicas%3D0"),
            by("controllers", f"{at.core}/replicationcontrollers", "status.replicas%3D0"),
            by("volumes_namespace", "/api/v1/persistentvolumes", "metadata.namespace%3Dx"),
            by("roles", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{at.name}/roles", "metadata.uid%3Dx"),
            by("spaces", pods, "spec.nodeName%20%3Dn1"),
            by("two_equals", pods, "spec.nodeName%3D%3Dn1"),
            by("no_operator", pods, "spec.nodeName"),
            by("no_label", pods, "%3Dx"),
            by("bad_escape", pods, "metadata.name%3Da%5Cb"),
            by("contradiction", pods, "metadata.name%3Dp,metadata.name%3Dq"),
            get("one_other_name", f"{pods}/p?watch=1&fieldSelector=metadata.name%3Dq", PARTIAL),
            get("one_other_field", f"{pods}/p?watch=1&fieldSelector=spec.nodeName%3Dn1", PARTIAL),
        ),
    )  # fmt: skip


def watches() -> Scenario:
    at = Space("watches")
    maps = at.configmaps
    start = "resourceVersion=${create:metadata.resourceVersion}"
    labelled = {"metadata": {"labels": {"k": "v"}}}
    old = f"/api/v1/watch/namespaces/{at.name}/configmaps"

    def watch(name: str, path: str, lines: int, accept: str = "") -> Step:
        return Step(name, "GET", path, accept=accept, lines=lines)

    return Scenario(
        at.name,
        (
            at.made,
            post("create", maps, configmap()),
            patch("label", f"{maps}/c", labelled),
            post("other", maps, configmap("d")),
            patch("unlabel", f"{maps}/c", {"metadata": {"labels": None}}),
            delete("delete", f"{maps}/d"),
            watch("all", f"{maps}?watch=1&{start}", 4),
            watch("watch_word", f"{maps}?watch=yes&{start}", 4),
            watch("watch_empty", f"{maps}?watch&{start}", 4),
            watch("everywhere", f"/api/v1/configmaps?watch=1&{start}&labelSelector=k", 2),
            watch("by_label", f"{maps}?watch=true&{start}&labelSelector=k", 2),
            watch("by_absent_label", f"{maps}?watch=true&{start}&labelSelector=!k", 4),
            watch("by_name", f"{maps}?watch=true&{start}&fieldSelector=metadata.name%3Dd", 2),
            watch("by_field", f"{maps}?watch=true&{start}&fieldSelector=metadata.name!%3Dc", 2),
            watch("one", f"{maps}/d?watch=true&{start}", 2),
            watch("old_list", f"{old}?{start}", 4),
            watch("old_one", f"{old}/d?{start}", 2),
            watch("old_everywhere", f"/api/v1/watch/configmaps?{start}&labelSelector=k", 2),
            watch("table", f"{maps}?watch=1&{start}", 2, TABLE),
            watch("table_object", f"{maps}?watch=1&{start}&includeObject=Object", 2, TABLE),
            watch("table_none", f"{maps}?watch=1&{start}&includeObject=None", 2, TABLE),
            watch("partial", f"{maps}?watch=1&{start}", 2, PARTIAL),
            watch("partial_list", f"{maps}?watch=1&{start}", 2, PARTIAL_LIST),
            watch("initial", f"{maps}?watch=1&resourceVersion=0", 1),
            watch("initial_selected", f"{maps}?watch=1&resourceVersion=0&fieldSelector=metadata.name%3Dc", 1),
            get("none", f"{maps}?watch=1&timeoutSeconds=1&resourceVersion=0&fieldSelector=metadata.name%3Dx"),
            get("no_initial", f"{maps}?watch=1&timeoutSeconds=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan"),
            get("initial_no_match", f"{maps}?watch=1&sendInitialEvents=true"),
            get("initial_exact", f"{maps}?watch=1&sendInitialEvents=true&resourceVersion=1&resourceVersionMatch=Exact"),
            get("match_alone", f"{maps}?watch=1&resourceVersionMatch=NotOlderThan"),
            get("match_exact", f"{maps}?watch=1&resourceVersionMatch=Exact"),
            get("bad_timeout", f"{maps}?watch=1&timeoutSeconds=soon"),
            get("bad_revision", f"{maps}?watch=1&resourceVersion=-3"),
            get("bad_selector", f"{maps}?watch=1&labelSelector=a+b"),
            get("html", f"{maps}?watch=1&resourceVersion=0", "text/html"),
        ),
    )  # fmt: skip


def forms() -> Scenario:
    at = Space("forms")
    maps, c = at.configmaps, f"{at.configmaps}/c"
    asked = {
        "any": "*/*",
        "any_application": "application/*",
        "json_charset": "application/json; charset=utf-8",
        "spaces": " application/json ",
        "html_then_json": "text/html, application/json",
        "html_then_any": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "yaml_first": "application/yaml, application/json",
        "by_weight": "application/yaml;q=0.3, application/json;q=0.7",
        "weightless": "application/yaml;q=0, application/json;q=0.1",
        "table_first": f"{TABLE}, application/json",
        "table_last": f"application/json, {TABLE}",
        "table_by_weight": f"application/json;q=0.5, {TABLE};q=0.9",
        "table_beta": "application/json;as=Table;v=v1beta1;g=meta.k8s.io",
        "table_unknown": "application/json;as=Table;v=v9;g=meta.k8s.io",
        "table_unknown_json": "application/json;as=Table;v=v9;g=meta.k8s.io,application/json",
        "table_no_group": "application/json;as=Table",
        "as_unknown": "application/json;as=Chair;v=v1;g=meta.k8s.io",
        "yaml_table": "application/yaml;as=Table;v=v1;g=meta.k8s.io",
        "partial": PARTIAL,
        "partial_list_of_one": PARTIAL_LIST,
        "pretty_parameter": "application/json;pretty=1",
        "xml": "application/xml",
        "nonsense": "???",
    }
    return Scenario(
        at.name,
        (
            at.made,
            post("create", maps, configmap()),
            *(get(name, c, accept) for name, accept in asked.items()),
            get("partial_of_list", maps, PARTIAL),
            get("list_beta", maps, "application/json;as=PartialObjectMetadataList;v=v1beta1;g=meta.k8s.io"),
            get("pretty", f"{c}?pretty=1"),
            get("include_wrong", f"{c}?includeObject=Some", TABLE),
            Step("head", "HEAD", c),
            Step("head_list", "HEAD", maps),
            Step("head_absent", "HEAD", f"{maps}/none"),
            get("version_html", "/version", "text/html"),
            get("discovery_html", "/api/v1", "text/html"),
            get("not_found_yaml", f"{maps}/none", "application/yaml"),
            get("not_found_table", f"{maps}/none", TABLE),
            Step("created_table", "POST", maps, configmap("t"), accept=TABLE),
            Step("created_partial", "POST", maps, configmap("u"), accept=PARTIAL),
            Step("deleted_table", "DELETE", f"{maps}/t", accept=TABLE),
            Step("not_created", "POST", maps, configmap("v"), accept="text/html"),
            get("not_there", f"{maps}/v"),
        ),
    )  # fmt: skip


SCENARIOS = (lists(), fields(), watches(), forms())
