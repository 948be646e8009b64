"""Who asks: certificates, and acting as somebody else."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.objects import CONFIGMAPS, configmap
from tests.api.served import Served
from towline.hub.api import impersonation
from towline.hub.api.authentication import of_certificate
from towline.hub.api.status import StatusError
from towline.hub.api.user import User

WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
UID = "1.3.6.1.4.1.57683.2"


def certificate(*attributes: tuple[str, str]) -> dict[str, Any]:
    return {"subject": tuple((attribute,) for attribute in attributes)}


@pytest.mark.parametrize(
    ("attributes", "user"),
    [
        ([("commonName", "jane")], User("jane", ("system:authenticated",))),
        ([("organizationName", "a"), ("commonName", "jane"), (UID, "7")], User("jane", ("a", "system:authenticated"), "7")),
        ([("commonName", "jane"), (UID, "7"), (UID, "8")], None),
        ([("commonName", "jane"), (UID, "")], None),
        ([("organizationName", "a")], None),
    ],
)  # fmt: skip
def test_a_certificate_names_its_user(attributes: list[tuple[str, str]], user: User | None) -> None:
    assert of_certificate(certificate(*attributes)) == user


@pytest.mark.parametrize(
    ("headers", "name", "groups", "needed"),
    [
        ({"User": "jane"}, "jane", ["system:authenticated"], [("users", "", "jane")]),
        ({"User": "jane", "Group": "dev"}, "jane", ["dev", "system:authenticated"],
         [("users", "", "jane"), ("groups", "", "dev")]),
        ({"User": "jane", "Group": "system:unauthenticated"}, "jane", ["system:unauthenticated"],
         [("users", "", "jane"), ("groups", "", "system:unauthenticated")]),
        ({"User": "system:anonymous"}, "system:anonymous", ["system:unauthenticated"],
         [("users", "", "system:anonymous")]),
        ({"User": "system:serviceaccount:shop:bot"}, "system:serviceaccount:shop:bot",
         ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"],
         [("serviceaccounts", "shop", "bot")]),
        ({"User": "jane", "Uid": "7", "Extra-Acme.com%2fTeam": "x"}, "jane", ["system:authenticated"],
         [("users", "", "jane"), ("userextras/acme.com/team", "", "x"), ("uids", "", "7")]),
    ],
)  # fmt: skip
def test_what_the_headers_ask_for(
    headers: dict[str, str], name: str, groups: list[str], needed: list[tuple[str, str, str]]
) -> None:
    found = impersonation.asked([(f"Impersonate-{k}".encode(), v.encode()) for k, v in headers.items()])
    assert found is not None
    assert (found.user.name, list(found.user.groups)) == (name, groups)
    shown = [
        (f"{at.resource}/{at.subresource}" if at.subresource else at.resource, at.namespace, at.name)
        for at in found.needed
    ]
    assert shown == needed


def test_groups_without_a_user_are_refused() -> None:
    with pytest.raises(StatusError) as refused:
        impersonation.asked([(b"Impersonate-Group", b"dev")])
    assert refused.value.code == 400
    assert impersonation.asked([(b"Accept", b"*/*")]) is None


async def test_acting_as_somebody_else(api: Served) -> None:
    headers = {"Impersonate_User": "boss", "Impersonate_Group": "system:masters"}
    who = await api.create(WHO, {}, **headers)
    assert who["status"]["userInfo"] == {
        "username": "boss",
        "groups": ["system:masters", "system:authenticated"],
    }
    assert (await api("POST", CONFIGMAPS, configmap(), **headers)).code == 201
    told = api.audited[-1]
    assert (told["user"], told["impersonated_user"]) == ("admin", "boss")
    assert (await api.get(CONFIGMAPS, Impersonate_User="jane")).code == 403
    assert (await api.get(CONFIGMAPS, Impersonate_Group="dev")).code == 400


async def test_not_everybody_may(api: Served) -> None:
    api.user = User("jane", ("system:authenticated",))
    refused = await api.get(CONFIGMAPS, Impersonate_User="admin")
    assert refused.code == 403
    assert (
        'User "jane" cannot impersonate resource "users" in API group "" at the cluster scope'
        in refused.message
    )
    api.user = None
    assert (await api.get(CONFIGMAPS, Impersonate_User="admin")).code == 401
