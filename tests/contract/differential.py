"""Sends one list of requests to an API server and writes down what it answers, so that two servers can be compared.

A scenario is a list of steps in a namespace of its own. A text in a step may name what an earlier step of the scenario
was answered: `${create:metadata.uid}`. Answers are normalized: what differs from run to run (uids, times, revisions,
generated names, addresses) becomes a token, so that equal behaviour is equal data.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp

JSON = "application/json"
PATCHES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
_ESTABLISHED_SECONDS = 20.0


@dataclass(frozen=True)
class Step:
    """One request. `body` is encoded as JSON unless it is text; `until` (a dotted path, or "" for the status
    code, and a value) repeats a GET; a watch ends after so many `lines`; `user` is whom the administrator acts as."""

    name: str
    method: str
    path: str
    body: Any = None
    type: str = JSON
    accept: str = ""
    until: tuple[str, str] | None = None
    lines: int = 0
    user: str = ""


@dataclass(frozen=True)
class Scenario:
    name: str
    steps: tuple[Step, ...]


@dataclass
class Target:
    """A server to ask. `tls` None: plain HTTP."""

    url: str
    session: aiohttp.ClientSession
    tls: ssl.SSLContext | None = None


async def play(target: Target, scenario: Scenario) -> dict[str, Any]:
    """Step name -> its normalized answer."""
    known: dict[str, Any] = {}
    normal = Normalizer()
    answers: dict[str, Any] = {}
    for step in scenario.steps:
        step = _filled(step, known)
        code, headers, raw = await _settled(target, step)
        watched = code == 200 and ("watch=" in step.path or step.lines > 0)
        parsed = _parsed(raw, headers.get("Content-Type", ""), lines=watched)
        known[step.name] = parsed
        answers[step.name] = normal.answer(code, headers, parsed)
    return answers


async def _settled(target: Target, step: Step) -> tuple[int, Mapping[str, str], bytes]:
    async with asyncio.timeout(_ESTABLISHED_SECONDS):
        while True:
            answer = await _send(target, step)
            if step.until is None or _reached(answer, *step.until):
                return answer
            await asyncio.sleep(0.05)  # the server works on it, and there is nothing to wait on


def _reached(answer: tuple[int, Mapping[str, str], bytes], path: str, wanted: str) -> bool:
    found = _at(_parsed(answer[2], JSON), path) if path else str(answer[0])
    return bool(found == wanted)


async def _send(target: Target, step: Step) -> tuple[int, Mapping[str, str], bytes]:
    headers = {"User-Agent": "tester/1.0", "Accept": step.accept or JSON}
    if step.user:
        headers["Impersonate-User"] = step.user
    data: str | None = None
    if step.body is not None:
        data = step.body if isinstance(step.body, str) else json.dumps(step.body)
        headers["Content-Type"] = step.type
    async with target.session.request(
        step.method, target.url + step.path, data=data, headers=headers, ssl=target.tls or True
    ) as answer:
        told = dict(answer.headers)
        told["Warning"] = "\n".join(answer.headers.getall("Warning", []))
        if step.lines and answer.status == 200:
            return answer.status, told, b"".join([await answer.content.readline() for _ in range(step.lines)])
        return answer.status, told, await answer.read()


def _parsed(raw: bytes, content_type: str, *, lines: bool = False) -> Any:
    if lines:
        return [json.loads(line) for line in raw.splitlines() if line.strip()]
    try:
        return json.loads(raw) if raw else None
    except ValueError:
        return f"<{content_type.partition(';')[0]}>"


def _filled(step: Step, known: Mapping[str, Any]) -> Step:
    def fill(value: Any) -> Any:
        if isinstance(value, str):
            return re.sub(r"\$\{(\w+):([^}]*)\}", lambda m: str(_at(known[m[1]], m[2])), value)
        if isinstance(value, dict):
            return {name: fill(item) for name, item in value.items()}
        if isinstance(value, list):
            return [fill(item) for item in value]
        return value

    return replace(step, path=fill(step.path), body=fill(step.body))


def _at(value: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(value, str):
            return None
        if "=" in part and isinstance(value, list):
            name, _, wanted = part.partition("=")
            value = next((item for item in value if item.get(name) == wanted), None)
        elif isinstance(value, list):
            value = value[int(part)]
        else:
            value = (value or {}).get(part)
    return value


# --- normalizing -----------------------------------------------------------------------------------------------


_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z\Z")
_UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ADDRESS = re.compile(r"10\.0\.0\.\d+\Z")
_TOKEN = re.compile(r"eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+\Z")
_ISSUER = re.compile(r"https://127\.0\.0\.1(:\d{4,5})?(?![:\d.])")
_AGE = re.compile(r"\d+[smhd](\d+[smhd])?\Z")


@dataclass
class Normalizer:
    """Tokens are the same within a scenario: the second revision of an object is `<revision 2>`."""

    revisions: dict[str, list[str]] = field(default_factory=dict)

    def answer(self, code: int, headers: Mapping[str, str], body: Any) -> dict[str, Any]:
        told: dict[str, Any] = {"code": code}
        if code < 300:
            told["type"] = headers.get("Content-Type", "").replace(" ", "").replace(";charset=utf-8", "")
        if headers.get("Warning"):
            told["warnings"] = headers["Warning"].splitlines()
        if isinstance(body, dict) and body.get("kind") == "Status" and "code" in body:
            told["status"] = self._status(body)
        else:
            told["body"] = self.value(body)
        return told

    def _status(self, body: dict[str, Any]) -> dict[str, Any]:
        """A failure: what programs read, without its words."""
        details = dict(body.get("details") or {})
        causes = details.pop("causes", None) or []
        causes = sorted({(str(cause.get("reason")), str(cause.get("field") or "")) for cause in causes})
        told = {"status": body.get("status"), "reason": body.get("reason"), "code": body.get("code")}
        return {**told, "details": self.value(details), "causes": [list(cause) for cause in causes]}

    def value(self, value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return self._object(value)
        if isinstance(value, list):
            items = [self.value(item, name) for item in value]
            return sorted(items, key=_manager) if name == "managedFields" else items
        if name == "continue":
            return "<continue>"
        if name == "resourceVersion" and value:
            return "<revision>"
        if isinstance(value, str):
            return self.text(value)
        return value

    def _object(self, value: dict[str, Any]) -> dict[str, Any]:
        told = {_UID.sub("<uid>", name): self.value(item, name) for name, item in value.items()}
        if "fieldsV1" in value:
            told.pop("time", None)  # Kubernetes leaves it out here and there
        if "columnDefinitions" in value:
            for column in told["columnDefinitions"] or []:
                del column["description"]
        uid, revision = value.get("uid"), value.get("resourceVersion")
        if isinstance(uid, str) and isinstance(revision, str):
            seen = self.revisions.setdefault(uid, [])
            if revision not in seen:
                seen.append(revision)
            told["resourceVersion"] = f"<revision {seen.index(revision) + 1}>"
        if "generateName" in value and str(value.get("name", "")).startswith(value["generateName"]):
            told["name"] = value["generateName"] + "<generated>"
        if value.get("kind") == "APIResourceList":
            told["resources"].sort(key=lambda row: row["name"])
        if "storageVersionHash" in value:
            del told["storageVersionHash"]  # opaque
            told["verbs"].sort()
        if "cells" in value:
            told["cells"] = ["<age>" if isinstance(c, str) and _AGE.match(c) else c for c in told["cells"]]
        return told

    def text(self, value: str) -> Any:
        if _TOKEN.match(value):
            return self.value(_claims(value))
        if _TIME.match(value):
            return "<time>"
        if _ADDRESS.match(value):
            return "<address>"
        return _ISSUER.sub("<issuer>", _UID.sub("<uid>", value))


def _claims(token: str) -> dict[str, Any]:
    """What a ServiceAccount's token says, with its times as seconds of its life, to the nearest ten: a server may look
    at its clock more than once."""
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    issued = claims.pop("iat", 0)
    return {
        **claims,
        **{claim: round((claims[claim] - issued) / 10) * 10 for claim in ("exp", "nbf") if claim in claims},
    }


def _manager(entry: Any) -> str:
    return json.dumps([entry.get(k) or "" for k in ("operation", "manager", "apiVersion", "subresource")])


# --- comparing -------------------------------------------------------------------------------------------------


def differences(ours: Any, theirs: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(path, ours, theirs) where the two differ; a path is like `create/body.spec.replicas`."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in sorted({*ours, *theirs}):
            joint = f"{path}{'.' if path else ''}{name}"
            if name not in ours or name not in theirs:
                yield joint, ours.get(name, "<absent>"), theirs.get(name, "<absent>")
            else:
                yield from differences(ours[name], theirs[name], joint)
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(mine, other, f"{path}[{index}]")
    elif ours != theirs:
        yield path, ours, theirs


def requests_of(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """The requests as data, to see that a recording belongs to them."""
    rows = [
        {k: v for k, v in vars(step).items() if v not in (None, "", 0) and (k, v) != ("type", JSON)}
        for step in steps
    ]
    data: list[dict[str, Any]] = json.loads(json.dumps(rows))
    return data
