"""`make bench`: what the main job costs, next to the floor: the same objects written straight into the members.

Starts a hub (sqlite), simulated members and their agents as processes, and prints one table. Times are from before the client's
request to the last member's watch event, seen by one watcher per member. Machines are noisy: trust the ratios.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from bench import agent, api, failover, full_fleet, pairs, scheduling, sessions
from bench.tables import Row, quantile, show, shown
from tests.e2e.harness import Api, Fleet, running_fleet
from tests.e2e.objects import APPS, deployment, namespace, policy

IDLE_SECONDS = 15


class Arrivals:
    """One watch per member; knows when each (member, name, image) was first seen and when a name was gone."""

    def __init__(self, members: dict[str, Api], space: str) -> None:
        self.seen: dict[tuple[str, str, str], float] = {}
        self.changed = threading.Condition()
        self.stopping = False
        self.apis = [Api(api.kubeconfig) for api in members.values()]
        self.threads = [
            threading.Thread(target=self._watch, args=(name, api, space), daemon=True)
            for name, api in zip(members, self.apis, strict=True)
        ]
        self.ready = threading.Barrier(len(members) + 1)
        for thread in self.threads:
            thread.start()
        self.ready.wait(20)

    def wait(self, keys: set[tuple[str, str, str]], timeout_seconds: float = 120) -> float:
        """The moment at which the last of `keys` was seen."""
        with self.changed:
            if not self.changed.wait_for(lambda: keys <= self.seen.keys(), timeout_seconds):
                raise SystemExit(
                    f"{len(keys - self.seen.keys())} of {len(keys)} did not arrive in {timeout_seconds} s"
                )
            return max(self.seen[key] for key in keys)

    def _watch(self, member: str, api: Api, space: str) -> None:
        listed = api.request("GET", f"{APPS}/{space}/deployments")
        version = listed["metadata"]["resourceVersion"]
        assert api.connection is not None
        api.connection.request("GET", f"{APPS}/{space}/deployments?watch=1&resourceVersion={version}")
        answer = api.connection.getresponse()
        self.ready.wait(20)
        while line := answer.readline():
            now = time.perf_counter()
            event = json.loads(line)
            name = event["object"]["metadata"]["name"]
            gone = event["type"] == "DELETED"
            image = "" if gone else event["object"]["spec"]["template"]["spec"]["containers"][0]["image"]
            with self.changed:
                self.seen.setdefault((member, name, image), now)
                self.changed.notify_all()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=200, help="Deployments in the burst (default 200)")
    parser.add_argument(
        "--singles", type=int, default=50, help="one-at-a-time creates and updates (default 50)"
    )
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--store", choices=["sqlite", "etcd"], default="sqlite")
    parser.add_argument("--no-api", action="store_true", help="leave out bench/api.py, the API alone")
    parser.add_argument(
        "--no-scheduling", action="store_true", help="leave out bench/scheduling.py and bench/full_fleet.py"
    )
    parser.add_argument(
        "--no-sessions",
        action="store_true",
        help="leave out bench/sessions.py, bench/failover.py, bench/pairs.py and bench/agent.py",
    )
    options = parser.parse_args()
    members = tuple(f"member{i + 1}" for i in range(options.members))
    with tempfile.TemporaryDirectory(prefix="towline-bench-") as folder:
        with running_fleet(Path(folder), store=options.store, members=members) as fleet:
            rows = measure(fleet, options.objects, options.singles)
    show(rows)
    if not options.no_api:
        print()
        api.bench(options.store)
    if not options.no_scheduling:
        print()
        scheduling.main()
        print()
        full_fleet.bench()
    if not options.no_sessions:
        print()
        sessions.bench()
        print()
        failover.bench()
        print()
        pairs.bench()
        print()
        agent.bench()


def measure(fleet: Fleet, objects: int, singles: int) -> list[Row]:
    fleet.apply(namespace("floor"), namespace("bench"), policy("all", "bench"))
    for member in fleet.members.values():
        wait_for(partial(member.get, "/api/v1/namespaces/bench"))
        wait_for(partial(member.get, "/api/v1/namespaces/floor"))
    rows: list[Row] = [("what", "floor", "towline", "ratio")]
    floor = Arrivals(fleet.members, "floor")
    bench = Arrivals(fleet.members, "bench")
    direct = Direct(fleet)

    commits = placement_commits(fleet)
    pairs = []
    for image in ("nginx:1", "nginx:2"):
        floor_times = [timed(floor, fleet, [f"one-{i}"], image, direct.apply) for i in range(singles)]
        towline_times = [timed(bench, fleet, [f"one-{i}"], image, hub_apply(fleet)) for i in range(singles)]
        pairs.append((floor_times, towline_times))
    for verb, (floor_times, towline_times) in zip(("create", "update"), pairs, strict=True):
        for label, q in (("p50", 0.5), ("p99", 0.99)):
            rows.append(ratio(f"{verb} one, {label}", quantile(floor_times, q), quantile(towline_times, q)))
    spent = placement_commits(fleet)
    rows.append(
        ("commits a placement", "", f"{(spent - commits) / (2 * singles):.2f}", "with the user's own")
    )

    names = [f"many-{i}" for i in range(objects)]
    rows.append(
        ratio(
            f"{objects} at once, last arrival",
            timed(floor, fleet, names, "nginx:1", direct.apply),
            timed(bench, fleet, names, "nginx:1", hub_apply(fleet)),
        )
    )
    rows.append(
        ratio(
            f"delete {objects}, last gone",
            timed(floor, fleet, names, "", direct.delete),
            timed(bench, fleet, names, "", hub_delete(fleet)),
        )
    )
    return rows + process_rows(fleet)


class Direct:
    """Writes straight into the members, one connection each, all members at the same time."""

    def __init__(self, fleet: Fleet) -> None:
        self.apis = [Api(api.kubeconfig) for api in fleet.members.values()]
        self.pool = ThreadPoolExecutor(len(self.apis))

    def apply(self, names: list[str], image: str) -> None:
        self._everywhere(
            lambda api, name: api.apply(
                f"{APPS}/floor/deployments/{name}", deployment(name, "floor", 1, image)
            ),
            names,
        )

    def delete(self, names: list[str], image: str) -> None:
        self._everywhere(lambda api, name: api.delete(f"{APPS}/floor/deployments/{name}"), names)

    def _everywhere(self, write: Callable[[Api, str], Any], names: list[str]) -> None:
        def one(api: Api) -> None:
            for name in names:
                write(api, name)

        list(self.pool.map(one, self.apis))


def hub_apply(fleet: Fleet) -> Callable[[list[str], str], None]:
    def apply(names: list[str], image: str) -> None:
        for name in names:
            fleet.hub.apply(f"{APPS}/bench/deployments/{name}", deployment(name, "bench", 1, image))

    return apply


def hub_delete(fleet: Fleet) -> Callable[[list[str], str], None]:
    def delete(names: list[str], image: str) -> None:
        for name in names:
            fleet.hub.request("DELETE", f"{APPS}/bench/deployments/{name}")

    return delete


def timed(
    arrivals: Arrivals, fleet: Fleet, names: list[str], image: str, write: Callable[[list[str], str], None]
) -> float:
    start = time.perf_counter()
    write(names, image)
    return arrivals.wait({(member, name, image) for member in fleet.members for name in names}) - start


def process_rows(fleet: Fleet) -> list[Row]:
    watched = {name: psutil.Process(p.pid) for name, p in fleet.processes.items() if p.alive()}
    before = {name: cpu_seconds(process) for name, process in watched.items()}
    time.sleep(IDLE_SECONDS)
    rows: list[Row] = []
    idle_total = 0.0
    for name, process in watched.items():
        spent = cpu_seconds(process)
        idle = (spent - before[name]) / IDLE_SECONDS * 100
        if name == "hub" or name.startswith("agent"):
            idle_total += idle
        rss = process.memory_info().rss / 2**20
        rows.append((name, "", f"{before[name]:.1f} CPU s, {rss:.0f} MiB", f"idle {idle:.2f} %"))
    rows.append(("idle, hub and agents", "", f"{idle_total:.2f} %", ""))
    return rows


def placement_commits(fleet: Fleet) -> float:
    """Store commits of users' writes and of propagation, from the hub's own metrics."""
    _, text = fleet.hub.request("GET", "/metrics", raw=True)
    found = re.findall(
        r'^towline_store_commits_total\{writer="(api|propagation)"\} ([\d.e+]+)', text.decode(), re.M
    )
    return sum(float(value) for _, value in found)


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def ratio(what: str, floor_seconds: float, towline_seconds: float) -> Row:
    return what, shown(floor_seconds), shown(towline_seconds), f"{towline_seconds / floor_seconds:.2f}x"


def wait_for(check: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not check():
        if time.monotonic() > deadline:
            raise SystemExit("the namespaces did not follow to the members")
        time.sleep(0.02)


if __name__ == "__main__":
    main()
