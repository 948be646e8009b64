"""ServiceAccounts' tokens: what is requested, what they claim, what ends them, and what others may ask about them."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest

from tests.api.served import Answer, Served, end, serve
from towline.certs import signing
from towline.certs.authority import CertificateError, key_pem, new_key
from towline.certs.signing import SigningKeys
from towline.hub.api.authentication import certificates_and_tokens
from towline.hub.api.tokens import ServiceAccountTokens
from towline.hub.api.user import SYSTEM, User
from towline.hub.store.cache import Cache
from towline.kube import tokens

ISSUER = "https://hub.example"
ACCOUNTS = "/api/v1/namespaces/shop/serviceaccounts"
SECRETS = "/api/v1/namespaces/shop/secrets"
PODS = "/api/v1/namespaces/shop/pods"
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
KEYS = SigningKeys([new_key()])
ADMIN = {"Authorization": "Bearer admin"}


async def _known(token: str) -> User | None:
    return SYSTEM if token == "admin" else None


@pytest.fixture
async def hub() -> AsyncIterator[Served]:
    """A server that only tokens open, with the account shop/bot. The administrator's token is `admin`."""
    served = Served()
    async with asyncio.TaskGroup() as tasks, aiohttp.ClientSession() as served.session:

        def options(cache: Cache) -> dict[str, Any]:
            tokens = ServiceAccountTokens(
                cache, KEYS, issuer=ISSUER, seconds_max=86400, now=lambda: served.clock, new_uid=served.new_uid
            )  # fmt: skip
            return {
                "authenticate": certificates_and_tokens(_known, tokens.verify),
                "actions": tokens.actions([_known]),
                "documents": tokens.documents(ISSUER),
            }

        await serve(served, tasks, of_cache=options)
        await served.create("/api/v1/namespaces", {"metadata": {"name": "shop"}}, **ADMIN)
        await served.create(ACCOUNTS, {"metadata": {"name": "bot"}}, **ADMIN)
        yield served
        await end(served)


async def ask(hub: Served, name: str = "bot", metadata: Any = None, **spec: Any) -> Answer:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    if metadata:
        body["metadata"] = metadata
    return await hub("POST", f"{ACCOUNTS}/{name}/token", body, **ADMIN)


async def token(hub: Served, **spec: Any) -> str:
    answer = await ask(hub, **spec)
    assert answer.code == 201, answer.body
    return str(answer.body["status"]["token"])


async def opens(hub: Served, token: str) -> bool:
    answer = await hub("POST", WHO, {}, Authorization=f"Bearer {token}")
    assert answer.code in (201, 401, 403)  # who may ask is not this test's
    return answer.code != 401


async def review(hub: Served, token: str, *audiences: str) -> Any:
    spec = {"token": token, "audiences": list(audiences)}
    return (await hub.create(REVIEWS, {"spec": spec}, **ADMIN))["status"]


def said(token: str) -> Any:
    return jwt.decode(token, options={"verify_signature": False})


def signed(claims: Any, keys: SigningKeys = KEYS) -> str:
    return keys.sign(claims)


def pod(name: str, **spec: Any) -> Any:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


def ref(kind: str, name: str, **more: str) -> dict[str, str]:
    return {"apiVersion": "v1", "kind": kind, "name": name, **more}


async def test_what_a_token_says(hub: Served) -> None:
    answer = await ask(hub)
    assert answer.body["spec"] == {"audiences": [ISSUER], "expirationSeconds": 3600, "boundObjectRef": None}
    assert answer.body["metadata"]["name"] == "bot"
    uid = answer.body["metadata"]["uid"]
    raw = answer.body["status"]["token"]
    now = int(hub.clock)
    assert said(raw) == {
        "aud": [ISSUER],
        "exp": now + 3600,
        "iat": now,
        "iss": ISSUER,
        "jti": said(raw)["jti"],
        "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "bot", "uid": uid}},
        "nbf": now,
        "sub": "system:serviceaccount:shop:bot",
    }
    assert jwt.get_unverified_header(raw) == {"alg": "ES256", "kid": KEYS.jwks()["keys"][0]["kid"]}
    user = (await review(hub, raw))["user"]
    assert user == {
        "username": "system:serviceaccount:shop:bot",
        "uid": uid,
        "groups": ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"],
        "extra": {"authentication.kubernetes.io/credential-id": [f"JTI={said(raw)['jti']}"]},
    }
    assert await opens(hub, raw)


