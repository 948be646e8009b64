"""One fleet per store for the tests that do no harm to it; tests that kill things start their own."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import Fleet, running_fleet
from tests.e2e.objects import namespace


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows what the programs of its fleet said last."""
    report = yield
    fleet = getattr(item, "funcargs", {}).get("fleet")
    if report.when == "call" and report.failed and isinstance(fleet, Fleet):
        report.sections.append(("fleet", fleet.logs()))
    return report


@pytest.fixture(scope="module", autouse=True)
def nothing_stays_open() -> Iterator[None]:
    """A connection that a file leaves open is a warning, and so an error, in that file; not later in somebody else's."""
    yield
    gc.collect()


OFTEN = ("--cluster-status-update-seconds", "2")
"""What a new CustomResourceDefinition waits for: that its cluster is read again."""
VARIANTS = ["sqlite", "etcd", "real"]
LONG = pytest.mark.skipif(not os.environ.get("TOWLINE_LONG"), reason="takes minutes: TOWLINE_LONG=1 runs it")
ON_ANY_STORE = pytest.mark.parametrize(
    "fleet",
    ["sqlite", "real", *(["etcd"] if os.environ.get("TOWLINE_LONG") else [])],
    indirect=True,
    scope="session",
)
"""For what does not depend on the store: TOWLINE_LONG=1 runs it on etcd too."""


@pytest.fixture(scope="session", params=VARIANTS)
def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A hub on sqlite, on etcd, and one whose members are real kube-apiservers."""
    real = real_members(request)
    folder: Path = tmp_path_factory.mktemp(f"fleet-{request.param}")
    store = "etcd" if request.param == "etcd" else "sqlite"
    with running_fleet(folder, store=store, real_members=real, agent_flags=OFTEN) as fleet:
        yield fleet


def real_members(request: pytest.FixtureRequest) -> bool:
    """Whether the variant of a fixture means members that are real kube-apiservers."""
    real: bool = request.param == "real"
    if real and not os.environ.get("KUBEBUILDER_ASSETS"):
        pytest.skip("KUBEBUILDER_ASSETS is not set: no real kube-apiserver to run against")
    return real


@pytest.fixture
def space(fleet: Fleet, request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh namespace on the hub, deleted after the test."""
    name = "t-" + request.node.originalname.removeprefix("test_").replace("_", "-")[:40].strip("-")
    fleet.apply(namespace(name))
    yield name
    fleet.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A hub on sqlite with one member, for the tests of what clients see."""
    folder = tmp_path_factory.mktemp("clients")
    with running_fleet(folder, members=("member1",), agent_flags=OFTEN) as fleet:
        yield fleet
