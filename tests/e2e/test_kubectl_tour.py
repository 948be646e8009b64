"""Every verb of the real kubectl, on a real hub: built-in kinds, a custom one, and Karmada's.

A scenario is a list of steps in a namespace of its own: what a user types, and a pattern that the answer shows. `!` in front
says that kubectl must fail. Manifests are the files of `FILES`, in the folder where kubectl runs; `$SPACE` is the namespace.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.harness import Fleet, eventually
from tests.e2e.objects import configmap, deployment, namespace, policy

pytestmark = pytest.mark.e2e

Step = tuple[str, str]


def widget(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "tour.example.com/v1",
        "kind": "Widget",
        "metadata": {"name": name},
        "spec": {"size": 3, **spec},
    }


WIDGETS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.tour.example.com"},
    "spec": {
        "group": "tour.example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wg"], "categories": ["things"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "description": "What the widget should be.",
                                "required": ["size"],
                                "properties": {
                                    "size": {"type": "integer", "minimum": 1, "description": "How large."},
                                    "colour": {"type": "string", "default": "blue", "enum": ["blue", "red"]},
                                    "replicas": {"type": "integer"},
                                },
                            },
                            "status": {
                                "type": "object",
                                "properties": {
                                    "replicas": {"type": "integer"},
                                    "phase": {"type": "string"},
                                },
                            },
                        },
                    }
                },
                "subresources": {
                    "status": {},
                    "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
                },
                "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
            }
        ],
    },
}


def without_space(obj: dict[str, Any], **labels: str) -> dict[str, Any]:
    metadata = {k: v for k, v in obj["metadata"].items() if k != "namespace"}
    return {**obj, "metadata": {**metadata, "labels": labels} if labels else metadata}


def policies(placement: dict[str, Any]) -> dict[str, Any]:
    obj = without_space(policy("pp", "", None))
    obj["spec"]["resourceSelectors"][0]["namespace"] = (
        "$SPACE"  # what is not defaulted does not change in the next apply
    )
    return {**obj, "spec": {**obj["spec"], "placement": placement}}


FILES: dict[str, Any] = {
    "web.yaml": without_space(deployment("web", "")),
    "web3.yaml": without_space(deployment("web", "", replicas=3)),
    "web28.yaml": without_space(deployment("web", "", image="nginx:1.28")),
    "policy.yaml": policies({"clusterAffinity": {"clusterNames": ["member1"]}}),
    "policy-2.yaml": policies({"clusterAffinity": {"clusterNames": ["member2"]}}),
    "one.yaml": without_space(configmap("one", "", a="1", b="2"), set="x"),
    "one-less.yaml": without_space(configmap("one", "", a="1"), set="x"),
    "one-other.yaml": without_space(configmap("one", "", a="other", b="2"), set="x"),
    "two.yaml": without_space(configmap("two", ""), set="x"),
    "widget.yaml": widget("w"),
    "widget-red.yaml": widget("w", colour="red"),
    "widget-bad.yaml": widget("bad", size=0),
    "widget-typo.yaml": widget("typo", colours="red"),
    "role.yaml": {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "reader", "namespace": "$SPACE"},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}],
    },
    "kustomization.yaml": {
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
        "namePrefix": "k-", "resources": ["web.yaml", "two.yaml"], "configMapGenerator": [{"name": "gen", "literals": ["a=b"]}],
    },
}  # fmt: skip

CRUD: dict[str, tuple[str, str, str]] = {
    # what: its file, one that changes it, and what the change looks like in `diff`
    "configmap/one": ("one.yaml", "one-other.yaml", r"\+  a: other"),
    "deployment.apps/web": ("web.yaml", "web3.yaml", r"\+  replicas: 3"),
    "widget.tour.example.com/w": ("widget.yaml", "widget-red.yaml", r"\+  colour: red"),
    "propagationpolicy.policy.karmada.io/pp": ("policy.yaml", "policy-2.yaml", r"\+      - member2"),
}


def crud(name: str) -> list[Step]:
    """What can be done to any object."""
    file, changed, diff = CRUD[name]
    kind, _, short = name.partition("/")
    return [
        (f"create -f {file} --dry-run=client -o name", f"^{name}$"),
        (f"create -f {file} --dry-run=server", f"{name} created .server dry run"),
        (f"!get {name}", "NotFound"),
        (f"create -f {file}", f"{name} created"),
        (f"!create -f {file}", "AlreadyExists"),
        (f"apply -f {file}", "missing the kubectl.kubernetes.io/last-applied-configuration annotation"),
        (f"apply -f {file}", "unchanged"),
        (f"apply view-last-applied -f {file}", f"name: {short}"),
        (f"apply set-last-applied -f {file} --create-annotation", "unchanged|configured"),
        (f"!diff -f {changed}", diff),
        (f"!diff --server-side --force-conflicts -f {changed}", diff),
        (f"apply -f {changed} --dry-run=server", "configured .server dry run"),
        (f"apply -f {changed}", "configured"),
        (f"diff -f {changed}", "^$"),
        (f"replace -f {file}", "replaced"),
        (f"replace --force -f {file} --timeout=20s", f"(?s){short}\" deleted.*replaced"),
        (f"apply --server-side -f {file}", "serverside-applied"),
        (f"apply --server-side -f {file} --field-manager=other", "serverside-applied"),
        (f"get {name} -o yaml --show-managed-fields", r"(?s)manager: kubectl.*manager: other"),
        (f"label {name} tier=front", "labeled"),
        (f"!label {name} tier=back", "already has a value"),
        (f"label {name} tier=back --overwrite", "labeled"),
        (f"label {name} tier=back", "not labeled"),
        (f"get {kind} -l tier=back -L tier", "(?s)TIER.*back"),
        (f"get {kind} -l 'tier in (front,middle)'", "No resources found"),
        (f"get {kind} -l 'tier,tier notin (front),!none'", short),
        (f"label {name} tier-", "unlabeled"),
        (f"annotate {name} note=hello", "annotated"),
        (f"annotate {name} --overwrite note=again", "annotated"),
        (f"patch {name} --type=merge -p '{{\"metadata\":{{\"labels\":{{\"m\":\"1\"}}}}}}'", "patched$"),
        (f"patch {name} --type=merge -p '{{\"metadata\":{{\"labels\":{{\"m\":\"1\"}}}}}}'", "patched .no change"),
        (f"patch {name} --type=json -p '[{{\"op\":\"replace\",\"path\":\"/metadata/labels/m\",\"value\":\"2\"}}]'", "patched"),
        (f"!patch {name} --type=json -p '[{{\"op\":\"test\",\"path\":\"/metadata/labels/m\",\"value\":\"9\"}}]'", "(?i)test"),
        (f"patch {name} --type=merge --dry-run=server -p '{{\"metadata\":{{\"labels\":{{\"m\":\"3\"}}}}}}' -o jsonpath={{.metadata.labels.m}}", "^3$"),
        (f"get {name} -o jsonpath={{.metadata.labels.m}}", "^2$"),
        (f"KUBE_EDITOR='sed -i s/again/edited/' edit {name}", "edited"),
        (f"KUBE_EDITOR=true edit {name}", "no changes made"),
        (f"get {name} -o 'jsonpath={{.metadata.annotations.note}}'", "^edited$"),
        (f"get {name} -o json", '"kind"'),
        (f"get {name} -o wide", "NAME"),
        (f"get {kind} --show-labels", "m=2"),
        (f"get {kind} -o custom-columns=N:.metadata.name,M:.metadata.labels.m", rf"{short} +2"),
        (f"get {kind} --field-selector metadata.name={short} -o name", f"^{name}$"),
        (f"get {kind} --field-selector metadata.name!={short}", f"(?s)^((?!{short} ).)*$"),
        (f"!get {kind} --field-selector spec.nothing=x", "field label not supported|not a known field selector"),
        (f"get {kind} -A --chunk-size=2 --sort-by=.metadata.creationTimestamp", short),
        (f"get {kind} --no-headers --ignore-not-found {short}", short),
        (f"get {kind} --ignore-not-found none", "^$"),
        (f"describe {name}", f"(?s){short}.*edited"),
        (f"events --for {name}", ""),
        (f"wait --for=jsonpath={{.metadata.labels.m}}=2 {name} --timeout=5s", "condition met"),
        (f"wait --for=create {name} --timeout=5s", "condition met"),
        (f"!wait --for=condition=Never {name} --timeout=1s", "timed out"),
        (f"delete {name} --dry-run=server", "deleted .server dry run"),
        (f"delete {kind} --field-selector metadata.name=none", "No resources found"),
        (f"delete {kind} -l m=2 --timeout=20s", "deleted"),
        (f"wait --for=delete {name} --timeout=5s", ""),
        (f"!delete {name}", "NotFound"),
        (f"delete {name} --ignore-not-found", "^$"),
    ]  # fmt: skip


SCENARIOS: dict[str, list[Step]] = {
    **{"crud-" + name.partition(".")[0].partition("/")[0]: crud(name) for name in CRUD},
    "apply-conflicts": [
        ("apply --server-side --field-manager=first -f web.yaml", "serverside-applied"),
        ("!apply --server-side --field-manager=second -f web3.yaml", r"conflict with \"first\": .spec.replicas"),
        ("apply --server-side --field-manager=second --force-conflicts -f web3.yaml", "serverside-applied"),
        ("!apply --server-side --field-manager=first -f web.yaml", r"conflict with \"second\": .spec.replicas"),
        ("scale deployment web --replicas=5", "scaled"),
        ("!apply --server-side --field-manager=second -f web3.yaml", r"conflict with \"kubectl\" with subresource \"scale\" using apps/v1: .spec.replicas"),
    ],
    "apply-migrates": [
        ("apply -f one.yaml", "created"),
        ("apply --server-side -f one.yaml", "serverside-applied"),
        ("get cm one -o yaml --show-managed-fields", "(?s)^((?!kubectl-client-side-apply).)*$"),
        ("apply --server-side -f one-less.yaml", "serverside-applied"),
        ("get cm one -o jsonpath={.data}", r'^\{"a":"1"\}$'),
        ("apply -f one-other.yaml", "configured"),
        ("get cm one -o jsonpath={.data}", r'^\{"a":"other","b":"2"\}$'),
    ],
    "apply-prunes": [
        ("apply -f one.yaml -f two.yaml", "(?s)one created.*two created"),
        ("apply --prune -l set=x --prune-allowlist=core/v1/ConfigMap -f two.yaml", "(?s)two unchanged.*one pruned"),
        ("!get cm one", "NotFound"),
    ],
    "apply-set": [
        ("KUBECTL_APPLYSET=true apply --server-side --prune --applyset=secrets/set -f one.yaml -f two.yaml", "(?s)one serverside-applied.*two serverside-applied"),
        ("KUBECTL_APPLYSET=true apply --server-side --prune --applyset=secrets/set -f two.yaml", "(?s)two serverside-applied.*one pruned"),
        ("!get cm one", "NotFound"),
        ("get secret set -o yaml", "applyset.kubernetes.io/tooling: kubectl"),
    ],
    "apply-kustomization": [
        ("kustomize .", "k-web"),
        ("apply -k .", "(?s)configmap/k-gen-.* created.*deployment.apps/k-web created"),
        ("apply -k . --server-side", "serverside-applied"),
        ("diff -k . --server-side", "^$"),
        ("delete -k . --timeout=20s", "k-web.* deleted"),
    ],
    "custom-resources": [
        ("!create -f widget-bad.yaml", "spec.size: Invalid value: 0: .*should be greater than or equal to 1"),
        ("!create -f widget-typo.yaml", r'strict decoding error: unknown field \"spec.colours\"'),
        ("create -f widget-typo.yaml --validate=warn", r"Warning: unknown field \"spec.colours\""),
        ("get wg typo -o jsonpath={.spec}", r'^\{"colour":"blue","size":3\}$'),
        ("create -f widget.yaml", "created"),
        ("get wg w", r"(?s)NAME +SIZE\nw +3"),
        ("get things", "w +3"),
        ("get wg w -o jsonpath={.spec.colour}", "^blue$"),
        ("scale wg w --replicas=4", "scaled"),
        ("patch wg w --subresource=scale --type=merge -p '{\"spec\":{\"replicas\":5}}'", "patched"),
        ("patch wg w --subresource=status --type=merge -p '{\"status\":{\"phase\":\"Done\",\"replicas\":2}}'", "patched"),
        ("get wg w --subresource=scale -o 'jsonpath={.spec.replicas} {.status.replicas}'", "^5 2$"),
        ("get wg w --subresource=status -o 'jsonpath={.status.phase}'", "^Done$"),
        ("wait --for=jsonpath={.status.phase}=Done wg/w --timeout=5s", "condition met"),
        ("!patch wg w -p '{\"spec\":{\"size\":4}}'", "(?i)strategic|unsupported"),
        ("!patch wg w --type=merge -p '{\"spec\":{\"colour\":\"green\"}}'", 'Unsupported value: "green": supported values: "blue", "red"'),
        ("explain widgets", "GROUP: +tour.example.com"),
        ("explain widgets.spec.size", "How large."),
        ("explain widgets --recursive", "colour"),
    ],
    "generators": [
        ("create configmap made --from-literal=a=b", "created"),
        ("create configmap env --from-env-file=/dev/null", "created"),
        ("create secret generic made --from-literal=a=b", "created"),
        ("create secret docker-registry reg --docker-username=u --docker-password=p --docker-email=e@x", "created"),
        ("get secret made reg -o jsonpath={.items[*].type}", "^Opaque kubernetes.io/dockerconfigjson$"),
        ("create deployment made --image=nginx --replicas=2 --port=80", "created"),
        ("expose deployment made --port=80 --target-port=8080 --name=exposed", "exposed"),
        ("get service exposed -o jsonpath={.spec.selector.app}:{.spec.ports[0].targetPort}", "^made:8080$"),
        ("create service clusterip made --tcp=80:8080", "created"),
        ("create service nodeport np --tcp=80:8080", "created"),
        ("create service externalname ext --external-name=x.example.com", "created"),
        ("create job made --image=busybox -- date", "created"),
        ("create cronjob made --image=busybox '--schedule=* * * * *' -- date", "created"),
        ("create job from --from=cronjob/made", "created"),
        ("get job from -o jsonpath={.metadata.annotations}", "manual"),
        ("create ingress made --rule=a.example.com/x=made:80", "created"),
        ("create serviceaccount made", "created"),
        ("create role made --verb=get --resource=pods", "created"),
        ("create rolebinding made --role=made --serviceaccount=default:made", "created"),
        ("create clusterrole tour --verb=get --resource=pods --dry-run=server", "created"),
        ("create clusterrolebinding tour --clusterrole=view --user=jane --dry-run=server", "created"),
        ("create quota made --hard=pods=2,count/configmaps=100", "created"),
        ("create poddisruptionbudget made --selector=a=b --min-available=50%", "created"),
        ("create priorityclass tour --value=10 --dry-run=server", "created"),
        ("create namespace tour-made --dry-run=server", "created"),
        ("run made --image=nginx --port=80 --labels=a=b", "pod/made created"),
        ("run made2 --image=nginx --expose --port=80", "(?s)service/made2 created.*pod/made2 created"),
        ("autoscale deployment made --min=1 --max=3 --cpu-percent=80", "autoscaled"),
        ("get hpa", "Deployment/made"),
        ("get all", "(?s)pod/made.*service/made.*deployment.apps/made.*job.batch/made"),
        ("describe pod,svc,deploy,job,cj,ing,sa,role,rolebinding,quota,pdb,secret", "(?s)Image: +nginx.*a.example.com"),
        ("set image deployment/made nginx=nginx:2", "image updated"),
        ("set env deployment/made A=b", "env updated"),
        ("set resources deployment/made --limits=cpu=200m,memory=64Mi", "resource requirements updated"),
        ("set serviceaccount deployment/made made", "serviceaccount updated"),
        ("set selector service made app=other", "selector updated"),
        ("set subject rolebinding made --user=jane", "subjects updated"),
        ("get deployment made -o jsonpath={.spec.template.spec.containers[0]}", '(?s)"image":"nginx:2".*"cpu":"200m"'),
        ("patch deployment made -p '{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"side\",\"image\":\"busybox\"}]}}}}'", "patched"),
        ("get deployment made -o jsonpath={.spec.template.spec.containers[*].name}", "^side nginx$"),
        ("patch deployment made --subresource=status --type=merge -p '{\"status\":{\"replicas\":1}}' --dry-run=server", "patched"),
        ("patch deployment made --subresource=scale --type=merge -p '{\"spec\":{\"replicas\":3}}'", "patched"),
        ("scale deployment made --current-replicas=3 --replicas=4", "scaled"),
        ("!scale deployment made --current-replicas=3 --replicas=5", "Expected replicas to be 3, was 4"),
        ("delete pod made --grace-period=0 --force", "force deleted"),
        ("delete pod made2 --now --timeout=10s", "deleted"),
        ("delete deployment,job --all --cascade=foreground --timeout=20s", "(?s)made.* deleted"),
        ("delete svc,cm,secret,cj,ing,pdb,quota --all --cascade=orphan --wait=false", "deleted"),
    ],
    "tokens": [
        ("create serviceaccount robot", "created"),
        ("create token robot --duration=1h --audience=x", r"^[\w-]+\.[\w-]+\.[\w-]+$"),
        ("create token robot", r"^[\w-]+\.[\w-]+\.[\w-]+$"),
        ("!create token none", 'serviceaccounts "none" not found'),
        ("create role reader --verb=get,list --resource=configmaps", "created"),
        ("create rolebinding reader --role=reader --serviceaccount=$SPACE:robot", "created"),
        ("auth can-i list configmaps --as=system:serviceaccount:$SPACE:robot", "^yes$"),
        ("!auth can-i delete configmaps --as=system:serviceaccount:$SPACE:robot", "^no$"),
        ("get configmaps --as=system:serviceaccount:$SPACE:robot", "NAME|No resources"),
        ("!get secrets --as=system:serviceaccount:$SPACE:robot", r'Forbidden.*cannot list resource "secrets" in API group "" in the namespace'),
        ("auth can-i --list --as=system:serviceaccount:$SPACE:robot", r"configmaps +\[\] +\[\] +\[get list\]"),
        ("auth can-i '*' '*'", "^yes$"),
        ("auth whoami", "Username"),
        ("auth whoami --as=jane --as-group=devs -o jsonpath={.status.userInfo.groups}", "devs"),
        ("auth reconcile -f role.yaml", "reconciled"),
    ],
    "discovery": [
        ("api-resources --cached=false", r"(?s)configmaps +cm +v1 +true +ConfigMap.*deployments +deploy +apps/v1.*propagationpolicies +pp"),
        ("api-resources --namespaced=false --verbs=list,create -o name", "(?s)namespaces.*clusters.cluster.karmada.io"),
        ("api-resources --categories=all -o wide", "deployments.*create,delete,deletecollection,get,list,patch,update,watch"),
        ("api-resources --api-group=tour.example.com", "widgets +wg"),
        ("api-versions", "(?s)apps/v1.*policy.karmada.io/v1alpha1.*\nv1\n"),
        ("version -o json", '"gitVersion": "v1'),
        ("cluster-info", "control plane.* is running at"),
        ("explain deployment.spec.replicas", "FIELD: replicas <integer>"),
        ("explain deployment --recursive", "imagePullPolicy"),
        ("explain cronjobs --api-version=batch/v1", "VERSION: +v1"),
        ("explain pp.spec.placement.clusterAffinity", "clusterNames"),
        ("explain rb --api-version=work.karmada.io/v1alpha2", "ResourceBinding"),
        ("!explain nothing", "(?i)couldn't find|doesn't have"),
        ("!get nothing", "the server doesn't have a resource type"),
        ("get --raw /readyz", "^ok$"),
        ("get --raw /livez?verbose", "ok"),
        ("get --raw /version", "gitVersion"),
        ("get --raw /api/v1/namespaces/$SPACE/configmaps?limit=1", "ConfigMapList"),
        ("get --raw /metrics", "# TYPE"),
        ("!get --raw /nothing", "NotFound|could not find"),
        ("get namespaces,nodes", "default"),
        ("get clusters -o wide", "member1"),
        ("describe cluster member1", "member1"),
    ],
    "owners": [
        ("create cm owner", "created"),
        ("create cm held", "created"),
        ("patch cm held --type=merge -p '{\"metadata\":{\"finalizers\":[\"example.com/hold\"]}}'", "patched"),
        ("delete cm held --wait=false", "deleted"),
        ("get cm held -o jsonpath={.metadata.deletionTimestamp}", "20"),
        ("!wait --for=delete cm/held --timeout=1s", "timed out"),
        ("patch cm held --type=json -p '[{\"op\":\"remove\",\"path\":\"/metadata/finalizers\"}]'", "patched"),
        ("wait --for=delete cm/held --timeout=5s", ""),
        ("delete cm owner --cascade=background", "deleted"),
    ],
}  # fmt: skip


class Tour:
    """kubectl in one namespace, in the folder of the manifests."""

    def __init__(self, fleet: Fleet, folder: Path, space: str) -> None:
        self.fleet, self.folder, self.space = fleet, folder, space
        self.environment = {
            **os.environ,
            "KUBECONFIG": str(fleet.hub_data / "admin.kubeconfig"),
            "KUBECACHEDIR": str(fleet.folder / "kubectl-tour"),
        }

    def __call__(self, typed: str, says: str = "") -> str:
        """What kubectl says; AssertionError when that does not match `says`, or when it fails (`!`: when it does not)."""
        fails = typed.startswith("!")
        words = shlex.split(typed.removeprefix("!").replace("$SPACE", self.space))
        environment = dict(self.environment)
        while re.match(r"[A-Z_]+=", words[0]):
            name, _, value = words.pop(0).partition("=")
            environment[name] = value
        done = subprocess.run(
            ["kubectl", words[0], "-n", self.space, *words[1:]] if words[0] != "kustomize" else ["kubectl", *words],
            cwd=self.folder, env=environment, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        shown = (done.stdout + done.stderr).strip()
        assert (done.returncode != 0) == fails, f"kubectl {typed}: exited {done.returncode}: {shown}"
        assert re.search(says, shown), f"kubectl {typed}: no {says!r} in: {shown}"
        return shown

    def watch(self, typed: str) -> subprocess.Popen[str]:
        words = shlex.split(typed)
        return subprocess.Popen(
            ["kubectl", words[0], "-n", self.space, *words[1:]],
            env=self.environment, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
        )  # fmt: skip


@pytest.fixture
def tour(clients: Fleet, tmp_path: Path, request: pytest.FixtureRequest) -> Tour:
    name = re.sub(r"[\W_]+", "-", request.node.name.removeprefix("test_")).strip("-").lower()[:40]
    space = f"tour-{name}"
    for file, obj in FILES.items():
        (tmp_path / file).write_text(yaml.safe_dump(obj).replace("$SPACE", space))
    clients.apply(namespace(space), WIDGETS)
    clients.kubectl("wait", "--for=condition=Established", "crd/widgets.tour.example.com", "--timeout=20s")
    return Tour(clients, tmp_path, space)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(tour: Tour, scenario: str) -> None:
    """All steps run; the failure names each step that was not answered as it should be."""
    wrong = []
    for typed, says in SCENARIOS[scenario]:
        try:
            tour(typed, says)
        except AssertionError as error:
            wrong.append(str(error).partition("\nassert ")[0])
    assert not wrong, "\n\n".join(wrong)


def test_rollouts_of_a_propagated_deployment(tour: Tour) -> None:
    """`rollout` reads the template's status, which sums up its members, and changes its pod template."""
    tour("apply -f policy.yaml -f web.yaml", "web created")
    tour("rollout status deployment/web --timeout=30s", "successfully rolled out")
    tour("rollout restart deployment/web", "restarted")
    tour("rollout status deployment/web --timeout=30s", "successfully rolled out")
    tour("rollout pause deployment/web", "paused")
    tour("!rollout restart deployment/web", "can't restart paused deployment")
    tour("rollout resume deployment/web", "resumed")
    tour("wait --for=jsonpath={.status.availableReplicas}=2 deployment/web --timeout=30s", "condition met")
    tour("rollout history deployment/web", "deployment.apps/web")
    tour("!rollout undo deployment/web", "no rollout history found")
    tour("events --for deployment/web", "ScheduleBindingSucceed|SyncWorkSucceed|ApplyPolicySucceed")
    tour("describe deployment web", "(?s)Replicas: +2 desired.*Events:")
    tour("delete deployment web --cascade=foreground --timeout=30s", "deleted")


