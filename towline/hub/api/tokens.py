"""ServiceAccounts' tokens at the API: they are requested (`serviceaccounts/token`), verified with every request, and reviewed
for others (`tokenreviews`).

A token's signature is verified once and remembered; that its account, and what it is bound to, still live is looked up
each time, so that a deletion ends a token at once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import orjson

from towline.hub.api import status
from towline.hub.api.actions import Acted, Action, Actions
from towline.hub.api.authentication import InvalidToken, Verify, first_of
from towline.hub.api.discovery import Document
from towline.hub.api.paths import Attributes
from towline.hub.api.user import AUTHENTICATED, User
from towline.hub.decide.conditions import rfc3339
from towline.hub.store.cache import Cache
from towline.hub.store.watch import Entry
from towline.kube import errors, schemas, tokens
from towline.kube.kinds import Kind
from towline.kube.objects import Key, Meta, Object, group_version
from towline.kube.tokens import Account, Reference, Refused

GROUP, VERSION = "authentication.k8s.io", "v1"
CONFIGURATION, JWKS = "/.well-known/openid-configuration", "/openid/v1/jwks"
TOKEN_BYTES_MAX = 16 * 1024
VERIFIED_MAX = 4096
"""Tokens whose verified claims are kept; the one used longest ago goes first."""


class Keys(Protocol):
    """Signs, and verifies signatures: certs/signing.py."""

    def sign(self, claims: Mapping[str, Any]) -> str: ...

    def claims(self, token: str) -> dict[str, Any]:
        """Raises ValueError for a signature that is none of these keys'."""

    def jwks(self) -> dict[str, Any]: ...


class _Known(NamedTuple):
    """A token whose signature is right, as it was read."""

    said: Mapping[str, Any]
    account: Account
    user: User
    audiences: tuple[str, ...]


