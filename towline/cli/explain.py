"""`towline explain`: why is it there, or not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from towline.cli import resources
from towline.cli.client import Client, Refused
from towline.cli.explained import explanation
from towline.cli.failures import Failure
from towline.cli.options import config_option, kubeconfig_option, namespace_option, output_option, show

ROOT = "/apis/towline.io/v1alpha1"


@click.command(name="explain")
@click.argument("words", nargs=-1, required=True, metavar="KIND/NAME")
@namespace_option
@output_option
@kubeconfig_option
@config_option
def command(words: tuple[str, ...], namespace: str, output: str, kubeconfig: Path | None) -> None:
    """Say why KIND/NAME runs where it runs, or does not run.

    Which policy won, what refused each cluster, how replicas were divided, when that was decided, and what would be
    decided differently now. KIND is what kubectl takes: deployment, deploy, deployments.apps; a resourcebinding
    stands for its template. Changes nothing.

    The same through the API: create a PlacementExplanation (or, of what has no namespace, a
    ClusterPlacementExplanation) in towline.io/v1alpha1; the answer is in its status.
    """
    kind, name = resources.split(words)
    with Client.from_kubeconfig(kubeconfig) as client:
        resource = resources.find(client, kind)
        review: dict[str, Any] = {
            "apiVersion": "towline.io/v1alpha1",
            "kind": "PlacementExplanation" if resource.namespaced else "ClusterPlacementExplanation",
            "spec": {"apiVersion": resource.api_version, "kind": resource.kind, "name": name},
        }
        path = f"{ROOT}/namespaces/{namespace or client.namespace}/placementexplanations"
        if not resource.namespaced:
            path = f"{ROOT}/clusterplacementexplanations"
        answer = asked(client, path, review)
    show(answer, output, lambda: explanation(answer["status"]))


def asked(client: Client, path: str, review: Any) -> Any:
    """The answered review. Raises Failure."""
    try:
        return client.create(path, review)
    except Refused as error:
        if error.code == 404:
            told = error.message.removeprefix("The API refused: ")
            raise Failure(f"{told}.", "Check the name and the namespace (-n).") from None
        raise