def test_dependents(tour: Tour) -> None:
    """What `--cascade` says about objects whose owner goes."""
    cases = (("background", "NotFound"), ("foreground", "NotFound"), ("orphan", ""))
    for cascade, says in cases:
        owner = json.loads(tour(f"create cm {cascade} -o json"))
        reference = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": cascade,
            "uid": owner["metadata"]["uid"],
        }
        if cascade == "foreground":
            reference["blockOwnerDeletion"] = True
        patch = json.dumps({"metadata": {"ownerReferences": [reference]}})
        tour(f"create cm {cascade}-child", "created")
        tour(f"patch cm {cascade}-child --type=merge -p '{patch}'", "patched")
        tour(f"delete cm {cascade} --cascade={cascade} --timeout=20s", "deleted")
        if says:
            tour(f"wait --for=delete cm/{cascade}-child --timeout=20s")
        else:
            kept = json.loads(tour(f"get cm {cascade}-child -o json"))
            assert not kept["metadata"].get("ownerReferences")


def test_pages(tour: Tour) -> None:
    for i in range(5):
        tour(f"create cm page-{i}", "created")
    shown = tour("get cm --chunk-size=2 -o name -v=6")
    assert re.findall(r"^configmap/page-(\d)$", shown, re.M) == list("01234")
    assert len(re.findall(r"GET .*limit=2", shown)) >= 3 and "continue=" in shown