class ServiceAccountTokens:
    """`audiences` are the API's own, the issuer when there are none. `seconds_max` shortens what is requested; 0: not."""

    def __init__(
        self,
        cache: Cache,
        keys: Keys,
        *,
        issuer: str,
        audiences: Sequence[str] = (),
        seconds_max: int = 0,
        now: Callable[[], float],
        new_uid: Callable[[], str],
    ) -> None:
        self._cache = cache
        self._keys = keys
        self._issuer = issuer
        self.audiences = tuple(audiences) or (issuer,)
        self._seconds_max = seconds_max
        self._now = now
        self._new_uid = new_uid
        self._verified: OrderedDict[bytes, _Known] = OrderedDict()

    def actions(self, others: Sequence[Verify] = ()) -> Actions:
        """What the API server offers. `others` verify what is no ServiceAccount's token; they know no audiences."""

        async def review(user: User, at: Attributes, obj: Object) -> Acted:
            return Acted(await self._review(obj, others))

        return {
            ("", "serviceaccounts", "token"): Action(_kind("TokenRequest"), self._request),
            (GROUP, "tokenreviews", ""): Action(_kind("TokenReview"), review),
        }

    def documents(self, url: str) -> Mapping[str, Document]:
        """What others need to verify tokens by themselves, by path. `url` is where the API is reached."""
        configuration = {
            "issuer": self._issuer,
            "jwks_uri": f"{url}{JWKS}",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }
        return {
            CONFIGURATION: _document(configuration, "application/json"),
            JWKS: _document(self._keys.jwks(), "application/jwk-set+json"),
        }

    # --- verifying -------------------------------------------------------------------------------------------

    async def verify(self, token: str) -> User | None:
        """The ServiceAccount of a token for this API. None for what is no ServiceAccount's token; raises InvalidToken."""
        found = self.check(token, self.audiences)
        return None if found is None else found[0]

    def check(self, token: str, audiences: Sequence[str]) -> tuple[User, list[str]] | None:
        """The user of a token, and for which of `audiences` it is. None for what is no ServiceAccount's token; raises
        InvalidToken."""
        if len(token) > TOKEN_BYTES_MAX:
            return None
        try:
            known = self._known(token)
            if known is None:
                return None
            common = [audience for audience in known.audiences if audience in audiences]
            if not common:
                raise Refused(
                    f"token audiences {_quoted(known.audiences)} is invalid for the target audiences "
                    f"{_quoted(audiences)}"
                )
            self._check_now(token, known)
        except ValueError as error:
            raise InvalidToken(str(error)) from None
        return known.user, common

    def _known(self, token: str) -> _Known | None:
        digest = hashlib.sha256(token.encode()).digest()
        known = self._verified.get(digest)
        if known is not None:
            self._verified.move_to_end(digest)
            return known
        if unverified_issuer(token) not in (self._issuer, tokens.LEGACY_ISSUER):
            return None
        said = self._keys.claims(token)
        account = tokens.account_of(said)
        groups = (*account.groups, AUTHENTICATED)
        user = User(account.username, groups, account.uid, account.extra())
        known = _Known(said, account, user, tuple(tokens.audiences_of(said)) or self.audiences)
        self._verified[digest] = known
        if len(self._verified) > VERIFIED_MAX:
            self._verified.popitem(last=False)
        return known

    def _check_now(self, token: str, known: _Known) -> None:
        """Raises Refused when the token's time is over, or something that it needs is gone."""
        if known.said.get("iss") != tokens.LEGACY_ISSUER:
            tokens.check(known.said, known.account, self._now(), self._look)
            return
        entry = self._cache.get(tokens.secret_of(known.said))
        secret = None if entry is None else entry.object
        tokens.check_legacy(known.account, secret, _holds(secret, token), self._look)

    def _look(self, key: Key) -> Meta | None:
        entry = self._cache.get(key)
        return None if entry is None else entry.meta

    # --- TokenReview -----------------------------------------------------------------------------------------

    async def _review(self, obj: Object, others: Sequence[Verify]) -> Object:
        spec = obj.get("spec") or {}
        token, audiences = spec.get("token"), spec.get("audiences") or self.audiences
        if not token:
            raise status.bad_request("token is required for TokenReview in authentication")
        try:
            found = self.check(token, audiences)
            if found is None and set(audiences) & set(self.audiences):
                user = await first_of(others, token)
                common = [audience for audience in audiences if audience in self.audiences]
                found = None if user is None else (user, common)
        except InvalidToken as error:
            return {**obj, "status": {"user": {}, "error": f"[invalid bearer token, {error}]"}}
        if found is None:
            return {**obj, "status": {"user": {}, "error": "invalid bearer token"}}
        user, common = found
        return {**obj, "status": {"authenticated": True, "user": user.info(), "audiences": common}}

    # --- TokenRequest ----------------------------------------------------------------------------------------

    async def _request(self, user: User, at: Attributes, obj: Object) -> Acted:
        wanted = obj.get("spec") or {}
        given = obj["metadata"].get("name")
        if given and given != at.name:
            wrong = [
                errors.invalid("metadata.name", given, "must match the service account name if specified")
            ]
            raise status.invalid_fields(GROUP, "TokenRequest", at.name, wrong)
        entry = self._stored(Key(*tokens.ACCOUNTS, at.namespace, at.name))
        uid = obj["metadata"].get("uid")
        if uid and uid != entry.meta.uid:
            told = f"the UID in the token request ({uid}) does not match the UID of the service account ({entry.meta.uid})"
            raise _conflict(GROUP, "TokenRequest", at.name, told)
        seconds = wanted.get("expirationSeconds", tokens.DEFAULT_SECONDS)
        wrong = tokens.check_seconds(seconds)
        if wrong:
            raise status.invalid_fields(GROUP, "TokenRequest", "", wrong)
        bound = self._bound(at, wanted.get("boundObjectRef"))
        warnings: tuple[str, ...] = ()
        if 0 < self._seconds_max < seconds:
            warnings = (
                f"requested expiration of {seconds} seconds shortened to {self._seconds_max} seconds",
            )
            seconds = self._seconds_max
        account = Account(at.namespace, at.name, entry.meta.uid, self._new_uid(), bound)
        audiences = wanted.get("audiences") or list(self.audiences)
        now = self._now()
        token = self._keys.sign(tokens.claims(account, self._issuer, audiences, seconds, now))
        metadata = {
            **obj["metadata"],
            "name": at.name,
            "namespace": at.namespace,
            "uid": entry.meta.uid,
            "creationTimestamp": rfc3339(now),
        }
        spec = {
            "audiences": audiences,
            "expirationSeconds": seconds,
            "boundObjectRef": wanted.get("boundObjectRef"),
        }
        answer = {"token": token, "expirationTimestamp": rfc3339(int(now) + seconds)}
        return Acted({**obj, "metadata": metadata, "spec": spec, "status": answer}, warnings)

    def _bound(self, at: Attributes, wanted: Mapping[str, Any] | None) -> dict[str, Reference]:
        """What the token is to be bound to, by kind. Raises 400, 404, 409."""
        if wanted is None:
            return {}
        group, version = group_version(wanted.get("apiVersion") or "")
        kind, name = wanted.get("kind") or "", wanted.get("name") or ""
        if group or kind not in tokens.BOUND:
            told = f"{group}/{version}, Kind={kind}"
            raise status.bad_request(f"cannot bind token to object of type {told}")
        plural, namespaced = tokens.BOUND[kind]
        entry = self._stored(Key("", plural, at.namespace if namespaced else "", name))
        bound = {kind: Reference(name, entry.meta.uid)}
        if kind == "Pod":
            spec = entry.object.get("spec") or {}
            if spec.get("serviceAccountName") != at.name:
                raise status.bad_request(
                    f'cannot bind token for serviceaccount "{at.name}" to pod running with different serviceaccount name.'
                )
            if spec.get("nodeName"):
                node = self._cache.get(Key("", "nodes", "", spec["nodeName"]))
                bound["Node"] = Reference(spec["nodeName"], "" if node is None else node.meta.uid)
        uid = wanted.get("uid") or ""
        if uid and uid != entry.meta.uid:
            told = (
                f"the UID in the bound object reference ({uid}) does not match the UID in record. "
                "The object might have been deleted and then recreated"
            )
            raise _conflict(group, kind, name, told)
        return bound

    def _stored(self, key: Key) -> Entry:
        entry = self._cache.get(key)
        if entry is None:
            details = {"name": key.name, "kind": key.resource}
            raise status.StatusError(404, "NotFound", f'{key.resource} "{key.name}" not found', details)
        return entry


