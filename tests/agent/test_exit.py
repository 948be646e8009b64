"""An agent's own end: when it comes, and what it takes along."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from towline.agent import exit as exits
from towline.agent.desired import Ref
from towline.agent.exit import Exit
from towline.agent.kubernetes import MemberUnreachable, Refused
from towline.agent.leftovers import Leftover, find
from towline.agent.session import Detached
from towline.kube import names
from towline.proto import fleet_pb2 as fleet

RBAC = "/apis/rbac.authorization.k8s.io/v1"
HOME = "/api/v1/namespaces/towline-system"


@dataclass
class Member:
    """Answers GETs from `objects`; notes what else it is asked for."""

    objects: dict[str, Any] = field(default_factory=dict)
    refusals: dict[str, Exception] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)

    async def get(self, path: str, query: Mapping[str, str] | None = None, accept: str = "") -> Any:
        if path in self.refusals:
            raise self.refusals[path]
        if path not in self.objects:
            raise Refused(404, "NotFound", f"{path} is not there", None, {"name": "x"})
        return self.objects[path]

    async def call(
        self, method: str, path: str, query: Any = None, body: bytes | None = None, **_: Any
    ) -> Any:
        if method == "GET":
            return _Answer(await self.get(path))
        if path in self.refusals:
            raise self.refusals.pop(path)
        self.asked.append((method, path))
        if body is not None:
            self.bodies.append(orjson.loads(body))
        return None


@dataclass
class _Answer:
    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        return self.body


@dataclass
class Story:
    """What happens to an agent at its end."""

    held: int = 1
    log: list[str] = field(default_factory=list)

    def exit(self, namespace: str) -> Exit:
        async def search(remains: int) -> None:
            self.log.append(f"searched {remains}")

        async def remove() -> None:
            self.log.append("removed")

        end = lambda: self.log.append("ended")  # noqa: E731
        return Exit("m1", namespace, held=lambda: self.held, search=search, remove=remove, end=end)


@pytest.mark.parametrize(
    ("namespace", "remove_agent", "last"),
    [
        ("", False, ["ended"]),
        ("", True, ["ended"]),
        ("towline-system", False, []),
        ("towline-system", True, ["removed"]),
    ],
    ids=["a process ends", "a process has nothing to remove", "a pod stays", "a pod removes itself if asked"],
)
async def test_how_an_agent_ends(namespace: str, remove_agent: bool, last: list[str]) -> None:
    story = Story()
    leaving = story.exit(namespace)
    task = asyncio.create_task(leaving.run())
    leaving.look()
    await asyncio.sleep(0)
    assert story.log == [], "nobody said that it is detached"
    leaving.told(Detached(fleet.REMOVE, remove_agent))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert story.log == ["searched 2"] and not task.done(), "a Work is left to be carried out"
    story.held = 0
    leaving.look()
    await task
    assert story.log[1:] == last


def installed(**labels: str) -> Member:
    return Member({HOME: {"metadata": {"uid": "uid-ns", **({"labels": labels} if labels else {})}}})


async def never(seconds: float) -> None:
    raise AssertionError("it must not wait")


async def test_an_agent_leaves_nothing_behind() -> None:
    member = installed(**{exits.PART_OF: "towline"})
    member.refusals[f"{RBAC}/clusterroles/towline-agent"] = Refused(404, "NotFound", "gone")
    await exits.remove_agent(member, "towline-system", ["shop"], never)  # type: ignore[arg-type]
    assert member.asked == [
        ("PATCH", f"{RBAC}/clusterrolebindings/towline-agent"),
        ("PATCH", f"{RBAC}/namespaces/shop/roles/towline-agent"),
        ("PATCH", f"{RBAC}/namespaces/shop/rolebindings/towline-agent"),
        ("DELETE", HOME),
    ]
    owner = {"apiVersion": "v1", "kind": "Namespace", "name": "towline-system", "uid": "uid-ns"}
    assert member.bodies == [{"metadata": {"ownerReferences": [owner]}}] * 3


async def test_an_agent_in_a_namespace_of_others_removes_nothing() -> None:
    member = installed()
    await exits.remove_agent(member, "towline-system", [], never)  # type: ignore[arg-type]
    assert member.asked == []


@pytest.mark.parametrize("refused", [HOME, f"{RBAC}/clusterroles/towline-agent"])
@pytest.mark.parametrize("others", [["shop", "web"], []])
async def test_an_agent_that_may_not_remove_itself_says_what_to_delete(
    refused: str, others: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    member = installed(**{exits.PART_OF: "towline"})
    member.refusals[refused] = Refused(403, "Forbidden", "no")
    await exits.remove_agent(member, "towline-system", others, never)  # type: ignore[arg-type]
    assert "delete namespace towline-system, ClusterRole and ClusterRoleBinding towline-agent" in caplog.text
    assert ("and Role and RoleBinding towline-agent in shop, web" in caplog.text) is bool(others)
    assert (", and Role" in caplog.text) is bool(others) and member.asked == []


async def test_it_tries_again_while_the_member_cannot_be_reached() -> None:
    member, pauses = installed(**{exits.PART_OF: "towline"}), []
    member.refusals[f"{RBAC}/clusterroles/towline-agent"] = MemberUnreachable("away")

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    await exits.remove_agent(member, "towline-system", [], pause)  # type: ignore[arg-type]
    assert pauses == [exits.RETRY_SECONDS] and member.asked[-1] == ("DELETE", HOME)


# --- what a lost disk forgot ---------------------------------------------------------------------------------


def marked(name: str, work: str, space: str = "karmada-es-m1", **annotations: str) -> Any:
    notes = {names.WORK_NAMESPACE_ANNOTATION: space, names.WORK_NAME_ANNOTATION: work, **annotations}
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "labels": {names.MANAGED: "true"},
            "annotations": notes,
        }
    }


async def test_what_carries_our_marks_is_found() -> None:
    def served(version: str, *rows: tuple[str, str]) -> Any:
        return {"resources": [{"name": name, "kind": kind, "namespaced": True} for name, kind in rows]}

    foreign = {"metadata": {"name": "theirs", "namespace": "shop"}}
    space = marked("shop", "w-space")
    del space["metadata"]["namespace"]
    kept = marked("kept", "w-kept", **{names.PRESERVE_ANNOTATION: "true"})
    maps = [marked("a", "w-a"), kept, foreign, marked("other", "w-a", "karmada-es-m10")]
    member = Member(
        {
            "/readyz": "ok",
            "/version": {"gitVersion": "v1.32.0"},
            "/api": {"versions": ["v1"]},
            "/apis": {
                "groups": [{"versions": [{"groupVersion": "apps/v1"}, {"groupVersion": "apps/v1beta1"}]}]
            },
            "/api/v1": served("v1", ("configmaps", "ConfigMap"), ("namespaces", "Namespace"), ("x", "X")),
            "/apis/apps/v1": served("apps/v1", ("deployments", "Deployment")),
            "/apis/apps/v1beta1": served("apps/v1beta1", ("deployments", "Deployment")),
            "/api/v1/configmaps": {"items": maps},
            "/api/v1/namespaces": {"items": [space]},
            "/apis/apps/v1/deployments": {"items": [marked("web", "w-a")]},
            "/apis/apps/v1beta1/deployments": {"items": [marked("web", "w-a")]},
        }
    )
    found = await find(member, "m1", ())  # type: ignore[arg-type]
    assert found == {
        "w-a": Leftover(
            [Ref("apps/v1", "Deployment", "shop", "web"), Ref("v1", "ConfigMap", "shop", "a")],
            False,
        ),
        "w-kept": Leftover([Ref("v1", "ConfigMap", "shop", "kept")], True),
        "w-space": Leftover([Ref("v1", "Namespace", "", "shop")], True),
    }


async def test_an_agent_with_few_rights_looks_where_it_may() -> None:
    """Its pod may have been rescheduled, and its disk is gone with it."""
    member = Member(
        {
            "/readyz": "ok",
            "/version": {"gitVersion": "v1.32.0"},
            "/api": {"versions": ["v1"]},
            "/apis": {"groups": []},
            "/api/v1": {"resources": [{"name": "configmaps", "kind": "ConfigMap", "namespaced": True}]},
            "/api/v1/namespaces/shop/configmaps": {"items": [marked("a", "w-a")]},
        }
    )
    for path in ("/api/v1/configmaps", "/api/v1/namespaces/closed/configmaps"):
        member.refusals[path] = Refused(403, "Forbidden", "may not")
    found = await find(member, "m1", ("closed", "shop"))  # type: ignore[arg-type]
    assert found == {"w-a": Leftover([Ref("v1", "ConfigMap", "shop", "a")], False)}
    assert await find(member, "m1", ()) == {}  # type: ignore[arg-type]