def test_watching(tour: Tour) -> None:
    """`get -w` shows a list and then changes; `--watch-only` only changes."""
    tour("create cm seen --from-literal=a=b", "created")
    both = [tour.watch("get cm -w --output-watch-events"), tour.watch("get cm --watch-only -o name")]
    try:
        assert both[0].stdout and both[1].stdout
        while "seen" not in both[0].stdout.readline():
            pass
        eventually(lambda: tour.fleet.hub.request("GET", f"/api/v1/namespaces/{tour.space}/configmaps"))
        tour("label cm seen x=y", "labeled")
        tour("delete cm seen", "deleted")
        lines = [both[0].stdout.readline().split()[:2] for _ in range(2)]
        assert lines == [["MODIFIED", "seen"], ["DELETED", "seen"]]
        assert both[1].stdout.readline() == "configmap/seen\n"
    finally:
        for process in both:
            process.kill()
            process.wait()
            assert process.stdout
            process.stdout.close()


def test_helm_like_secret_field_selectors(tour: Tour) -> None:
    tour("create secret generic s --type=helm.sh/release.v1 --from-literal=a=b", "created")
    tour("get secret --field-selector type=helm.sh/release.v1 -o name", "^secret/s$")
    tour("get secret --field-selector type!=helm.sh/release.v1", "No resources")
    tour("run p --image=nginx", "created")
    tour("get pod --field-selector status.phase=Pending -o name", "^pod/p$")
    tour("get pod --field-selector status.phase=Running", "No resources")
