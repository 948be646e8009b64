"""`towline demo`: the main job on this machine, in real processes over real mTLS.

hub and simulated members start together; each agent starts as soon as its hub and its member answer. Then
examples/nginx is applied to the hub, and watches in the members say when it arrives.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import click

import towline
from towline.cli.children import Children, Ended, termination_as_interrupt
from towline.cli.client import Client, Refused
from towline.cli.failures import Failure
from towline.cli.join import make_token
from towline.cli.options import PathParam, config_option
from towline.cli.progress import Progress
from towline.cli.views import LiveView, PlainView, View

MARKER = ".towline-demo"
EXAMPLES = Path(towline.__file__).parent.parent / "examples" / "nginx"
START_SECONDS = 60.0
ARRIVE_SECONDS = 60.0
CLUSTERS = "/apis/cluster.karmada.io/v1alpha1/clusters"
PLACES = tuple(
    (region, f"{region}-1{zone}") for region in ("eu-west", "us-east", "ap-south") for zone in "ab"
)
TIERS = ("gold", "silver")
"""Regions, zones and the label `tier` of the clusters, in turn: what examples/policies select by."""
KINDS = {
    "Deployment": "/apis/apps/v1/deployments",
    "Service": "/api/v1/services",
    "ConfigMap": "/api/v1/configmaps",
}
SELECTOR = "labelSelector=app%3Dnginx"


class Seen(NamedTuple):
    """A watch said something. `where` is a member, or empty for the hub."""

    where: str
    kind: str
    type: str
    object: dict[str, Any]


@click.command(name="demo")
@click.option(
    "--members", type=click.IntRange(1, 20), default=3, show_default=True, help="How many clusters."
)
@click.option("--once", is_flag=True, help="Go through the steps, then stop everything and exit.")
@click.option(
    "--data-dir", type=PathParam, metavar="DIR", help="Keep everything here. Default: a temporary folder."
)
@click.option(
    "--manifests",
    type=PathParam,
    default=EXAMPLES,
    metavar="DIR",
    help="What to apply. Default: examples/nginx of the clone.",
)
@config_option
def command(members: int, once: bool, data_dir: Path | None, manifests: Path) -> None:
    """Show the main job on this machine.

    A hub, simulated member clusters and their agents, as separate processes; nginx applied once and running
    everywhere. No Docker, no Kubernetes, no etcd needed. Everything is gone after Ctrl-C.
    """
    if not manifests.is_dir():
        raise Failure(f"There are no manifests in {manifests}.", "Run from a clone, or give --manifests DIR.")
    interactive = not once and sys.stdin.isatty() and sys.stdout.isatty()
    view: View = LiveView() if interactive else PlainView()
    with _folder(data_dir) as folder, termination_as_interrupt():
        events: SimpleQueue[Any] = SimpleQueue()
        with Children(folder, events) as children:
            demo = Demo(folder, members, children, events, view)
            demo.bring_up()
            with view:
                demo.apply_and_watch(manifests)
            demo.tell_what_to_try()
            if interactive:
                demo.stay()
            view.say("Stopping.")


class Demo:
    """The steps, in order."""

    def __init__(
        self, folder: Path, members: int, children: Children, events: SimpleQueue[Any], view: View
    ) -> None:
        self._folder = folder
        self._children = children
        self._events = events
        self._view = view
        self._watches: list[Client] = []
        self._places = {f"member{i + 1}": PLACES[i % len(PLACES)] for i in range(members)}
        self._hub_config = folder / "hub" / "admin.kubeconfig"

    def bring_up(self) -> None:
        """Hub and members at once, then the agents; returns when every cluster is Ready."""
        begin = time.monotonic()
        self._view.say(
            f"Starting a hub, {len(self._places)} simulated clusters and their agents in {self._folder}."
        )
        api, gateway = _free_addresses(2)
        hub = ["--data-dir", str(self._folder / "hub"), "--api-address", api, "--gateway-address", gateway]
        self._children.start("hub", "hub", *hub)
        for name, (region, zone) in self._places.items():
            member = ["--data-dir", str(self._folder / name), "--region", region, "--zone", zone]
            self._children.start(name, "sim", *member)
        self._children.until(self._hub_is_ready, "Starting the hub", START_SECONDS)
        with Client.from_kubeconfig(self._hub_config) as client:
            for n, (name, (region, zone)) in enumerate(self._places.items()):
                labels = {"tier": TIERS[n % len(TIERS)]}
                place = {"region": region, "zones": [zone], "provider": "demo", "labels": labels}
                token = str(make_token(client, {"name": name, **place})["token"])
                self._start_agent(name, token)
        self._watch("", "Cluster", self._hub_config, CLUSTERS)
        self._await_clusters()
        self._view.say(f"All {len(self._places)} clusters are Ready after {time.monotonic() - begin:.1f} s.")

    def apply_and_watch(self, manifests: Path) -> None:
        """Applies once on the hub and shows how everything arrives and becomes ready in every member."""
        places = {name: f"{region}, {zone}" for name, (region, zone) in self._places.items()}
        progress = Progress(places, tuple(KINDS))
        for name in self._places:
            for kind, path in KINDS.items():
                self._watch(name, kind, self._folder / name / "kubeconfig", path)
        self._watch("", "Deployment", self._hub_config, KINDS["Deployment"])
        applied = self._in_background(lambda: self._apply(manifests))
        begin = time.monotonic()
        self._view.say(f"Applying {_shown(manifests)} to the hub.")
        applied.start()
        self._view.show(progress, [])
        while not progress.done:
            seen = self._next_event(begin + ARRIVE_SECONDS, progress.missing)
            seconds = time.monotonic() - begin
            if isinstance(seen, Failure):
                raise seen
            if isinstance(seen, Seen) and seen.type in ("ADDED", "MODIFIED") and seen.kind in KINDS:
                if seen.where:
                    news = progress.see(seen.where, seen.kind, seen.object, seconds)
                else:
                    news = progress.see_hub(seen.object, seconds)
                self._view.show(progress, news)
        applied.join()
        count = len(KINDS) * len(self._places)
        self._view.say(
            f"From apply to the last arrival: {progress.last_arrival_seconds:.2f} s "
            f"({count} objects in {len(self._places)} clusters, over mTLS)."
        )
        self._stop_watches()

    def tell_what_to_try(self) -> None:
        member = next(iter(self._places))
        program = "towline" if shutil.which("towline") else sys.argv[0]
        lines = [
            f"export KUBECONFIG={self._hub_config}",
            "kubectl get clusters",
            "kubectl get deployments,propagationpolicies,resourcebindings",
            "kubectl get works -A",
            "kubectl scale deployment nginx --replicas=3",
            f"{program} explain deployment/nginx",
            f"{program} what-if deployment/nginx --remove {member}",
            f"kubectl --kubeconfig {self._folder / member / 'kubeconfig'} get pods -o wide",
        ]
        self._view.say(f"\nThe hub's kubeconfig is {self._hub_config}. To try:\n")
        for line in lines:
            self._view.say(f"  {line}")
        self._view.say("")

    def stay(self) -> None:
        """Until Ctrl-C, or until a child ends."""
        self._view.say("Everything stays up until Ctrl-C.")
        try:
            while True:
                if isinstance(self._events.get(), Ended):
                    self._children.check()
        except KeyboardInterrupt:
            self._view.say("")

    def _hub_is_ready(self) -> bool:
        if not self._hub_config.exists():
            return False
        try:
            with Client.from_kubeconfig(self._hub_config) as client:
                client.get("/readyz")
        except Failure:
            return False
        return True

    def _start_agent(self, name: str, token: str) -> None:
        kubeconfig = self._folder / name / "kubeconfig"
        self._children.until(kubeconfig.exists, f"Starting {name}", START_SECONDS)
        folder = str(self._folder / f"agent-{name}")
        arguments = ["--kubeconfig", str(kubeconfig), "--data-dir", folder]
        self._children.start(f"agent-{name}", "agent", *arguments, TOWLINE_AGENT_JOIN_TOKEN=token)

    def _await_clusters(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        waiting = set(self._places)
        while waiting:
            seen = self._next_event(deadline, lambda: f"cluster {min(waiting)}")
            if isinstance(seen, Seen) and seen.kind == "Cluster" and _is_ready(seen.object):
                waiting.discard(seen.object["metadata"]["name"])

    def _next_event(self, deadline: float, missing: Callable[[], str]) -> Any:
        """The next event. Raises Failure when a child ended, or when `deadline` (monotonic) passes."""
        try:
            event = self._events.get(timeout=max(0.01, deadline - time.monotonic()))
        except Empty:
            next_step = f"Look into the logs in {self._folder}."
            raise Failure(f"Waiting for {missing()} took too long.", next_step) from None
        if isinstance(event, Ended):
            self._children.check()
        return event

    def _watch(self, where: str, kind: str, kubeconfig: Path, path: str) -> None:
        client = Client.from_kubeconfig(kubeconfig)
        self._watches.append(client)
        selector = "" if kind == "Cluster" else f"&{SELECTOR}"

        def follow() -> None:
            for event in client.watch(f"{path}?watch=1{selector}"):
                self._events.put(Seen(where, kind, event["type"], event["object"]))

        self._in_background(follow).start()

    def _stop_watches(self) -> None:
        for client in self._watches:
            client.close()
        self._watches.clear()

    def _in_background(self, work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except Failure as failure:
                self._events.put(failure)

        return threading.Thread(target=run, daemon=True)

    def _apply(self, manifests: Path) -> None:
        kubectl = shutil.which("kubectl")
        if kubectl is None:
            with Client.from_kubeconfig(self._hub_config) as client:
                apply_through_api(client, manifests)
            return
        cache = str(self._folder / "kubectl-cache")
        done = subprocess.run(
            [
                kubectl,
                "--kubeconfig",
                str(self._hub_config),
                "--cache-dir",
                cache,
                "apply",
                "-f",
                str(manifests),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Failure(f"kubectl apply failed: {done.stderr.strip() or done.stdout.strip()}")


def apply_through_api(client: Client, manifests: Path) -> None:
    """Server-side apply of every object in a folder of YAML files, in the order of their names."""
    import yaml

    for file in sorted(manifests.glob("*.y*ml")):
        for obj in yaml.safe_load_all(file.read_text()):
            if obj:
                client.apply(_path_of(client, obj), obj)


def _path_of(client: Client, obj: dict[str, Any]) -> str:
    version = obj["apiVersion"]
    prefix = f"/apis/{version}" if "/" in version else f"/api/{version}"
    for resource in client.get(prefix)["resources"]:
        if resource["kind"] == obj["kind"] and "/" not in resource["name"]:
            where = (
                f"/namespaces/{obj['metadata'].get('namespace', 'default')}" if resource["namespaced"] else ""
            )
            return f"{prefix}{where}/{resource['name']}/{obj['metadata']['name']}"
    raise Refused(404, "NotFound", f"there is no kind {obj['kind']} in {version}")


def _is_ready(cluster: dict[str, Any]) -> bool:
    conditions = (cluster.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def _free_addresses(count: int) -> list[str]:
    """Addresses on loopback that nobody listens on, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]


def _shown(path: Path) -> str:
    """Relative to where the user is, if that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)


@contextlib.contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    """Where everything goes; a temporary folder goes too, unless something failed: then the logs are worth keeping."""
    if given is not None:
        _make_fresh(given)
        yield given.absolute()
        return
    folder = Path(tempfile.mkdtemp(prefix="towline-demo-"))
    try:
        yield folder
    except Failure:
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _make_fresh(folder: Path) -> None:
    """Simulated members forget everything when they stop, so what an earlier demo left here is of no use to this one."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    marker = folder / MARKER
    if not marker.exists() and any(folder.iterdir()):
        raise Failure(f"{folder} is not empty, and not from an earlier demo.", "Give an empty --data-dir.")
    for left in folder.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink()
    marker.touch()
