"""kubectl with a token of an OpenID Connect issuer that the hub was told of."""

from __future__ import annotations

import asyncio
import subprocess
import time
from pathlib import Path

import yaml

from tests.api import oidc_issuer
from tests.e2e.harness import Fleet


async def test_kubectl_with_a_token_of_an_issuer(tmp_path: Path) -> None:
    async with oidc_issuer.running(tmp_path) as issuer:
        (tmp_path / "ca.pem").write_text(issuer.ca_pem)
        fleet = Fleet(tmp_path / "fleet", members=(), hub_flags=(
            "--oidc-issuer-url", issuer.url, "--oidc-client-id", "towline", "--oidc-groups-claim", "groups",
            "--oidc-groups-prefix", "oidc:", "--oidc-ca-file", str(tmp_path / "ca.pem"), "--oidc-required-claim", "hd=example.com",
        ))  # fmt: skip
        try:
            await asyncio.to_thread(fleet.start)
            token = issuer.token(exp=time.time() + 600, groups=["dev"], hd="example.com")
            config = yaml.safe_load((fleet.hub_data / "admin.kubeconfig").read_text())
            config["users"][0]["user"] = {"token": token}
            (tmp_path / "ann.kubeconfig").write_text(yaml.safe_dump(config))

            async def kubectl(*words: str) -> tuple[int, str]:
                command = [
                    "kubectl",
                    "--kubeconfig",
                    str(tmp_path / "ann.kubeconfig"),
                    "--cache-dir",
                    str(tmp_path / "cache"),
                    *words,
                ]
                done = await asyncio.to_thread(
                    subprocess.run, command, capture_output=True, text=True, timeout=30
                )
                return done.returncode, done.stdout + done.stderr

            code, told = await kubectl("auth", "whoami", "-o", "yaml")
            assert code == 0 and f"username: {issuer.url}#ann" in told and "- oidc:dev" in told, told
            code, told = await kubectl("get", "configmaps")
            assert code == 1 and "is forbidden" in told, told
            binding = {
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "dev"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "oidc:dev"}],
            }  # fmt: skip
            path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
            await asyncio.to_thread(fleet.hub.request, "POST", path, binding)
            code, told = await kubectl("get", "configmaps")
            assert code == 0 and "No resources found" in told, told
            code, told = await kubectl("get", "secrets")
            assert code == 1 and "secrets is forbidden" in told, told
            config["users"][0]["user"] = {"token": issuer.token(exp=time.time() + 600, groups=["dev"])}
            (tmp_path / "ann.kubeconfig").write_text(yaml.safe_dump(config))
            code, told = await kubectl("get", "configmaps")
            assert (code == 1 and "Unauthorized" in told) or "logged in" in told, told
        finally:
            await asyncio.to_thread(fleet.stop)
