"""What the commands about member clusters share: which clusters are meant, and changing one although others change it too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from towline.cli.client import Client, Refused
from towline.cli.failures import Failure, Misuse
from towline.cli.options import AnyCommand
from towline.kube.names import validate_cluster_name

CLUSTERS = "/apis/cluster.karmada.io/v1alpha1/clusters"
ATTEMPTS = 5
"""How often a change is tried when somebody else's comes in between."""

Cluster = dict[str, Any]


def selection_options(function: AnyCommand) -> AnyCommand:
    """`-l SELECTOR` and `--all`, which mean clusters beside the names."""
    function = click.option("--all", "everyone", is_flag=True, help="All clusters.")(function)
    return click.option(
        "-l", "--selector", default="", metavar="SELECTOR", help="Clusters with these labels."
    )(function)


def dry_run_option(function: AnyCommand) -> AnyCommand:
    return click.option("--dry-run", is_flag=True, help="Ask the hub what it would do; change nothing.")(
        function
    )


class Selection:
    """The clusters that a command's words mean. Raises Misuse when they mean none, or mean them twice."""

    def __init__(self, names: Sequence[str], selector: str, everyone: bool) -> None:
        if (bool(names), bool(selector), everyone).count(True) != 1:
            raise Misuse("Which clusters?", "Name them, or give -l SELECTOR, or --all.")
        self._names = names
        self._selector = selector

    def read(self, client: Client) -> Iterator[Cluster | Failure]:
        """A name that is no cluster's is answered by what to tell of it."""
        if not self._names:
            yield from client.get(f"{CLUSTERS}?labelSelector={quote(self._selector)}")["items"]
        for name in self._names:
            yield look_up(client, name)


def for_each(kubeconfig: Path | None, selection: Selection, act: Callable[[Client, Cluster], str]) -> None:
    """`act` on every cluster, and print what it answers. One that fails keeps no other from its turn."""
    failures: list[Failure] = []
    with Client.from_kubeconfig(kubeconfig) as client:
        found = list(selection.read(client))
        for cluster in found:
            if isinstance(cluster, Failure):
                failures.append(cluster)
                continue
            try:
                click.echo(act(client, cluster))
            except Failure as error:
                failures.append(error)
    if not found:
        raise Failure("No cluster matches.", "`kubectl get clusters --show-labels` shows those there are.")
    for failure in failures[:-1]:
        failure.show()
    if failures:
        raise failures[-1]


def change(
    client: Client, cluster: Cluster, patch: Callable[[Cluster], dict[str, Any]], *, dry_run: bool = False
) -> None:
    """Merge what `patch` makes of `cluster` into it; made anew from what is there when somebody else was faster."""
    name = str(cluster["metadata"]["name"])
    path = f"{CLUSTERS}/{name}"
    for _ in range(ATTEMPTS):
        wanted = patch(cluster)
        version = {"resourceVersion": cluster["metadata"]["resourceVersion"]}
        body = {**wanted, "metadata": {**wanted.get("metadata", {}), **version}}
        try:
            client.merge(f"{path}?dryRun=All" if dry_run else path, body)
            return
        except Refused as error:
            if error.code != 409:
                raise
        found = look_up(client, name)
        if isinstance(found, Failure):
            raise found
        cluster = found
    raise Failure(f"Cluster {name} changes all the time.", "Try again.")


def look_up(client: Client, name: str) -> Cluster | Failure:
    """The cluster of this name, or what to tell of it."""
    absent = Failure(f"There is no cluster {name!r}.", "`kubectl get clusters` shows those there are.")
    if validate_cluster_name(name):  # in a path it could be anything
        return absent
    try:
        cluster: Cluster = client.get(f"{CLUSTERS}/{name}")
    except Refused as error:
        return error if error.code != 404 else absent
    return cluster
