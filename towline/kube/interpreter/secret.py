"""v1 Secret: tokens of ServiceAccounts are each cluster's own."""

from __future__ import annotations

from towline.kube.interpreter.operations import Operations
from towline.kube.interpreter.pruning import prune_annotations
from towline.kube.objects import Object

_TOKEN = "kubernetes.io/service-account-token"
_ACCOUNT_UID = "kubernetes.io/service-account.uid"


def _retain(desired: Object, observed: Object) -> Object:
    if desired.get("type") != _TOKEN or "data" not in observed:
        return desired
    return {**desired, "data": observed["data"]}


def _prune(manifest: Object) -> Object:
    if manifest.get("type") != _TOKEN:
        return manifest
    return prune_annotations({k: v for k, v in manifest.items() if k != "data"}, (_ACCOUNT_UID,))


OPERATIONS = Operations(retain=_retain, prune=_prune)