def unverified_issuer(token: str) -> str | None:
    """The issuer that a token names, before anybody has looked at its signature; None for what is no JWT."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        said = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return None
    issuer = said.get("iss") if isinstance(said, dict) else None
    return issuer if isinstance(issuer, str) else None


def _holds(secret: Mapping[str, Any] | None, token: str) -> bool:
    """Whether a Secret's data.token is `token`."""
    held = ((secret or {}).get("data") or {}).get("token") or ""
    return hmac.compare_digest(held, base64.b64encode(token.encode()).decode())


def _kind(name: str) -> Kind:
    schema = schemas.builtin(f"io.k8s.api.authentication.{VERSION}.{name}")
    return Kind(GROUP, VERSION, name, f"{name.lower()}s", namespaced=False, schema=schema, verbs=("create",))


def _conflict(group: str, kind: str, name: str, why: str) -> status.StatusError:
    label = f"{kind}.{group}" if group else kind
    details = {"name": name, "group": group, "kind": kind}
    message = f'Operation cannot be fulfilled on {label} "{name}": {why}'
    return status.StatusError(409, "Conflict", message, {k: v for k, v in details.items() if v})


def _quoted(texts: Sequence[str]) -> str:
    return "[" + " ".join(f'"{text}"' for text in texts) + "]"


def _document(value: Any, content_type: str) -> Document:
    body = orjson.dumps(value)
    return Document(body, content_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