@pytest.mark.parametrize(
    ("spec", "metadata", "code", "told"),
    [
        ({"expirationSeconds": 599}, None, 422, "may not specify a duration less than 10 minutes"),
        ({"expirationSeconds": 2**32 + 1}, None, 422, "may not specify a duration larger than 2^32 seconds"),
        ({"expirationSeconds": "9"}, None, 400, "cannot be handled as a TokenRequest"),
        ({"audiences": "me"}, None, 400, "cannot be handled as a TokenRequest"),
        ({}, {"name": "other"}, 422, "must match the service account name if specified"),
        ({}, {"namespace": "other"}, 400, "does not match the namespace sent on the request"),
        ({}, {"uid": "other"}, 409, "does not match the UID of the service account"),
        ({"boundObjectRef": ref("ConfigMap", "c")}, None, 400, "cannot bind token to object of type /v1, Kind=ConfigMap"),
        ({"boundObjectRef": ref("Secret", "none")}, None, 404, 'secrets "none" not found'),
        ({"boundObjectRef": ref("Pod", "none")}, None, 404, 'pods "none" not found'),
        ({"boundObjectRef": ref("Node", "none")}, None, 404, 'nodes "none" not found'),
        ({"boundObjectRef": ref("Secret", "s", uid="other")}, None, 409, "does not match the UID in record"),
        ({"boundObjectRef": ref("Pod", "p")}, None, 400, "pod running with different serviceaccount name"),
    ],
)  # fmt: skip
async def test_what_is_refused(hub: Served, spec: Any, metadata: Any, code: int, told: str) -> None:
    await hub.create(SECRETS, {"metadata": {"name": "s"}}, **ADMIN)
    await hub.create(PODS, pod("p"), **ADMIN)
    answer = await ask(hub, metadata=metadata, **spec)
    assert answer.code == code and told in answer.message, answer.body
    assert (await ask(hub, "none")).code == 404


async def test_longer_than_allowed_is_shortened(hub: Served) -> None:
    answer = await ask(hub, expirationSeconds=100_000)
    assert answer.body["spec"]["expirationSeconds"] == 86400
    assert "requested expiration of 100000 seconds shortened to 86400 seconds" in answer.headers["Warning"]
    assert said(answer.body["status"]["token"])["exp"] == int(hub.clock) + 86400


async def test_a_token_ends_with_its_time(hub: Served) -> None:
    raw = await token(hub, expirationSeconds=600)
    hub.clock += 600 + tokens.LEEWAY_SECONDS
    assert await opens(hub, raw)
    hub.clock += 1
    assert not await opens(hub, raw)
    told = await review(hub, raw)
    assert told == {"user": {}, "error": "[invalid bearer token, service account token has expired]"}
    hub.clock -= 5000
    assert "not valid yet" in (await review(hub, raw))["error"]


async def test_a_token_ends_with_its_account(hub: Served) -> None:
    raw = await token(hub)
    assert await opens(hub, raw)
    await hub("DELETE", f"{ACCOUNTS}/bot", **ADMIN)
    assert not await opens(hub, raw)
    await hub.create(ACCOUNTS, {"metadata": {"name": "bot"}}, **ADMIN)
    assert not await opens(hub, raw)
    assert "does not match claim" in (await review(hub, raw))["error"]


