"""The JavaScript client, `@kubernetes/client-node`: its informer and server-side apply, while the hub is killed and comes back.

Its packages are pinned by node/package-lock.json and installed once, beside the Python ones.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import Fleet, eventually, running_fleet
from tests.e2e.objects import configmap, namespace

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not (shutil.which("node") and shutil.which("npm")), reason="node and npm are not installed"
    ),
]

SOURCES = Path(__file__).with_name("node")
SPACE = "node"
CONFIGMAPS = f"/api/v1/namespaces/{SPACE}/configmaps"


@pytest.fixture(scope="session")
def program() -> Path:
    """client.mjs beside its installed packages, in a folder of this lock file's own."""
    lock = (SOURCES / "package-lock.json").read_bytes()
    folder = Path(sys.prefix) / "node" / hashlib.sha256(lock).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("package.json", "package-lock.json", "client.mjs"):
        shutil.copy(SOURCES / file, folder)
    if not (folder / "installed").exists():
        install = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        done = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, f"npm ci failed:\n{done.stderr}"
        (folder / "installed").touch()
    return folder / "client.mjs"


class Node:
    """client.mjs: a command line in, a line of JSON out."""

    def __init__(self, program: Path, fleet: Fleet) -> None:
        self.process = subprocess.Popen(
            ["node", str(program), SPACE],
            env={**os.environ, "KUBECONFIG": str(fleet.hub_data / "admin.kubeconfig")},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ask(self, command: str) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def end(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=10)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with running_fleet(tmp_path, members=(), hub_flags=("--window-events", "10")) as fleet:
        fleet.apply(namespace(SPACE))
        yield fleet


def test_informer_and_apply(program: Path, fleet: Fleet) -> None:
    def stored() -> dict[str, str]:
        return {o["metadata"]["name"]: o["metadata"]["resourceVersion"] for o in fleet.hub.items(CONFIGMAPS)}

    node = Node(program, fleet)
    try:
        for i in range(5):
            fleet.hub.request("POST", CONFIGMAPS, configmap(f"c-{i}", SPACE))
        applied = node.ask("apply c-0 first")
        assert applied["data"] == {"k": "v", "value": "first"} and ["node", "Apply"] in applied["managers"]
        assert node.ask("apply mine one")["data"] == {"value": "one"}
        fleet.hub.delete(f"{CONFIGMAPS}/c-1")
        eventually(lambda: node.ask("dump")["held"] == stored(), what="it follows")
        fleet.processes["hub"].kill()
        fleet.processes["hub"].start()
        fleet.await_hub()
        for i in range(5, 25):
            fleet.hub.request("POST", CONFIGMAPS, configmap(f"c-{i}", SPACE))
        fleet.hub.delete(f"{CONFIGMAPS}/c-2")
        eventually(lambda: node.ask("dump")["held"] == stored(), what="it follows again")
        assert node.ask("apply mine two")["data"] == {"value": "two"}
        assert node.ask("dump")["doubled"] == []
    finally:
        node.end()
