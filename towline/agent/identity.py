"""Who the agent is: its key and certificate, how it gets them with a join token, where they are kept.

The key never leaves the agent, and it is on disk before it is used: an enrolment whose answer was lost is repeated with
the same key, which the hub takes for the same agent. In a cluster a Secret keeps the identity as well, because a pod's
disk does not outlive the pod.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import msgspec
import orjson

from towline.agent.desired import HubSeen
from towline.agent.kubernetes import Member, Refused
from towline.certs import authority, tokens
from towline.proto import fleet_pb2 as fleet

log = logging.getLogger("towline.agent.identity")

_T = TypeVar("_T")

_FILE = "identity.json"
NEXT_FILE = "identity-next.json"
"""Of an identity that is asked for while another one serves."""
_SECRET_FIELD = "identity.json"
_ANSWER_BYTES_MAX = 256 * 1024
_TIMEOUT = aiohttp.ClientTimeout(total=15)
_CA_PATH = "/towline/v1/ca"
_ENROLL_PATH = "/towline/v1/enroll"
_FAREWELL_PATH = "/towline/v1/farewell"
_NEW_TOKEN = "Make a new token with `towline join {} --token-only`."


class Unenrollable(Exception):
    """The agent cannot get an identity, and trying again does not help: one sentence, and what to do."""

    def __init__(self, sentence: str, next_step: str) -> None:
        super().__init__(sentence)
        self.next_step = next_step


class HubUnreachable(Exception):
    """The hub did not answer, or not as a hub that is well; trying again may help."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A cluster's identity. All PEM fields are text; `certificate_pem` is empty before the enrolment."""

    cluster: str
    hub: str
    """host:port of the hub's API, of several hubs on one store with commas between."""
    cluster_uid: str
    """Of the member that this identity is for."""
    key_pem: str
    certificate_pem: str = ""
    ca_pem: str = ""
    gateways: tuple[str, ...] = ()
    token_hash: str = ""
    """Of the join token that this identity was asked for with: another one means that it is to be asked for anew."""

    @property
    def trusts(self) -> tuple[str, ...]:
        """Fingerprints of the authorities that are trusted."""
        return tuple(authority.bundle_of(self.ca_pem.encode())) if self.ca_pem else ()

    @property
    def object_uid(self) -> str:
        """Uid of the Cluster object that the certificate is for; empty before the enrolment."""
        if not self.certificate_pem:
            return ""
        return authority.agent_identity(self.certificate_pem.encode()).cluster_object_uid

    @property
    def renew_at(self) -> float:
        """Epoch seconds; 0 before the enrolment."""
        return authority.renew_at(self.certificate_pem.encode()) if self.certificate_pem else 0.0

    @property
    def expires_at(self) -> float:
        """Epoch seconds; 0 before the enrolment."""
        leaf = authority.Leaf(self.certificate_pem.encode(), b"")
        return leaf.not_after if self.certificate_pem else 0.0

    def __repr__(self) -> str:
        return f"Identity({self.cluster!r}, hub={self.hub!r})"


def load(data_dir: Path, file: str = _FILE) -> Identity | None:
    """What an earlier run kept. Raises Unenrollable for a file that cannot be read."""
    path = data_dir / file
    try:
        return _decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise Unenrollable(
            f"{path} cannot be read: {error}", "Remove it and join again with a new token."
        ) from None


def save(data_dir: Path, identity: Identity, file: str = _FILE) -> None:
    authority.write_private(data_dir / file, msgspec.json.encode(identity))


def new(token: tokens.JoinToken, cluster_uid: str) -> Identity:
    """An identity that is not enrolled yet, with a new key."""
    hashed = tokens.hash_of(token.secret)
    return Identity(token.name, token.hub, cluster_uid, new_key_pem(), token_hash=hashed)


def pending(before: Identity | None, token: tokens.JoinToken, cluster_uid: str) -> Identity:
    """The identity to ask for: `before` when that was asked for in the same way and not answered yet, so that its key is the
    same; else a new one."""
    fresh = (token.name, cluster_uid, tokens.hash_of(token.secret), "")
    if before is not None and fresh == (
        before.cluster, before.cluster_uid, before.token_hash, before.certificate_pem
    ):  # fmt: skip
        return replace(before, hub=token.hub)
    return new(token, cluster_uid)