@pytest.mark.parametrize(
    ("kind", "path", "obj"),
    [
        ("Secret", SECRETS, {"metadata": {"name": "b"}}),
        ("Pod", PODS, pod("b", serviceAccountName="bot")),
        ("Node", "/api/v1/nodes", {"metadata": {"name": "b"}}),
    ],
)
async def test_a_token_ends_with_what_it_is_bound_to(hub: Served, kind: str, path: str, obj: Any) -> None:
    uid = (await hub.create(path, obj, **ADMIN))["metadata"]["uid"]
    raw = await token(hub, boundObjectRef=ref(kind, "b", uid=uid))
    assert said(raw)["kubernetes.io"][kind.lower()] == {"name": "b", "uid": uid}
    assert await opens(hub, raw)
    extra = (await review(hub, raw))["user"]["extra"]
    assert extra.get(f"authentication.kubernetes.io/{kind.lower()}-uid") == (
        None if kind == "Secret" else [uid]
    )
    assert (await hub("DELETE", f"{path}/b?gracePeriodSeconds=0", **ADMIN)).code == 200
    assert not await opens(hub, raw)
    await hub.create(path, obj, **ADMIN)
    assert "ref claim" in (await review(hub, raw))["error"]


async def test_a_token_is_for_whom_it_names(hub: Served) -> None:
    raw = await token(hub, audiences=["vault", "x"])
    assert not await opens(hub, raw)
    refused = await review(hub, raw)
    assert refused["error"].startswith('[invalid bearer token, token audiences ["vault" "x"] is invalid')
    told = await review(hub, raw, "vault", "y")
    assert told["authenticated"] and told["audiences"] == ["vault"]


async def test_whom_others_authenticate_has_the_audiences_of_the_api(hub: Served) -> None:
    told = await review(hub, "admin")
    assert told["user"]["username"] == SYSTEM.name and told["audiences"] == [ISSUER]
    assert await review(hub, "admin", "vault") == {"user": {}, "error": "invalid bearer token"}
    assert (await hub("POST", REVIEWS, {"spec": {}}, **ADMIN)).message == (
        "token is required for TokenReview in authentication"
    )


async def test_forged_tokens(hub: Served) -> None:
    raw = await token(hub)
    header, body, signature = raw.split(".")
    claims = said(raw)
    none = jwt.encode(claims, "", "none")
    hmac = jwt.encode(
        claims, key_pem(new_key()).hex(), "HS256", headers={"kid": KEYS.jwks()["keys"][0]["kid"]}
    )
    forged = {
        "another key": signed(claims, SigningKeys([new_key()])),
        "no signature": none,
        "a shared secret": hmac,
        "changed": f"{header}.{_encoded(claims | {'exp': claims['exp'] + 1})}.{signature}",
        "cut": f"{header}.{body}.{signature[:-4]}",
        "another issuer": signed(claims | {"iss": "https://elsewhere"}),
        "no account": signed({k: v for k, v in claims.items() if k != "kubernetes.io"}),
        "odd account": signed(claims | {"kubernetes.io": {"namespace": 1, "serviceaccount": []}}),
        "odd time": signed(claims | {"exp": True}),
        "nested": f"{_base64url(b'[' * 9000)}.{body}.{signature}",
    }
    for how, forgery in forged.items():
        assert not await opens(hub, forgery), how
    assert (await review(hub, raw + "x" * 20_000))["error"] == "invalid bearer token"
    assert not await opens(hub, "") and not await opens(hub, "a.b.c")
    assert await opens(hub, raw)


async def test_legacy_tokens_live_in_their_secret(hub: Served) -> None:
    account = (await hub.get(f"{ACCOUNTS}/bot", **ADMIN)).body["metadata"]
    holder = tokens.Account("shop", "bot", account["uid"])
    raw = signed(tokens.legacy_claims(holder, "old"))
    assert not await opens(hub, raw)
    kind = {
        "type": tokens.SECRET_TYPE,
        "metadata": {"name": "old", "annotations": {tokens.ACCOUNT_NAME: "bot"}},
    }
    await hub.create(SECRETS, {**kind, "stringData": {"token": raw}}, **ADMIN)
    assert await opens(hub, raw)
    assert (await review(hub, raw))["user"].get("extra") is None
    again = signed(tokens.legacy_claims(holder, "old"))
    assert "does not match server's copy" in (await review(hub, again))["error"]
    label = {"metadata": {"labels": {tokens.INVALID_SINCE: "2026-01-01"}}}
    await hub("PATCH", f"{SECRETS}/old", label, type="application/merge-patch+json", **ADMIN)
    assert "marked invalid" in (await review(hub, raw))["error"]
    await hub("DELETE", f"{SECRETS}/old", **ADMIN)
    assert "Token has been invalidated" in (await review(hub, raw))["error"]


