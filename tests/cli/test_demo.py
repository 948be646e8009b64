"""`towline demo` as a user starts it: it does what it says and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

DEMO = [sys.executable, "-m", "towline.cli.main", "demo", "--members", "2"]


def children_of(folder: Path) -> dict[int, str]:
    """Processes that have this folder on their command line, the demo itself apart."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(folder) in line and " demo " not in line:
                found[int(entry.name)] = line
    return found


def eventually(check: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def started(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    folder = tmp_path / "demo"
    process = subprocess.Popen(
        [*DEMO, "--once", "--data-dir", str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, folder
    finally:
        process.kill()
        process.communicate()
        for pid in children_of(folder):
            os.kill(pid, signal.SIGKILL)


def test_the_demo_shows_the_main_job_and_leaves_nothing_behind(
    started: tuple[subprocess.Popen[str], Path],
) -> None:
    process, folder = started
    output, errors = process.communicate(timeout=150)  # the demo's own patience ends before
    assert (process.returncode, errors) == (0, "")
    for member in ("member1", "member2"):
        for kind in ("Deployment", "Service", "ConfigMap"):
            assert f"{member}: {kind} arrived after" in output
        assert f"{member}: 2/2 replicas ready" in output
    assert "hub: the Deployment's status says 4 replicas ready" in output
    assert "From apply to the last arrival:" in output
    assert output.count("  kubectl ") == 5
    assert children_of(folder) == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing_behind(
    number: int, started: tuple[subprocess.Popen[str], Path]
) -> None:
    process, folder = started
    eventually(lambda: len(children_of(folder)) >= 3)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    # 0 where everything was up already: then Ctrl-C is how it ends.
    assert process.returncode in (130, 0)
    assert "Traceback" not in errors
    assert children_of(folder) == {}


def test_a_child_that_dies_is_named_with_its_log(started: tuple[subprocess.Popen[str], Path]) -> None:
    process, folder = started
    eventually(lambda: any(" hub --data-dir" in line for line in children_of(folder).values()))
    (hub,) = [pid for pid, line in children_of(folder).items() if " hub --data-dir" in line]
    os.kill(hub, signal.SIGKILL)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert errors.startswith("towline: The hub ended by signal 9. The last lines of its log")
    assert children_of(folder) == {}
