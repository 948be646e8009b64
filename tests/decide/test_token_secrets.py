"""Secrets that hold a ServiceAccount's token: filled, kept up, and gone with their account."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from tests.decide.world import World
from towline.hub.decide import token_secrets
from towline.hub.decide.plan import NOTHING, Plan
from towline.kube import tokens
from towline.kube.objects import Key, Object, annotations_of, uid_of

KEY = Key("", "secrets", "shop", "old")
ACCOUNT = Key("", "serviceaccounts", "shop", "bot")
CA = b"the authority"


def sign(claims: Mapping[str, Any]) -> str:
    return f"signed {claims['sub']} in {claims['kubernetes.io/serviceaccount/secret.name']}"


def account() -> Object:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "bot", "namespace": "shop"}}


def secret(type: str = tokens.SECRET_TYPE, **metadata: Any) -> Object:
    annotations = {tokens.ACCOUNT_NAME: "bot"}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "old", "namespace": "shop", "annotations": annotations, **metadata},
        "type": type,
    }


def decided(world: World) -> Plan:
    return token_secrets.decide(world, KEY, world.now, sign, CA)


def settle(world: World) -> Object | None:
    world.settle(token_secrets.decide, KEY, sign, CA)
    return world.objects.get(KEY)


def read(found: Object | None) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in ((found or {}).get("data") or {}).items()}


def a_world(*objects: Object) -> World:
    world = World()
    for obj in objects:
        world.put(obj)
    return world


def test_a_secret_is_filled() -> None:
    world = a_world(account(), secret())
    found = settle(world)
    assert read(found) == {
        "ca.crt": CA.decode(),
        "namespace": "shop",
        "token": "signed system:serviceaccount:shop:bot in old",
    }
    assert found and annotations_of(found)[tokens.ACCOUNT_UID] == uid_of(world.objects[ACCOUNT])


def test_what_is_there_stays_but_the_authority_is_ours() -> None:
    world = a_world(account(), secret())
    found = settle(world)
    assert found is not None
    mine = {"token": base64.b64encode(b"mine").decode(), "ca.crt": "", "more": ""}
    world.put({**found, "data": mine})
    assert read(settle(world)) == {"ca.crt": CA.decode(), "namespace": "shop", "token": "mine", "more": ""}


def test_a_secret_goes_with_its_account() -> None:
    world = a_world(account(), secret())
    settle(world)
    world.delete(ACCOUNT)
    world.put(account())  # another one of the same name
    assert settle(world) is None
    assert settle(a_world(secret())) is None
    held = settle(a_world(secret(finalizers=["example.com/held"])))
    assert held is not None and held["metadata"]["deletionTimestamp"]


def test_other_secrets_are_left_alone() -> None:
    assert decided(a_world(account(), secret(type="Opaque"))) == NOTHING
    assert decided(a_world(account(), secret(annotations={}))) == NOTHING
    assert decided(World()) == NOTHING
