"""A ServiceAccount's token in a real kubectl's hands: asked for, used as RBAC allows, alive after the hub's restart, and ended."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.e2e.harness import Fleet, eventually, running_fleet

pytestmark = pytest.mark.e2e

LEGACY = {
    "apiVersion": "v1",
    "kind": "Secret",
    "type": "kubernetes.io/service-account-token",
    "metadata": {
        "name": "bot-token",
        "namespace": "shop",
        "annotations": {"kubernetes.io/service-account.name": "bot"},
    },
}

As = Callable[..., "subprocess.CompletedProcess[str]"]


def with_token(fleet: Fleet, folder: Path, token: str) -> As:
    """kubectl with nothing but `token`."""
    config = yaml.safe_load((fleet.hub_data / "admin.kubeconfig").read_text())
    config["users"][0]["user"] = {"token": token}
    path = folder / f"{len(list(folder.iterdir()))}.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return lambda *args, check=True: fleet.kubectl("--kubeconfig", str(path), *args, check=check)


def test_a_token_from_kubectl(tmp_path: Path) -> None:
    folder = tmp_path / "kubeconfigs"
    folder.mkdir()
    with running_fleet(tmp_path / "fleet", members=()) as fleet:
        fleet.kubectl("create", "namespace", "shop")
        fleet.kubectl("create", "serviceaccount", "bot", "-n", "shop")
        token = fleet.kubectl("create", "token", "bot", "-n", "shop", "--duration", "2h").stdout.strip()
        bot = with_token(fleet, folder, token)
        shown = json.loads(bot("auth", "whoami", "-o", "json").stdout)["status"]["userInfo"]
        assert shown["username"] == "system:serviceaccount:shop:bot"
        assert "system:serviceaccounts:shop" in shown["groups"]

        refused = bot("get", "configmaps", "-n", "shop", check=False)
        assert refused.returncode and "cannot list resource" in refused.stderr
        fleet.kubectl(
            "create", "rolebinding", "bot", "-n", "shop", "--clusterrole", "edit", "--serviceaccount", "shop:bot"
        )  # fmt: skip
        eventually(
            lambda: bot("auth", "can-i", "create", "configmaps", "-n", "shop", check=False).returncode == 0
        )
        bot("create", "configmap", "mine", "-n", "shop")
        assert bot("get", "configmaps", "-n", "default", check=False).returncode
        assert bot("create", "token", "bot", "-n", "shop").stdout.count(".") == 2
        assert "issuer" in json.loads(bot("get", "--raw", "/.well-known/openid-configuration").stdout)

        fleet.apply(LEGACY)
        data = eventually(
            lambda: json.loads(fleet.kubectl("get", "secret", "bot-token", "-n", "shop", "-o", "json").stdout).get("data")
        )  # fmt: skip
        shown = fleet.hub.request("GET", "/towline/v1/ca")["ca"]
        assert base64.b64decode(data["ca.crt"]).decode() == shown
        old = with_token(fleet, folder, base64.b64decode(data["token"]).decode())
        old("get", "configmap", "mine", "-n", "shop")

        fleet.processes["hub"].kill()
        fleet.start_hub()
        bot("get", "configmap", "mine", "-n", "shop")
        old("get", "configmap", "mine", "-n", "shop")

        fleet.kubectl("delete", "serviceaccount", "bot", "-n", "shop")
        assert bot("get", "configmap", "mine", "-n", "shop", check=False).returncode
        eventually(
            lambda: fleet.kubectl("get", "secret", "bot-token", "-n", "shop", check=False).returncode,
            what="the Secret goes with its account",
        )
        assert old("get", "configmap", "mine", "-n", "shop", check=False).returncode
