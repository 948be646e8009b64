"""An agent as its Deployment would run it, but as a process: the flags that `towline join` printed, its ServiceAccount's token, the join token
in a file, and the namespace that a pod knows to be in. `python -m tests.e2e.pod …` is `towline …` in such a pod.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.harness import Fleet, Process, eventually
from towline.agent import app
from towline.cli.main import main

ROOT = Path(__file__).parent.parent.parent
HOME = "towline-system"
POD = [sys.executable, "-m", "tests.e2e.pod"]


def join_pod(fleet: Fleet, member: str, *flags: str) -> Process:
    """A real member that joins as the README says; answers its agent when the cluster is Ready."""
    fleet.real_members = True
    fleet.start_member(member)
    fleet.connect_member(member)
    admin = str(fleet.hub_data / "admin.kubeconfig")
    printed = fleet.towline("join", member, "--kubeconfig", admin, *flags).stdout
    agent = start_pod(fleet, member, list(yaml.safe_load_all(printed)))
    eventually(lambda: fleet.cluster_ready(member), 30)
    return agent


def start_pod(fleet: Fleet, member: str, printed: list[dict[str, Any]]) -> Process:
    """Installs what was `printed` for a real member, and runs its container."""
    deployment = next(obj for obj in printed if obj["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    text = yaml.safe_dump_all(obj for obj in printed if obj["kind"] != "Deployment")
    fleet.kubectl("apply", "-f", "-", stdin=text, member=member)
    token = fleet.kubectl("create", "token", "towline-agent", "-n", HOME, member=member).stdout.strip()
    config = yaml.safe_load((fleet.folder / member / "kubeconfig").read_text())
    config["users"] = [{"name": "admin", "user": {"token": token}}]
    (fleet.folder / f"{member}-pod.kubeconfig").write_text(yaml.safe_dump(config))
    secret = next(obj for obj in printed if obj["kind"] == "Secret")
    flags = [arg for arg in container["args"] if arg.startswith("--allow")]
    return fleet.join_with(
        member, secret["stringData"]["token"], fleet.folder / f"{member}-pod.kubeconfig", *flags,
        program=POD, PYTHONPATH=str(ROOT), POD_NAMESPACE=HOME,
    )  # fmt: skip


if __name__ == "__main__":
    app._pods_namespace = lambda config: os.environ["POD_NAMESPACE"]
    main()
