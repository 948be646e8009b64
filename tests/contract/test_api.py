"""A hub against a real kube-apiserver: the same requests, the same answers.

With KUBEBUILDER_ASSETS (a folder with kube-apiserver and etcd) the requests go to both. Without, our answers are compared
with recorded ones. TOWLINE_RECORD=1 beside KUBEBUILDER_ASSETS writes the recordings again.

Compared are status codes, reasons, the fields and reasons of causes, bodies, managedFields, the events of watches and
their order. Not compared are the words of errors: they are for people.
"""

from __future__ import annotations

import asyncio
import fnmatch
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.api.served import Served, end, serve
from tests.contract import api_requests_kinds, differential
from tests.contract.api_requests import SCENARIOS
from tests.contract.api_requests_deletes import deletes
from tests.contract.differential import Scenario, Target
from tests.e2e.harness import Api, Fleet

RECORDED = Path(__file__).parent / "recorded"
RECORD = os.environ.get("TOWLINE_RECORD") == "1"
REAL = bool(os.environ.get("KUBEBUILDER_ASSETS"))

KNOWN: tuple[tuple[str, str], ...] = (
    (
        "*f:*..",
        "Whether a struct or list itself counts as set depends on Go's types; nobody can lose or win it alone.",
    ),
    (
        "*: body.status",
        "Go writes structs without content; here a status is absent until somebody reports one.",
    ),
    ("*lastTransitionTime", "Go writes times that are not set as null; here they are left out."),
    ("*lastUpdateTime", "The same."),
    ("*: body.spec.clusterIP*", "Addresses are given by the member where a Service runs."),
    ("*: body.spec.ipFam*", "The same."),
    ("services-and-secrets/service_table: body.rows*cells*", "The same."),
    (
        "*columnDefinitions*.type",
        "Kubernetes declares some columns of numbers as text; the cells are the same.",
    ),
    ("*/revision: *", "Kubernetes answers 500 for what the client did wrong."),
    ("*/bad_revision: *", "The same."),
    ("lists/get_bad: *", "The same."),
    (
        "watches/partial_list: *",
        "Kubernetes promises lists to the watcher and sends nothing; here each event has one object.",
    ),
    ("forms/any_application: *", "Kubernetes does not know application/*; here it is JSON."),
    ("apply-lists/duplicate: *", "The same."),
    ("applying/unknown*: *", "The same."),
    ("applying/bad_type: *", "The same."),
    ("applying/twice: *", "The same."),
    ("custom-resources/apply_unknown*: *", "The same."),
    (
        "applying/absent_revision: *",
        "Kubernetes creates an object that was meant at a revision; here it is a conflict, as with a uid.",
    ),
    (
        "apply-lists/no_key: status.causes",
        "A number that is absent is 0 to Go, and then invalid; here it is missed.",
    ),
    (
        "apply-lists/null: *",
        "A null in a map of texts becomes an empty one in Go; here it is no value.",
    ),
    ("apply-lists/all_gone: *data*", "The same."),
    ("apply-lists/map_left: *data*", "The same."),
    (
        "creating/system_fields: body.metadata.generation",
        "Kubernetes keeps what a client says where it does not count itself.",
    ),
    ("creating/list: body.items*.generation", "The same."),
    ("deployments/no_template: status.causes", "The missing template is named here too."),
    ("deployments/scale_dry_run: body.spec.replicas", "Go leaves a 0 out."),
    ("updating/json_*: status.*", "Kubernetes does not say which operation failed."),
    (
        "reading/unknown_group: *",
        "Kubernetes answers a page of text for paths of no API group; here it is a Status.",
    ),
    ("reading/no_document: *", "The same."),
    ("custom-resources/before: *", "The same."),
    ("custom-resources/after: *", "The same."),
    (
        "custom-resources/crd: *",
        "A CRD is established at once, in the commit that creates it, and with the finalizer that guards its objects.",
    ),
    ("custom-resources/established: *", "The same; Kubernetes' controllers own what they add."),
    ("crd-*/crd: body.[ms]*", "The same."),
    ("crd-*/crd_deleted: *", "The same."),
    ("crd-versions/storage: body.m*", "The same."),
    ("crd-versions/unserve: body.m*", "The same."),
    ("crd-changes/change: body.m*", "The same."),
    ("crd-versions/not_served: *", "Kubernetes answers a page of text, here it is a Status."),
    ("crd-versions/scale_negative: *", "Here the field of the Scale is named, not where it is stored."),
    (
        "crd-keywords/[anop]*_[23]?: status.causes*",
        "Kubernetes does not say which field fails its allOf, anyOf, oneOf or not, or is no integer.",
    ),
    ("crd-keywords/[li]*_[39]: status.causes*", "The same."),
    ("crd-keywords/whole_50: *", "Kubernetes cannot decode it, and does not say where it is wrong."),
    (
        "*/apply_deleting: body.status.conditions",
        "A hub says what a namespace waits for as soon as it looks; beside a bare kube-apiserver nobody does.",
    ),
    ("*/apply_deleting: body.metadata.resourceVersion", "The same."),
    ("webhooks/bad_2[01]: *", "Kubernetes takes a missing name for a missing namespace, and the reverse."),
    (
        "custom-resources/crd_deleted: *",
        "The same, and its deletion counts as a generation like any other kind's.",
    ),
    ("rbac-*: body.rules", "Go writes a list that is not there as null; here it is left out."),
    ("rbac-*: *f:rules", "The same."),
    ("rbac-reviews/*: body.metadata.managedFields", "No review is stored, so nobody owns its fields."),
    ("tokens/*: body.metadata.managedFields", "The same."),
    ("tokens/pod: *", "Where a Pod runs its member adds what belongs to its running."),
    ("rbac-reviews/rules: body.status.nonResourceRules", "What everybody may read differs by distribution."),
    *api_requests_kinds.KNOWN,
)
"""Differences that stay: (pattern of `scenario/step: path`, why)."""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api | None]:
    """A real kube-apiserver, if there is one."""
    if not REAL:
        yield None
        return
    fleet = Fleet(tmp_path_factory.mktemp("real"), members=("api",), real_members=True)
    try:
        fleet.start_member("api")
        fleet.connect_member("api")
        yield fleet.members["api"]
    finally:
        fleet.stop()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A hub without members, as `towline hub` starts it."""
    fleet = Fleet(tmp_path_factory.mktemp("hub"), members=())
    try:
        yield fleet.start().hub
    finally:
        fleet.stop()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
async def test_the_hub_answers_like_kubernetes(scenario: Scenario, hub: Api, real: Api | None) -> None:
    _compare(scenario, await _played(hub, scenario), await _answers(scenario, real))


async def test_deletions_leave_to_the_collector_what_kubernetes_does(real: Api | None) -> None:
    """Our API alone: beside a kube-apiserver nobody collects garbage either, and finalizers stand still to be compared."""
    served, scenario = Served(), deletes()
    async with asyncio.TaskGroup() as tasks, aiohttp.ClientSession() as session:
        await serve(served, tasks)
        mine = await differential.play(Target(served.url, session), scenario)
        await end(served)
    _compare(scenario, mine, await _answers(scenario, real))


def _compare(scenario: Scenario, mine: dict[str, Any], theirs: dict[str, Any]) -> None:
    found = {
        f"{scenario.name}/{step.name}: {path}": f"ours {left!r}, Kubernetes {right!r}"
        for step in scenario.steps
        for path, left, right in differential.differences(mine[step.name], theirs[step.name])
    }
    patterns = [pattern for pattern, _ in KNOWN]
    new = {at: what for at, what in found.items() if not any(fnmatch.fnmatch(at, p) for p in patterns)}
    assert not new, "\n" + "\n".join(f"{at}: {what}" for at, what in new.items())
    own = [pattern for pattern in patterns if pattern.startswith(f"{scenario.name}/")]
    settled = [pattern for pattern in own if not any(fnmatch.fnmatch(at, pattern) for at in found)]
    assert not settled, f"no difference any more: {settled}"


async def _played(api: Api, scenario: Scenario) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session:
        return await differential.play(Target(api.url.geturl(), session, api.tls), scenario)


async def _answers(scenario: Scenario, real: Api | None) -> dict[str, Any]:
    file = RECORDED / f"{scenario.name}.json"
    requests = differential.requests_of(scenario.steps)
    if real is None:
        recorded = json.loads(file.read_text())
        assert [row["request"] for row in recorded] == requests, "record again: TOWLINE_RECORD=1"
        return {row["request"]["name"]: row["answer"] for row in recorded}
    answers = await _played(real, scenario)
    if RECORD:
        rows = [{"request": request, "answer": answers[request["name"]]} for request in requests]
        lines = ",\n".join(json.dumps(row, sort_keys=True) for row in rows)
        file.write_text(f"[\n{lines}\n]\n")
    return answers
