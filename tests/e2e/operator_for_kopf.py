"""An operator as users write them: it is run by `kopf run` against a hub (test_kopf.py)."""

from __future__ import annotations

import asyncio
from typing import Any

import kopf

KIND = ("kopf.example.com", "v1", "gadgets")


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.posting.enabled = True
    settings.watching.server_timeout = 5
    settings.networking.error_backoffs = [0.1] * 100  # longer than the hub is down
    settings.watching.reconnect_backoff = 0.1


@kopf.on.create(*KIND)
def created(body: kopf.Body, spec: kopf.Spec, patch: kopf.Patch, **_: Any) -> dict[str, Any]:
    kopf.info(body, reason="Built", message=f"of size {spec['size']}")
    patch.status["size"] = spec["size"]
    return {"done": True}


@kopf.on.update(*KIND, field="spec.size")
def resized(new: Any, patch: kopf.Patch, **_: Any) -> None:
    patch.status["size"] = new


@kopf.on.delete(*KIND)
def deleted(**_: Any) -> None:
    """Having it makes kopf hold the object by a finalizer until it ran."""


@kopf.timer(*KIND, interval=0.3)
def tick(status: kopf.Status, patch: kopf.Patch, **_: Any) -> None:
    patch.status["ticks"] = status.get("ticks", 0) + 1


@kopf.daemon(*KIND, cancellation_timeout=1)
async def stay(stopped: kopf.DaemonStopped, body: kopf.Body, **_: Any) -> None:
    kopf.info(body, reason="Stays", message="as long as it does")
    while not stopped:
        await asyncio.sleep(0.1)
