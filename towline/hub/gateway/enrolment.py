"""How a cluster becomes a member: join tokens, and the certificate that one buys.

Mounted on the API's HTTPS port, because grpc has no optional client certificate:

    GET    /towline/v1/ca          anybody  -> {ca: PEM}; the agent looks in it for the fingerprint in its token
    POST   /towline/v1/jointokens           {name, region?, zone? | zones?, provider?, labels?, ttlSeconds?}
                                            -> 201 {token, name, expires, hubs: [host:port], replaced, joined}
    GET    /towline/v1/jointokens           -> {items: [{name, expires, used, expired}]}
    DELETE /towline/v1/jointokens           {name} -> {name}
    POST   /towline/v1/revocations          {name} -> 201 {name, generation}
    POST   /towline/v1/enroll      anybody  {name, secret, csr (PEM), clusterUID}
                                            -> 200 {cluster, certificate, ca, gateways: [host:port]}

Who may do what to `jointokens` and `revocations` of `towline.io`, RBAC says (hub/routes). A token is bound to one name, lives an
hour, is stored hashed, and buys one certificate: a retry with the same key gets another leaf (the first answer was lost),
another key is refused. What is refused is audited, changes nothing and is answered with a Kubernetes Status.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from towline.certs import tokens
from towline.certs.authority import (
    AgentIdentity,
    CertificateError,
    public_key_hash,
    public_key_of_request,
)  # fmt: skip
from towline.hub.gateway.revocation import generation_of, revoked
from towline.hub.store.contract import Conflict, Unavailable, Write
from towline.kube import names
from towline.kube.objects import Key, Object, encode, is_deleting, name_of, uid_of

log = logging.getLogger(__name__)

CLUSTER_API_VERSION = "cluster.karmada.io/v1alpha1"
TTL_SECONDS_MAX = 7 * 24 * 3600
_TEXT_LENGTH_MAX = 16 * 1024
_USED_TWICE = "the join token of cluster {} was used already"


TOKENS = ("towline.io", "jointokens")
MEMBERS = ("towline.io", "members")
_KUBE_SYSTEM = Key("", "namespaces", "", "kube-system")
"""Its uid is that of a cluster, also of the hub as one."""
FORGET_SECONDS = 24 * 3600
"""So long an expired token is listed."""
_FORGOTTEN_MAX = 100
_JOINING_SECONDS_MAX = 60.0
"""How long an enrolment may take from the token's use to the Cluster."""


class Issuer(Protocol):
    """The hub's authorities: whom to trust, who vouches for the hub, and a signature under an agent's certificate."""

    @property
    def bundle_pem(self) -> bytes: ...

    @property
    def fingerprints(self) -> Sequence[str]: ...

    def issue_agent(self, identity: AgentIdentity, public_key: Any, now: float) -> bytes: ...


class TokenRow(Protocol):
    @property
    def object(self) -> Object: ...
    @property
    def revision(self) -> int: ...


class TokenStore(Protocol):
    """Where join tokens are kept: the hub's cache."""

    def get(self, key: Key) -> TokenRow | None: ...

    def list(self, group: str, resource: str) -> Iterable[TokenRow]: ...

    async def commit(self, writes: Sequence[Write]) -> int: ...


class Clusters(Protocol):
    """The Cluster objects, written through the API's admission."""

    def get(self, name: str) -> Object | None: ...

    def list(self) -> Sequence[Object]: ...

    async def write(self, obj: Object) -> Object:
        """Create `obj`, or replace it when it has a resourceVersion; answers what was stored."""


class Answer(NamedTuple):
    """An HTTP status and its JSON body."""

    status: int
    body: Object


async def is_latest() -> None:
    """`catch_up` where no other hub can be on the store."""


