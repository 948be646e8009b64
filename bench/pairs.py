"""How long the death of a hub is felt when another is on its store, with real processes: `python -m bench.pairs`.

Two hubs on one etcd, three members, some objects in them. The hub that leads ends, with all sessions that it had: killed, so that its
connections break at once, or stopped, as if its machine had lost power. A Deployment is created through the other hub at that moment.
"""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from bench.tables import Row, show, shown
from tests.e2e.harness import MEMBERS, eventually
from tests.e2e.hubs import MAPS, SPACE, TAKEOVER_SECONDS, Pair, everywhere, leader_of
from tests.e2e.objects import APPS, configmap, deployment, namespace, policy

ENDS = {"killed": signal.SIGKILL, "gone without a word": signal.SIGSTOP}
OBJECTS = 200
WAITED = (
    "the other leads",
    "all agents are back",
    "a Deployment created then is in all members",
    "the other hub's processor",
)


def bench() -> None:
    with tempfile.TemporaryDirectory(prefix="towline-bench-") as name:
        pair = Pair(Path(name) / "fleet")
        try:
            pair.start()
            pair.fleet.apply(
                namespace(SPACE), policy("all", SPACE, None, "v1 ConfigMap", "apps/v1 Deployment")
            )
            names = {f"c{number}" for number in range(OBJECTS)}
            for each in sorted(names):
                pair.api("a").apply(f"{MAPS}/{each}", configmap(each, SPACE))
            eventually(lambda: everywhere(pair, names), 120)
            rounds = [_measure(pair, end) for end in ENDS]
        finally:
            pair.stop()
    rows: list[Row] = [("the leader is", "aim", *ENDS)]
    for what, *times in zip(WAITED, *rounds, strict=True):
        rows.append((what, "" if what == WAITED[-1] else f"{TAKEOVER_SECONDS:.0f} s", *map(shown, times)))
    show(rows)


def _measure(pair: Pair, end: str) -> tuple[float, ...]:
    """Seconds from the end on, and of the processor."""
    leader, other = leader_of(pair)
    eventually(lambda: pair.sessions("a") + pair.sessions("b") == len(MEMBERS), 60)
    hub = psutil.Process(pair.process(other).pid)
    before = sum(hub.cpu_times()[:2])
    psutil.Process(pair.process(leader).pid).send_signal(ENDS[end])
    ended = time.perf_counter()
    path = f"{APPS}/{SPACE}/deployments/{end.replace(' ', '-')}"
    pair.api(other).apply(path, deployment(path.rpartition("/")[2], SPACE))
    waited: dict[Callable[[], bool], float] = {
        lambda: pair.leads(other): 0.0,
        lambda: pair.sessions(other) == len(MEMBERS): 0.0,
        lambda: all(pair.fleet.members[member].get(path) for member in MEMBERS): 0.0,
    }
    while not all(waited.values()):
        for check in waited:
            if not waited[check] and check():
                waited[check] = time.perf_counter() - ended
        time.sleep(0.02)
    spent = sum(hub.cpu_times()[:2]) - before
    pair.process(leader).kill()
    pair.process(leader).start()
    pair.serves(leader)
    return (*waited.values(), spent)


if __name__ == "__main__":
    bench()