def trusting(identity: Identity, bundle_pem: bytes) -> Identity | None:
    """`identity` with the authorities of `bundle_pem`; None when they are no others, or cannot be read."""
    try:
        told = authority.bundle_of(bundle_pem) if bundle_pem else {}
    except authority.CertificateError:
        return None
    if not told or set(told) == set(identity.trusts):
        return None
    return replace(identity, ca_pem=bundle_pem.decode())


def renewed(identity: Identity, key_pem: str, certificate_pem: bytes, bundle_pem: bytes) -> Identity:
    """`identity` with a new key and certificate. Raises CertificateError for what is not ours or cannot be used."""
    who = authority.agent_identity(certificate_pem)
    if who.cluster != identity.cluster:
        raise authority.CertificateError(f"it is of cluster {who.cluster[:64]}")
    if authority.public_key_of(certificate_pem) != authority.load_key(key_pem.encode()).public_key():
        raise authority.CertificateError("it is for another key")
    authority.bundle_of(bundle_pem)
    return replace(
        identity, key_pem=key_pem, certificate_pem=certificate_pem.decode(), ca_pem=bundle_pem.decode()
    )


def new_key_pem() -> str:
    return authority.key_pem(authority.new_key()).decode()


def csr_of(key_pem: str) -> bytes:
    return authority.request_pem(authority.load_key(key_pem.encode()))


async def enrol(identity: Identity, token: tokens.JoinToken) -> Identity:
    """Trade the token for a certificate, at the first of its hubs that answers. Raises Unenrollable and HubUnreachable."""
    return await _at_one_of(token.hub, lambda hub: _enrol_at(identity, replace(token, hub=hub)))


async def _at_one_of(hubs: str, ask: Callable[[str], Awaitable[_T]]) -> _T:
    """What the first of them answers that can be reached. Raises HubUnreachable."""
    *others, last = hubs.split(",")
    for hub in others:
        with contextlib.suppress(HubUnreachable):
            return await ask(hub)
    return await ask(last)


async def _enrol_at(identity: Identity, token: tokens.JoinToken) -> Identity:
    """Nobody is trusted before the hub showed the CA whose fingerprint the token holds; the secret goes out only over
    a connection that this CA vouches for."""
    ca_pem = await _trusted_ca(token)
    context = ssl.create_default_context(cadata=ca_pem)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    request = {
        "name": token.name,
        "secret": token.secret,
        "csr": csr_of(identity.key_pem).decode(),
        "clusterUID": identity.cluster_uid,
    }
    status, body = await _request("POST", token.hub, _ENROLL_PATH, context, orjson.dumps(request))
    if status != 200:
        reason = _message(body) or f"it answered {status}"
        if status >= 500 or status == 429:
            raise HubUnreachable(f"the hub at {token.hub} cannot enrol now: {reason}")
        raise Unenrollable(
            f"the hub at {token.hub} refused to enrol cluster {token.name}: {reason.rstrip('.')}",
            "Then start this agent again." if status == 409 else _NEW_TOKEN.format(token.name),
        )
    try:
        answer = orjson.loads(body)
        enrolled = replace(
            identity,
            cluster=token.name,
            certificate_pem=answer["certificate"],
            ca_pem=answer["ca"],
            gateways=tuple(answer["gateways"]),
        )
        authority.agent_identity(enrolled.certificate_pem.encode())
    except (ValueError, KeyError, TypeError, authority.CertificateError) as error:
        raise HubUnreachable(f"the hub at {token.hub} sent no usable certificate: {error}") from None
    return enrolled


async def farewell(identity: Identity, seen: HubSeen) -> fleet.Detached | None:
    """What the hub says of this cluster's end to an agent whose certificate has ended; None: it knows of no end. `seen` is the hub
    that the agent was in sync with. Raises HubUnreachable."""
    return await _at_one_of(identity.hub, lambda hub: _farewell_at(hub, identity, seen))


