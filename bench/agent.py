"""What a member with 5,000 nodes and 20,000 pods costs its agent: a real `towline hub`, a real `towline agent` and a member over TLS whose
pods change a hundred times a second (bench/crowd.py). `python -m bench.agent`.

Seconds are of the agent's processor; what it sends is what passes a proxy between it and the hub, TLS included.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import sys
import tempfile
import time
from pathlib import Path

import psutil

from bench.tables import Row, show
from tests.e2e.harness import Api, Fleet, eventually
from tests.e2e.proxy import Proxy

NODES, PODS, CHANGES = 5_000, 20_000, 100
SECONDS = 60.0
SETTLE_SECONDS = 5.0
PATIENCE_SECONDS = 240.0
CLUSTER = "/apis/cluster.karmada.io/v1alpha1/clusters/member1"
KIBI, MEBI = 1024, 1024 * 1024


class Meter(Proxy):
    """Counts the bytes that the agent sends."""

    sent = 0

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        upwards = sink.getpeername() == self.target
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
                self.sent += len(data) * upwards
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def bench(nodes: int = NODES, pods: int = PODS, changes: int = CHANGES, seconds: float = SECONDS) -> None:
    with tempfile.TemporaryDirectory(prefix="towline-bench-") as name:
        fleet = Fleet(Path(name), members=())
        meter = Meter(("127.0.0.1", fleet.gateway_port))
        try:
            fleet.start()
            _start_member(fleet, nodes, pods, changes)
            rows = _measure(fleet, meter, nodes, pods, changes, seconds)
        except BaseException:
            print(fleet.logs())
            raise
        finally:
            fleet.stop()
            meter.close()
    show(rows)


def _start_member(fleet: Fleet, nodes: int, pods: int, changes: int) -> None:
    sizes = ("--nodes", str(nodes), "--pods", str(pods), "--changes", str(changes))
    fleet.spawn(
        "member1", [sys.executable, "-m", "bench.crowd", "--data-dir", str(fleet.folder / "member1"), *sizes]
    )
    eventually((fleet.folder / "member1" / "kubeconfig").exists, PATIENCE_SECONDS, "the member serves")


def _measure(fleet: Fleet, meter: Meter, nodes: int, pods: int, changes: int, seconds: float) -> list[Row]:
    began = time.perf_counter()
    agent = psutil.Process(fleet.join("member1", "--gateway-address", f"127.0.0.1:{meter.port}").pid)
    eventually(lambda: fleet.cluster_ready("member1"), PATIENCE_SECONDS, "the cluster is Ready")
    ready = time.perf_counter() - began
    eventually(lambda: _counted(fleet) == nodes, PATIENCE_SECONDS, "the nodes are counted")
    counted, spent = time.perf_counter() - began, _cpu_seconds(agent)
    time.sleep(SETTLE_SECONDS)
    member = Api(fleet.folder / "member1" / "kubeconfig")
    before, sent, revision, start = _cpu_seconds(agent), meter.sent, _revision(member), time.perf_counter()
    time.sleep(seconds)
    passed = time.perf_counter() - start
    share, commits = (_cpu_seconds(agent) - before) / passed, _revision(member) - revision
    member.close()
    what = f"the agent of a member with {nodes:,} nodes and {pods:,} pods"
    return [
        (what, "", "aim"),
        ("from its start until Ready / until its room shows", f"{ready:.1f} / {counted:.1f} s", ""),
        ("processor until then", f"{spent:.1f} s", ""),
        ("memory now / at most", f"{_status(agent.pid, 'VmRSS'):.0f} / {_status(agent.pid, 'VmHWM'):.0f} MiB", "<= 128 MiB"),
        (f"processor at {commits / passed:.0f} events a second", f"{share:.1%} of a core", "<= 10 %"),
        ("sent to the hub", f"{(meter.sent - sent) / passed / KIBI:.1f} KiB/s", ""),
    ]  # fmt: skip


def _counted(fleet: Fleet) -> int:
    status = (fleet.hub.get(CLUSTER) or {}).get("status") or {}
    return int((status.get("nodeSummary") or {}).get("totalNum") or 0)


def _revision(member: Api) -> int:
    """Each change in this member is one."""
    return int(member.request("GET", "/api/v1/namespaces?limit=1")["metadata"]["resourceVersion"])


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _status(pid: int, field: str) -> float:
    """A size of /proc/PID/status in MiB."""
    (line,) = (row for row in Path(f"/proc/{pid}/status").read_text().splitlines() if row.startswith(field))
    return int(line.split()[1]) * KIBI / MEBI


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=NODES)
    parser.add_argument("--pods", type=int, default=PODS)
    parser.add_argument("--changes", type=int, default=CHANGES, help="of pods, a second")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    options = parser.parse_args()
    bench(options.nodes, options.pods, options.changes, options.seconds)


if __name__ == "__main__":
    main()
