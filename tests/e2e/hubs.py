"""Two hubs on one etcd, with what the tests and the bench of pairs look at."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.harness import (
    MEMBERS,
    TOWLINE,
    Api,
    ApiError,
    Fleet,
    Process,
    condition,
    eventually,
)
from tests.e2e.objects import configmap, namespace, policy
from tests.e2e.proxy import Proxy
from tests.ports import free_port

SPACE = "pair"
MAPS = f"/api/v1/namespaces/{SPACE}/configmaps"
BINDINGS = f"/apis/work.karmada.io/v1alpha2/namespaces/{SPACE}/resourcebindings"
CLUSTERS = "/apis/cluster.karmada.io/v1alpha1/clusters"
TAKEOVER_SECONDS = 15.0


class Pair:
    """A fleet whose hub is `a`, and a second hub `b` on the same etcd; member3 joined through `b`. `through_proxy`: so `b` reaches etcd."""

    def __init__(self, folder: Path, *hub_flags: str, through_proxy: bool = False) -> None:
        self.fleet = Fleet(folder, store="etcd", members=MEMBERS[:2], hub_flags=hub_flags)
        self.data = {"a": self.fleet.hub_data, "b": folder / "hub-b"}
        self.proxy: Proxy | None = None
        self._through_proxy = through_proxy
        self._apis: dict[str, Api] = {}

    def start(self) -> None:
        self.fleet.folder.mkdir(parents=True)
        self.fleet.start_member("member3")
        self.fleet.start()
        ports = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        etcd = self.fleet.etcd_url.removeprefix("http://")
        if self._through_proxy:
            host, _, port = etcd.rpartition(":")
            self.proxy = Proxy((host, int(port)))
            etcd = f"127.0.0.1:{self.proxy.port}"
        self.fleet.spawn(
            "hub-b",
            [
                *TOWLINE, "hub", "--data-dir", str(self.data["b"]), "--store", f"etcd://{etcd}", "--api-address", ports[0],
                "--gateway-address", ports[1], *self.fleet.hub_flags,
            ],
        )  # fmt: skip
        self.serves("b")
        self.fleet.connect_member("member3")
        token = self.fleet.towline(
            "join", "member3", "--kubeconfig", str(self.data["b"] / "admin.kubeconfig"), "--token-only"
        ).stdout.strip()
        self.fleet.spawn(
            "agent-member3",
            [
                *TOWLINE, "agent", "--join-token", token, "--kubeconfig", str(self.fleet.folder / "member3/kubeconfig"),
                "--data-dir", str(self.fleet.folder / "agent-member3"),
            ],
        )  # fmt: skip
        eventually(lambda: all(self.ready(name, "a") and self.ready(name, "b") for name in MEMBERS), 60)

    def stop(self) -> None:
        self.fleet.stop()
        if self.proxy is not None:
            self.proxy.close()
        for api in self._apis.values():
            api.close()

    def process(self, hub: str) -> Process:
        return self.fleet.processes["hub" if hub == "a" else "hub-b"]

    def api(self, hub: str) -> Api:
        if hub not in self._apis:
            self._apis[hub] = Api(self.data[hub] / "admin.kubeconfig")
        return self._apis[hub]

    def serves(self, hub: str) -> None:
        def ready() -> bool:
            assert self.process(hub).alive(), self.process(hub).tail()
            return bool(self.api(hub).request("GET", "/readyz", raw=True)[0] == 200)

        eventually((self.data[hub] / "admin.kubeconfig").exists, 30)
        eventually(ready, 30, f"hub {hub} is ready")

    def leads(self, hub: str) -> bool:
        return b"towline_leads 1.0" in self.api(hub).request("GET", "/metrics", raw=True)[1]

    def sessions(self, hub: str) -> int:
        text = self.api(hub).request("GET", "/metrics", raw=True)[1].decode()
        return next(
            int(float(line.split()[1])) for line in text.splitlines() if line.startswith("towline_sessions ")
        )

    def ready(self, cluster: str, hub: str) -> bool:
        return condition(self.api(hub).get(f"{CLUSTERS}/{cluster}"), "Ready") == "True"

    def held(self, member: str) -> dict[str, tuple[str, str]]:
        """The ConfigMaps that a member got from us: their uid and revision there."""
        found = self.fleet.members[member].items(f"{MAPS}?labelSelector=karmada.io/managed=true")
        return {
            o["metadata"]["name"]: (o["metadata"]["uid"], o["metadata"]["resourceVersion"]) for o in found
        }

    def bindings(self, hub: str) -> dict[str, tuple[str, str]]:
        """By template, the uid and the revision of its spec; two for one template would be an error."""
        found = {}
        for binding in self.api(hub).items(BINDINGS):
            name = binding["spec"]["resource"]["name"]
            assert name not in found, f"two bindings of {name}"
            found[name] = binding["metadata"]["uid"], str(binding["metadata"]["generation"])
        return found


@contextmanager
def running_pair(folder: Path, *flags: str, through_proxy: bool = False) -> Iterator[Pair]:
    """Two hubs and their members, which get all ConfigMaps of SPACE."""
    pair = Pair(folder, *flags, through_proxy=through_proxy)
    try:
        pair.start()
        pair.fleet.apply(namespace(SPACE), policy("all", SPACE, None, "v1 ConfigMap"))
        yield pair
    except BaseException:
        print(pair.fleet.logs())
        raise
    finally:
        pair.stop()


class Stream:
    """Applies ConfigMaps one after the other through the hubs in turn, until stopped; `acknowledged` are those that were answered."""

    def __init__(self, pair: Pair, prefix: str, hubs: tuple[str, ...]) -> None:
        self._apis = [Api(pair.data[hub] / "admin.kubeconfig") for hub in hubs]
        self._prefix = prefix
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.acknowledged: set[str] = set()

    def __enter__(self) -> Stream:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(60)
        for api in self._apis:
            api.close()

    def _run(self) -> None:
        number = 0
        while not self._stopped.wait(0.04):
            number += 1
            name = f"{self._prefix}-{number}"
            try:
                self._apis[number % len(self._apis)].apply(f"{MAPS}/{name}", configmap(name, SPACE))
            except (OSError, ApiError):
                continue
            self.acknowledged.add(name)


def everywhere(pair: Pair, names: set[str]) -> bool:
    return all(names <= pair.held(member).keys() for member in MEMBERS)


def leader_of(pair: Pair) -> tuple[str, str]:
    """Who leads, and the other."""
    found = eventually(lambda: [hub for hub in "ab" if pair.leads(hub)], 20, "somebody leads")
    assert len(found) == 1, "both lead"
    return found[0], "b" if found[0] == "a" else "a"