class Refusal(Exception):
    """Why a request is not granted, as a Kubernetes Status says it. `field` names the field of the body that is wrong."""

    def __init__(self, code: int, reason: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.field = field

    def answer(self) -> Answer:
        body: Object = {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        }  # fmt: skip
        if self.field:
            body["details"] = {"causes": [{"field": self.field, "message": self.message}]}
        return Answer(self.code, body)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """`apis()` (host:port of the hubs' APIs, this one's first) goes into tokens, `gateways()` into certificates' answers; `catch_up()`
    waits until what other hubs committed before is seen here. `audit` takes one dict for each decision; `now` is epoch seconds."""

    authority: Issuer
    store: TokenStore
    clusters: Clusters
    apis: Callable[[], Sequence[str]]
    gateways: Callable[[], Sequence[str]]
    audit: Callable[[dict[str, Any]], None]
    now: Callable[[], float]
    catch_up: Callable[[], Awaitable[None]] = is_latest
    new_secret: Callable[[], str] = field(default=tokens.new_secret)
    one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    def ca(self) -> Answer:
        return Answer(200, {"ca": self.authority.bundle_pem.decode()})

    async def create_token(self, body: Any, user: str, refused: str) -> Answer:
        """A join token for `body["name"]`; it replaces an earlier one of that name. `refused` is why
        `user` may make none, or ""."""
        return await self._decide("jointoken", body, user, lambda: self._create_token(body, refused))

    async def tokens(self, body: Any, user: str, refused: str) -> Answer:
        """The join tokens there are, without their secrets."""
        if refused:
            return Refusal(403, "Forbidden", refused).answer()
        return Answer(200, {"items": [self._described(row) for row in self.store.list(*TOKENS)]})

    async def revoke_token(self, body: Any, user: str, refused: str) -> Answer:
        """The join token of `body["name"]` is good no more."""
        return await self._decide("revoke jointoken", body, user, lambda: self._revoke_token(body, refused))

    async def revoke(self, body: Any, user: str, refused: str) -> Answer:
        """No certificate and no join token that cluster `body["name"]` has is good any more; its session ends."""
        return await self._decide("revoke", body, user, lambda: self._revoke(body, user, refused))

    async def enroll(self, body: Any) -> Answer:
        """A certificate for whoever has the secret and a key of its own."""
        return await self._decide("enroll", body, "", lambda: self._enroll(body))

    async def _decide(
        self, verb: str, body: Any, user: str, decide: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        named = body.get("name") if isinstance(body, Mapping) else None
        event: dict[str, Any] = {"verb": verb, "cluster": str(named or "")[:253], "user": user}
        try:
            answer = await decide()
        except Refusal as refusal:
            event |= {
                "decision": "refused",
                "code": refusal.code,
                "reason": refusal.reason,
                "message": refusal.message,
            }
            self.audit(event)
            return refusal.answer()
        except Unavailable:
            return Refusal(503, "ServiceUnavailable", "the hub's store cannot be reached; try again").answer()
        self.audit(event | {"decision": "granted", "code": answer.status})
        return answer

    # --- join tokens ---------------------------------------------------------------------------------------------

    async def _create_token(self, body: Any, refused: str) -> Answer:
        if refused:
            raise Refusal(403, "Forbidden", refused)
        name = _text(body, "name")
        for problem in names.validate_cluster_name(name):
            raise Refusal(422, "Invalid", f"name: {problem}", "name")
        ttl_seconds = body.get("ttlSeconds", tokens.TTL_SECONDS)
        if type(ttl_seconds) is not int or not 0 < ttl_seconds <= TTL_SECONDS_MAX:
            raise Refusal(422, "Invalid", f"ttlSeconds: must be from 1 to {TTL_SECONDS_MAX}", "ttlSeconds")
        secret = self.new_secret()
        expires = self.now() + ttl_seconds
        trusts = list(self.authority.fingerprints)
        spec = {
            "hash": tokens.hash_of(secret), "expires": expires, "cluster": _traits(body), "authorities": trusts,
        }  # fmt: skip
        row = self.store.get(_token_key(name))
        await self._write_token(name, spec, row.revision if row is not None else 0, self._forgotten(name))
        hubs = list(self.apis())
        token = tokens.JoinToken(",".join(hubs), ",".join(trusts), name, secret)
        told = {
            "replaced": row is not None and is_unused(row.object["spec"], self.now()),
            "joined": bool(_member_uid(self.clusters.get(name) or {})),
        }
        return Answer(201, {"token": token.encode(), "name": name, "expires": expires, "hubs": hubs, **told})

    async def _revoke_token(self, body: Any, refused: str) -> Answer:
        if refused:
            raise Refusal(403, "Forbidden", refused)
        name = _text(body, "name")
        row = self.store.get(_token_key(name)) if not names.validate_cluster_name(name) else None
        if row is None:
            raise Refusal(404, "NotFound", f"there is no join token for cluster {name[:64]}")
        await self._commit([Write(_token_key(name).path(), None, row.revision)], f"the join token of {name}")
        return Answer(200, {"name": name})

    async def _revoke(self, body: Any, user: str, refused: str) -> Answer:
        if refused:
            raise Refusal(403, "Forbidden", refused)
        name = _text(body, "name")
        cluster = self.clusters.get(name) if not names.validate_cluster_name(name) else None
        if cluster is None:
            raise Refusal(404, "NotFound", f"there is no cluster {name[:64]}")
        writes = [revoked(self.store, cluster, user, self.now())]
        token = self.store.get(_token_key(name))
        if token is not None:  # within its hour, the key that used it could buy another certificate with it
            writes.append(Write(_token_key(name).path(), None, token.revision))
        await self._commit(writes, f"the certificates of {name}")
        return Answer(201, {"name": name, "generation": generation_of(self.store, cluster)})

    def _described(self, row: TokenRow) -> Object:
        spec = row.object["spec"]
        expires = spec["expires"]
        return {
            "name": name_of(row.object), "expires": expires, "used": bool(spec.get("usedBy")),
            "expired": self.now() >= expires,
        }  # fmt: skip

    def _forgotten(self, besides: str) -> list[Write]:
        """The end of tokens and reservations that nobody asks for any more."""
        before = self.now() - FORGET_SECONDS
        old = [row for row in self.store.list(*TOKENS) if row.object["spec"]["expires"] < before]
        gone = [(_token_key(name_of(row.object)), row) for row in old if name_of(row.object) != besides]
        members = [row for row in self.store.list(*MEMBERS) if row.object["spec"]["at"] < before]
        gone += [(Key(*MEMBERS, "", name_of(row.object)), row) for row in members]
        return [Write(key.path(), None, row.revision) for key, row in gone[:_FORGOTTEN_MAX]]

    # --- enrolment -----------------------------------------------------------------------------------------------

    async def _enroll(self, body: Any) -> Answer:
        name, secret = _text(body, "name"), _text(body, "secret")
        await self.catch_up()  # the token may have been made, or redeemed, at another hub just now
        self._valid_token(name, secret)  # strangers keep nobody waiting
        async with self.one_at_a_time:  # so that a member that asks for two names at once gets one
            return await self._redeem(body, name, secret)

    async def _redeem(self, body: Any, name: str, secret: str) -> Answer:
        row = self._valid_token(name, secret)
        cluster_uid = _text(body, "clusterUID")
        try:
            public_key = public_key_of_request(_text(body, "csr").encode())
        except CertificateError as error:
            raise Refusal(400, "BadRequest", f"csr: {error}", "csr") from None
        key_hash = public_key_hash(public_key)
        used_by = row.object["spec"].get("usedBy", "")
        if used_by not in ("", key_hash):
            raise Refusal(401, "Unauthorized", _USED_TWICE.format(name))
        cluster = self._joinable(name, cluster_uid)
        if not used_by:
            spec = {**row.object["spec"], "usedBy": key_hash}
            await self._write_token(name, spec, row.revision, [self._reservation(name, cluster_uid)])
        cluster = await self._joined(cluster, name, cluster_uid, row.object["spec"]["cluster"])
        if not self._still_stands(name, secret):
            raise Refusal(401, "Unauthorized", f"the join token of cluster {name} was revoked just now")
        identity = AgentIdentity(name, uid_of(cluster), generation_of(self.store, cluster))
        certificate = self.authority.issue_agent(identity, public_key, self.now())
        log.info("cluster %s is enrolled", name)
        return Answer(
            200,
            {
                "cluster": name,
                "certificate": certificate.decode(),
                "ca": self.authority.bundle_pem.decode(),
                "gateways": list(self.gateways()),
            },
        )

    def _valid_token(self, name: str, secret: str) -> TokenRow:
        """Says no more about a wrong secret than about a name that has no token."""
        row = self.store.get(_token_key(name)) if not names.validate_cluster_name(name) else None
        stored_hash = row.object["spec"]["hash"] if row is not None else tokens.hash_of("")
        if not tokens.matches(secret, stored_hash) or row is None:
            raise Refusal(401, "Unauthorized", f"the join token is not valid for cluster {name[:64]}")
        if self.now() >= row.object["spec"]["expires"]:
            raise Refusal(
                401,
                "Expired",
                f"the join token of cluster {name} has expired",
            )
        return row

    def _still_stands(self, name: str, secret: str) -> bool:
        """A revocation that came while the Cluster was written counts."""
        row = self.store.get(_token_key(name))
        return row is not None and tokens.matches(secret, row.object["spec"]["hash"])

    def _joinable(self, name: str, cluster_uid: str) -> Object | None:
        """The Cluster of this name if there is one; refuses when member and name do not belong together."""
        ours = self.store.get(_KUBE_SYSTEM)
        if ours is not None and uid_of(ours.object) == cluster_uid:
            told = (
                "this member is the hub itself; give the agent the kubeconfig of the cluster that is to join"
            )
            raise Refusal(409, "Conflict", told)
        for other in self.clusters.list():
            if name_of(other) != name and _member_uid(other) == cluster_uid:
                raise Refusal(
                    409,
                    "Conflict",
                    f"this member is joined already, as cluster {name_of(other)}; detach it first, with "
                    f"`towline unjoin {name_of(other)}`",
                )
        reserved = self.store.get(_member_key(cluster_uid))
        if reserved is not None:
            spec = reserved.object["spec"]
            if spec["cluster"] != name and self.now() < spec["at"] + _JOINING_SECONDS_MAX:
                told = f"this member is joining just now, as cluster {spec['cluster']}"
                raise Refusal(409, "Conflict", told)
        cluster = self.clusters.get(name)
        if cluster is None:
            return None
        if is_deleting(cluster):
            raise Refusal(409, "Conflict", f"cluster {name} is being detached; try again when it is gone")
        if _member_uid(cluster) not in ("", cluster_uid):
            told = f"another member is joined as cluster {name}; choose another name, or detach that one with `towline unjoin {name}`"
            raise Refusal(409, "Conflict", told)
        return cluster

    def _reservation(self, name: str, cluster_uid: str) -> Write:
        """Keeps the member for this name while its Cluster is being written, also before other hubs."""
        key = _member_key(cluster_uid)
        row = self.store.get(key)
        spec = {"cluster": name, "at": self.now()}
        obj = {"apiVersion": "towline.io/v1", "kind": "Member", "metadata": {"name": key.name}, "spec": spec}
        return Write(key.path(), encode(obj), row.revision if row is not None else 0)

    async def _joined(
        self, cluster: Object | None, name: str, cluster_uid: str, traits: Mapping[str, Any]
    ) -> Object:
        if cluster is None:
            labels = {"labels": traits["labels"]} if traits.get("labels") else {}
            spec = {"syncMode": "Pull", "id": cluster_uid}
            spec |= {k: traits[k] for k in ("region", "zones", "provider") if traits.get(k)}
            cluster = {
                "apiVersion": CLUSTER_API_VERSION, "kind": "Cluster",
                "metadata": {"name": name, **labels}, "spec": spec,
            }  # fmt: skip
        elif _member_uid(cluster):
            return cluster
        else:
            cluster = {**cluster, "spec": {**(cluster.get("spec") or {}), "id": cluster_uid}}
        return await self.clusters.write(cluster)

    async def _write_token(
        self, name: str, spec: Mapping[str, Any], expected: int, beside: Sequence[Write] = ()
    ) -> None:
        row = {"apiVersion": "towline.io/v1", "kind": "JoinToken", "metadata": {"name": name}, "spec": spec}
        write = Write(_token_key(name).path(), encode(row), expected)
        await self._commit([write, *beside], f"the join token of cluster {name}")

    async def _commit(self, writes: Sequence[Write], what: str) -> None:
        try:
            await self.store.commit(writes)
        except Conflict:
            raise Refusal(409, "Conflict", f"somebody else used or replaced {what} just now") from None


def is_unused(spec: Mapping[str, Any], now: float) -> bool:
    """Whether the join token of this row is still good for somebody."""
    return not spec.get("usedBy") and now < spec["expires"]


def _token_key(name: str) -> Key:
    return Key(*TOKENS, "", name)


def _member_key(cluster_uid: str) -> Key:
    return Key(*MEMBERS, "", hashlib.sha256(cluster_uid.encode()).hexdigest())


def _member_uid(cluster: Object) -> str:
    return str((cluster.get("spec") or {}).get("id") or "")


def _text(body: Any, name: str) -> str:
    value = body.get(name) if isinstance(body, Mapping) else None
    if not isinstance(value, str) or not 0 < len(value) <= _TEXT_LENGTH_MAX:
        raise Refusal(400, "BadRequest", f"{name}: a text is required", name)
    return value


def _traits(body: Mapping[str, Any]) -> Object:
    """What the Cluster object is to say, checked now so that enrolment cannot fail on it."""
    zones = body.get("zones") or ([body["zone"]] if body.get("zone") else [])
    labels = body.get("labels") or {}
    if not isinstance(zones, list) or not isinstance(labels, Mapping):
        raise Refusal(422, "Invalid", "zones must be a list and labels a map", "labels")
    values = {"region": body.get("region") or "", "provider": body.get("provider") or ""}
    checked = [*values.items(), *(("zones", zone) for zone in zones)]
    checked += [(f"labels[{key}]", value) for key, value in labels.items()]
    for path, value in checked:
        problems = names.validate_label_value(value) if isinstance(value, str) else ["must be a string"]
        if problems:
            raise Refusal(422, "Invalid", f"{path}: {problems[0]}", path)
    for key in labels:
        for problem in names.validate_qualified_name(key):
            raise Refusal(422, "Invalid", f"labels: {problem}", "labels")
    return {**values, "zones": zones, "labels": dict(labels)}