async def _farewell_at(hub: str, identity: Identity, seen: HubSeen) -> fleet.Detached | None:
    context = ssl.create_default_context(cadata=identity.ca_pem)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    question = {
        "cluster": identity.cluster, "object": identity.object_uid, "member": identity.cluster_uid,
        "storeID": seen.store_id, "epoch": seen.epoch,
    }  # fmt: skip
    status, body = await _request("POST", hub, _FAREWELL_PATH, context, orjson.dumps(question))
    if status != 200:
        return None
    try:
        said = orjson.loads(body)
        remains = fleet.Remains.Value(said["remains"])
        return fleet.Detached(
            cluster_uid=identity.object_uid, remains=remains, remove_agent=said["removeAgent"]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise HubUnreachable(f"the hub at {hub} does not answer like a hub: {error}") from None


async def _trusted_ca(token: tokens.JoinToken) -> str:
    # The one request that believes anybody: what it fetches is checked against the token.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without the system's CAs: they do not matter here
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    status, body = await _request("GET", token.hub, _CA_PATH, context)
    if status != 200:
        raise HubUnreachable(f"{token.hub} does not answer like a hub ({status} for {_CA_PATH})")
    try:
        told = authority.bundle_of(str(orjson.loads(body)["ca"]).encode())
    except (ValueError, KeyError, TypeError, authority.CertificateError):
        raise HubUnreachable(f"{token.hub} does not answer like a hub (no CA at {_CA_PATH})") from None
    trusted = [told[each].decode() for each in token.ca.split(",") if each in told]
    if not trusted:
        raise Unenrollable(
            f"the hub at {token.hub} is not the one that made this join token: its CA is another",
            _NEW_TOKEN.format(token.name),
        )
    return "".join(trusted)


async def _request(
    method: str, hub: str, path: str, context: ssl.SSLContext, body: bytes | None = None
) -> tuple[int, bytes]:
    connector = aiohttp.TCPConnector(ssl=context, limit=1)
    try:
        async with aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT, trust_env=True) as session:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            async with session.request(
                method, f"https://{hub}{path}", data=body, headers=headers, allow_redirects=False
            ) as response:
                return response.status, await _content(response)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        said = "no answer in time" if isinstance(error, TimeoutError) else str(error)
        raise HubUnreachable(f"the hub at {hub} cannot be reached: {said}") from None


async def _content(response: aiohttp.ClientResponse) -> bytes:
    """Nobody is trusted yet who may send it."""
    try:
        await response.content.readexactly(_ANSWER_BYTES_MAX)
    except asyncio.IncompleteReadError as whole:
        return whole.partial
    raise aiohttp.ClientPayloadError(f"its answer is longer than {_ANSWER_BYTES_MAX} bytes")


def _message(body: bytes) -> str:
    """The text of a Kubernetes Status."""
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    return str(status.get("message") or "") if isinstance(status, dict) else ""


def _decode(content: bytes) -> Identity:
    return msgspec.json.decode(content, type=Identity)


# --- the Secret in the member -----------------------------------------------------------------------------------


async def load_from_secret(member: Member, secret: str) -> Identity | None:
    """From Secret `namespace/name`; None when there is none. Raises MemberUnreachable and Refused."""
    try:
        obj: Any = await member.get(_secret_path(secret))
    except Refused as refused:
        if refused.code == 404:
            return None
        raise
    encoded = (obj.get("data") or {}).get(_SECRET_FIELD)
    if not encoded:
        return None
    try:
        return _decode(base64.b64decode(encoded))
    except (ValueError, msgspec.DecodeError):
        log.warning("Secret %s holds no readable identity; it is written again", secret)
        return None


async def save_to_secret(member: Member, secret: str, identity: Identity) -> None:
    """Raises MemberUnreachable and Refused."""
    namespace, _, name = secret.partition("/")
    encoded = base64.b64encode(msgspec.json.encode(identity)).decode()
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": namespace, "name": name},
        "type": "Opaque",
        "data": {_SECRET_FIELD: encoded},
    }
    await member.call(
        "PATCH",
        _secret_path(secret),
        {"fieldManager": "towline-agent", "force": "true"},
        orjson.dumps(body),
        content_type="application/apply-patch+yaml",
    )


def _secret_path(secret: str) -> str:
    namespace, _, name = secret.partition("/")
    return f"/api/v1/namespaces/{namespace}/secrets/{name}"