async def test_only_creations(hub: Served) -> None:
    assert (await hub.get(f"{ACCOUNTS}/bot/token", **ADMIN)).code == 405
    assert (await hub.get(REVIEWS, **ADMIN)).code == 405
    assert (await hub.get(f"{REVIEWS}/x", **ADMIN)).code == 404
    assert (await hub("POST", "/api/v1/namespaces/shop/configmaps/c/token", {}, **ADMIN)).code == 404
    listed = (await hub.get("/api/v1", **ADMIN)).body["resources"]
    assert {
        "name": "serviceaccounts/token", "singularName": "", "namespaced": True, "group": "authentication.k8s.io",
        "version": "v1", "kind": "TokenRequest", "verbs": ["create"],
    } in listed  # fmt: skip
    named = (await hub.get("/apis/authentication.k8s.io/v1", **ADMIN)).body["resources"]
    assert [row["name"] for row in named] == ["selfsubjectreviews", "tokenreviews"]


async def test_unknown_fields_are_told(hub: Served) -> None:
    body = {"spec": {"audience": "x"}}
    answer = await hub("POST", f"{ACCOUNTS}/bot/token", body, **ADMIN)
    assert answer.code == 201 and 'unknown field \\"spec.audience\\"' in answer.headers["Warning"]
    assert (await hub("POST", f"{ACCOUNTS}/bot/token?fieldValidation=Strict", body, **ADMIN)).code == 400


async def test_others_can_verify_by_themselves(hub: Served) -> None:
    found = (await hub.get("/.well-known/openid-configuration", **ADMIN)).body
    assert found["issuer"] == ISSUER and found["jwks_uri"] == f"{ISSUER}/openid/v1/jwks"
    answer = await hub.get("/openid/v1/jwks", **ADMIN)
    assert answer.headers["Content-Type"].startswith("application/jwk-set+json")
    key = jwt.PyJWKSet.from_dict(json.loads(answer.raw))[KEYS.jwks()["keys"][0]["kid"]]
    jwt.decode(await token(hub), key, ["ES256"], audience=ISSUER, options={"verify_exp": False, "verify_iat": False, "verify_nbf": False})  # fmt: skip
    assert (await hub.get("/openid/v1/jwks")).code == 401


def test_keys_come_and_go(tmp_path: Path) -> None:
    first = signing.load_or_create(tmp_path / "pki")
    path = tmp_path / "pki" / signing.FIRST
    assert path.stat().st_mode & 0o777 == 0o600
    old = first.sign({"sub": "a"})
    assert signing.load_or_create(tmp_path / "pki").claims(old) == {"sub": "a"}
    (tmp_path / "pki" / "sa-0002.key").write_bytes(key_pem(new_key()))
    both = signing.load_or_create(tmp_path / "pki")
    new = both.sign({"sub": "b"})
    assert both.claims(old) == {"sub": "a"} and both.claims(new) == {"sub": "b"}
    with pytest.raises(signing.SignatureError):
        first.claims(new)
    path.unlink()
    with pytest.raises(signing.SignatureError):
        signing.load_or_create(tmp_path / "pki").claims(old)
    path.write_bytes(b"damaged")
    with pytest.raises(CertificateError):
        signing.load_or_create(tmp_path / "pki")


def _encoded(value: Any) -> str:
    return _base64url(json.dumps(value).encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
