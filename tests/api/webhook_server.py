"""A webhook server over HTTPS with an authority of its own; a test says what each path answers."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.api.served import Served
from towline.certs import authority, tls
from towline.hub.api.engine import Limits
from towline.hub.api.webhooks import Webhooks

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1"
MUTATING = f"{CONFIGURATIONS}/mutatingwebhookconfigurations"
VALIDATING = f"{CONFIGURATIONS}/validatingwebhookconfigurations"

Answers = Callable[[dict[str, Any]], dict[str, Any] | Awaitable[dict[str, Any]] | web.Response]
"""An AdmissionRequest -> the response without its uid, or anything else."""


@dataclass
class WebhookServer:
    url: str = ""
    ca: str = ""
    """As caBundle says it."""
    paths: dict[str, Answers] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """(path, request) in order."""

    async def handle(self, request: web.BaseRequest) -> web.Response:
        review = json.loads(await request.read())
        path, sent = request.path, review["request"]
        self.asked.append((path, {**sent, "query": request.query_string, "version": review["apiVersion"]}))
        response = self.paths[path](sent)
        if not isinstance(response, dict | web.Response):
            response = await response
        if isinstance(response, web.Response):
            return response
        answer = {"kind": "AdmissionReview", "apiVersion": review["apiVersion"]}
        return web.json_response({**answer, "response": {"uid": sent["uid"], **response}})

    def webhook(self, path: str, *resources: str, **fields: Any) -> dict[str, Any]:
        """A webhook at `path` for creations and updates of `resources` in any group."""
        rule = {
            "operations": fields.pop("operations", ["CREATE", "UPDATE"]),
            "apiGroups": ["*"],
            "apiVersions": ["*"],
            "resources": list(resources) or ["configmaps"],
        }
        return {
            "name": f"{path.strip('/')}.example.com",
            "clientConfig": {"url": self.url + path, "caBundle": self.ca},
            "rules": [rule],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            **fields,
        }

    def of(self, path: str) -> list[dict[str, Any]]:
        return [request for at, request in self.asked if at == path]


def configuration(name: str, *webhooks: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": name}, "webhooks": list(webhooks)}


def allow(request: dict[str, Any]) -> dict[str, Any]:
    return {"allowed": True}


def deny(request: dict[str, Any]) -> dict[str, Any]:
    return {"allowed": False, "status": {"code": 403, "reason": "Forbidden", "message": "not on Fridays"}}


def patching(*operations: dict[str, Any]) -> Answers:
    patch = base64.b64encode(json.dumps(operations).encode()).decode()
    return lambda request: {"allowed": True, "patchType": "JSONPatch", "patch": patch}


def adding(key: str) -> Answers:
    """Appends to data.order."""

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        order = (request["object"].get("data") or {}).get("order", "")
        patch = [{"op": "add", "path": "/data/order", "value": order + key}]
        encoded = base64.b64encode(json.dumps(patch).encode()).decode()
        return {"allowed": True, "patchType": "JSONPatch", "patch": encoded}

    return answer


def plugin(served: Served, **limits: Any) -> tuple[Webhooks]:
    """The plugin of a server, started."""
    webhooks = Webhooks(
        served.cache,
        served.kinds,
        now=lambda: served.clock,
        new_uid=served.new_uid,
        limits=Limits(webhook_bytes=64 * 1024, **limits),
    )
    webhooks.start()
    return (webhooks,)


@contextlib.asynccontextmanager
async def webhook_server(folder: Path, *, keep_alive: bool = True) -> AsyncIterator[WebhookServer]:
    """Without `keep_alive` for a client of which nobody knows when it lets go."""
    host = "127.0.0.1"
    own = authority.create(time.time())
    context = tls.server_context(
        own.bundle_pem, own.issue_server([host], time.time()), folder / "webhook.pem"
    )
    hooks = WebhookServer(ca=base64.b64encode(own.bundle_pem).decode())

    async def handle(request: web.BaseRequest) -> web.Response:
        response = await hooks.handle(request)
        if not keep_alive:
            response.force_close()
        return response

    server = web.Server(handle, access_log=None)
    listener = await asyncio.get_running_loop().create_server(server, host, 0, ssl=context)
    hooks.url = f"https://{host}:{listener.sockets[0].getsockname()[1]}"
    try:
        yield hooks
    finally:
        listener.close()
        server.pre_shutdown()
        await server.shutdown(0.1)
