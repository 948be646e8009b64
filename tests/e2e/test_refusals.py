"""Bad input and bad identities, with real processes: refused with a reason, audited, and nothing changes."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.harness import TOWLINE, Api, ApiError, Fleet, Process, eventually, running_fleet
from tests.e2e.objects import APPS, configmap, deployment, policy
from towline.certs.authority import load_or_create

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(tmp_path_factory.mktemp("hub"), members=()) as fleet:
        yield fleet


def refused(
    fleet: Fleet, method: str, path: str, body: Any, content_type: str = "application/json"
) -> ApiError:
    with pytest.raises(ApiError) as caught:
        fleet.hub.request(method, path, body, content_type)
    assert caught.value.body["kind"] == "Status"
    return caught.value


DEPLOYMENTS = f"{APPS}/default/deployments"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
POLICY_PATH = "/apis/policy.karmada.io/v1alpha1/namespaces/default/propagationpolicies"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason", "says"),
    [
        pytest.param("POST", DEPLOYMENTS, b'{"kind":', 400, "BadRequest", "json", id="malformed JSON"),
        pytest.param("POST", DEPLOYMENTS, b"[1]", 400, "BadRequest", "", id="not an object"),
        pytest.param(
            "POST", DEPLOYMENTS, configmap("a", "default"), 400, "BadRequest", "", id="another kind"
        ),
        pytest.param(
            "POST",
            CONFIGMAPS,
            configmap("a" * 260, "default"),
            422,
            "Invalid",
            "metadata.name",
            id="long name",
        ),
        pytest.param(
            "POST",
            CONFIGMAPS,
            configmap("Not_A_Name", "default"),
            422,
            "Invalid",
            "metadata.name",
            id="bad name",
        ),
        pytest.param(
            "POST", CONFIGMAPS, configmap("a", "other"), 400, "BadRequest", "namespace", id="other namespace"
        ),
        pytest.param(
            "POST",
            CONFIGMAPS,
            configmap("big", "default", x="x" * 3_300_000),
            413,
            "RequestEntityTooLarge",
            "",
            id="over-large",
        ),
        pytest.param("GET", "/apis/nope.example.com/v1/things", None, 404, "NotFound", "", id="unknown kind"),
        pytest.param("GET", f"{DEPLOYMENTS}/none", None, 404, "NotFound", "none", id="unknown name"),
    ],
)
def test_bad_requests(
    hub: Fleet, method: str, path: str, body: Any, status: int, reason: str, says: str
) -> None:
    error = refused(hub, method, path, body)
    assert (error.status, error.body["reason"]) == (status, reason)
    assert says.lower() in json.dumps(error.body).lower()


def test_wrong_types_name_the_field(hub: Fleet) -> None:
    wrong = deployment("web", "default")
    wrong["spec"]["replicas"] = "three"
    error = refused(hub, "POST", DEPLOYMENTS, wrong)
    assert error.status in (400, 422) and "replicas" in error.body["message"]


@pytest.mark.parametrize(("mode", "accepted"), [("Strict", False), ("Warn", True), ("Ignore", True)])
def test_unknown_fields(hub: Fleet, mode: str, accepted: bool) -> None:
    odd = deployment(f"odd-{mode.lower()}", "default")
    odd["spec"]["replica"] = 3
    done = hub.kubectl(
        "create", f"--validate={mode.lower()}", "-f", "-", stdin=yaml.safe_dump(odd), check=False
    )
    assert (done.returncode == 0) is accepted
    assert ("spec.replica" in done.stderr) is (mode != "Ignore")
    if accepted:
        assert "replica" not in (hub.hub.get(f"{DEPLOYMENTS}/odd-{mode.lower()}") or {})["spec"]


def test_wrong_resource_version(hub: Fleet) -> None:
    hub.apply(configmap("rv", "default", a="1"))
    stale = hub.hub.get(f"{CONFIGMAPS}/rv")
    hub.apply(configmap("rv", "default", a="2"))
    error = refused(hub, "PUT", f"{CONFIGMAPS}/rv", stale)
    assert (error.status, error.body["reason"]) == (409, "Conflict")


def test_a_bad_policy_names_the_field(hub: Fleet) -> None:
    bad = policy("bad", "default", ["member1"])
    bad["spec"]["resourceSelectors"] = []
    assert "resourceSelectors" in refused(hub, "POST", POLICY_PATH, bad).body["message"]
    both = policy("bad", "default", ["member1"])
    both["spec"]["placement"]["clusterAffinities"] = [{"affinityName": "a", "clusterNames": ["member1"]}]
    error = refused(hub, "POST", POLICY_PATH, both)
    assert error.status == 422 and "placement" in error.body["message"]


def test_strangers_are_refused(hub: Fleet, tmp_path: Path) -> None:
    """No certificate: only health. A certificate of another authority: no connection, or Unauthorized."""
    done = hub.kubectl("get", "pods", "--client-certificate=", check=False)
    assert done.returncode == 0, "the administrator gets in"
    config = yaml.safe_load((hub.hub_data / "admin.kubeconfig").read_text())
    config["users"][0]["user"] = {}
    nobody = tmp_path / "nobody.kubeconfig"
    nobody.write_text(yaml.safe_dump(config))
    done = hub.towline("join", "x", "--kubeconfig", str(nobody), "--token-only", check=False)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert nobody.exists() and (hub.hub_data / "admin.kubeconfig").stat().st_mode & 0o777 == 0o600


def audit(fleet: Fleet) -> str:
    return "\n".join(p.read_text() for p in sorted(fleet.hub_data.glob("audit*.log")))


def agent(fleet: Fleet, name: str, token: str, folder: Path, *flags: str) -> Process:
    command = [
        *TOWLINE, "agent", "--join-token", token, "--kubeconfig", str(fleet.folder / "member1" / "kubeconfig"),
        "--data-dir", str(folder / name), *flags,
    ]  # fmt: skip
    return Process(name, command, folder / f"{name}.log").start()


def tampered(token: str, **changes: str) -> str:
    head, _, body = token.partition(".")
    fields = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    fields.update(changes)
    return head + "." + base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")


def test_join_tokens_are_single_use_and_bound_to_their_name(tmp_path: Path) -> None:
    with running_fleet(tmp_path / "fleet", members=("member1",)) as fleet:
        admin = str(fleet.hub_data / "admin.kubeconfig")
        token = fleet.towline("join", "member9", "--kubeconfig", admin, "--token-only").stdout.strip()
        attempts = {
            "garbage": "not-a-token",
            "wrong-secret": tampered(token, secret="wrong"),
            "other-name": tampered(token, name="member8"),
            "other-hub": tampered(token, ca="0" * 64),
            "same-cluster": token,  # the right token, but this member is joined as member1 already
        }
        before = fleet.hub.items("/apis/cluster.karmada.io/v1alpha1/clusters")
        for name, bad in attempts.items():
            process = agent(fleet, name, bad, tmp_path)
            try:
                eventually(lambda process=process: not process.alive(), 20, f"{name} gives up")  # type: ignore[misc]
            finally:
                process.kill()
            assert process.running is not None and process.running.returncode != 0
            assert "Traceback" not in process.tail(), process.tail()
        after = fleet.hub.items("/apis/cluster.karmada.io/v1alpha1/clusters")
        assert [c["metadata"]["uid"] for c in before] == [c["metadata"]["uid"] for c in after]
        assert audit(fleet).count("enroll") >= 3
        # member1's token was used when the fleet started; a second agent with it is refused
        used = (fleet.folder / "member1.token").read_text()
        process = agent(fleet, "reuse", used, tmp_path)
        eventually(lambda: not process.alive(), 20, "a used token is refused")
        assert "used" in process.tail()


def test_a_certificate_of_another_authority_gets_nothing(hub: Fleet, tmp_path: Path) -> None:
    stranger = load_or_create(tmp_path / "pki", time.time()).issue_admin(time.time())
    config = yaml.safe_load((hub.hub_data / "admin.kubeconfig").read_text())
    for field, pem in (("certificate", stranger.certificate_pem), ("key", stranger.key_pem)):
        config["users"][0]["user"][f"client-{field}-data"] = base64.b64encode(pem).decode()
    mixed = tmp_path / "mixed.kubeconfig"
    mixed.write_text(yaml.safe_dump(config))
    with contextlib.closing(Api(mixed)) as api, pytest.raises((ApiError, OSError)):
        api.request("GET", "/api/v1/namespaces")
