"""What a member is asked to install."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from towline.cli.manifests import agent_manifests, render
from towline.kube import builtin, karmada
from towline.kube.kinds import KindTable
from towline.kube.schemas import unknown_fields, validate

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def test_the_copy_under_deploy_is_what_join_prints() -> None:
    kept = (DEPLOY / "agent" / "agent.yaml").read_text()
    body = "".join(line for line in kept.splitlines(keepends=True) if not line.startswith("#"))
    assert body == render(agent_manifests("JOIN_TOKEN"))


@pytest.mark.parametrize("obj", agent_manifests("t"), ids=lambda o: str(o["kind"]))
def test_kubernetes_would_take_it(obj: dict[str, object]) -> None:
    kind = KindTable.of(builtin.kinds()).of_object(obj)
    assert kind is not None
    assert validate(kind.schema, obj) == []
    assert unknown_fields(kind.schema, obj) == []


def test_the_agent_runs_without_privileges() -> None:
    deployment = agent_manifests("t")[-1]
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {m["mountPath"] for m in container["volumeMounts"]} == {
        "/var/lib/towline",
        "/tmp",
        "/var/run/towline",
    }
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_the_examples_are_valid() -> None:
    kinds = KindTable.of([*builtin.kinds(), *karmada.kinds()])
    seen = set()
    for file in sorted(EXAMPLES.rglob("*.yaml")):
        for obj in yaml.safe_load_all(file.read_text()):
            seen.add(obj["kind"])
            kind = kinds.of_object(obj)
            if kind is not None:
                assert validate(kind.schema, obj) == [], file
                assert unknown_fields(kind.schema, obj) == [], file
    assert seen >= {
        "PropagationPolicy",
        "ClusterPropagationPolicy",
        "OverridePolicy",
        "ClusterOverridePolicy",
    }
    assert seen >= {"Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "WorkloadRebalancer"}


@pytest.mark.parametrize("file", sorted((EXAMPLES / "policies").rglob("*.yaml")), ids=lambda f: f.stem)
def test_each_example_says_what_to_see(file: Path) -> None:
    first, second = file.read_text().splitlines()[:2]
    assert first.startswith("# ") and first.endswith(".") and not second.startswith("#")
