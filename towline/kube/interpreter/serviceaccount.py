"""v1 ServiceAccount."""

from __future__ import annotations

from towline.kube.cells import maps
from towline.kube.interpreter.operations import Operations
from towline.kube.objects import Object, name_of


def _retain(desired: Object, observed: Object) -> Object:
    """The member's token Secrets, and then the template's."""
    merged = {secret.get("name"): secret for secret in maps(observed.get("secrets"))}
    merged |= {secret.get("name"): secret for secret in maps(desired.get("secrets"))}
    return {**desired, "secrets": list(merged.values())} if merged else desired


def _prune(manifest: Object) -> Object:
    """Without the token Secrets that the hub's controllers made."""
    if not manifest.get("secrets"):
        return manifest
    prefix = f"{name_of(manifest)}-token-"
    kept = [s for s in maps(manifest["secrets"]) if not str(s.get("name") or "").startswith(prefix)]
    pruned = {k: v for k, v in manifest.items() if k != "secrets"}
    return {**pruned, "secrets": kept} if kept else pruned


OPERATIONS = Operations(retain=_retain, prune=_prune)
