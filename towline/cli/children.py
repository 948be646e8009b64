"""Child processes of the demo: started in groups of their own, watched, and always ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

from towline.cli.failures import Failure

STOP_SECONDS = 8.0
LOOK_SECONDS = 0.02
LOG_LINES = 15
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(NamedTuple):
    """A child ended by itself."""

    name: str


class Child:
    """One process. Its output goes to `log`."""

    def __init__(
        self,
        name: str,
        arguments: list[str],
        environment: dict[str, str],
        log: Path,
        ended: Callable[[], None],
    ) -> None:
        self.name = name
        self.log = log
        # Settings of the user's own hub or agent must not reach the demo's.
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("TOWLINE_")}
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "towline.cli.main", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**inherited, **environment},
                start_new_session=True,
            )
        self._waiter = threading.Thread(target=self._wait, args=(ended,), daemon=True)
        self._waiter.start()

    @property
    def code(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.returncode

    def signal(self, number: int) -> None:
        """To the child and whatever it started."""
        if self.code is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def join(self, until: float) -> bool:
        """Whether it ended by `until` (monotonic seconds)."""
        self._waiter.join(max(0.0, until - time.monotonic()))
        return not self._waiter.is_alive()

    def tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        return "\n".join(f"    {line}" for line in lines) or "    (nothing)"

    def _wait(self, ended: Callable[[], None]) -> None:
        self._process.wait()
        ended()


class Children:
    """All children of one demo. Leaving the context ends them, the youngest first."""

    def __init__(self, folder: Path, events: SimpleQueue[Any]) -> None:
        self._folder = folder
        self._events = events
        self._children: list[Child] = []

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *exception: object) -> None:
        # A second Ctrl-C while this runs would leave processes behind.
        with _handlers(INTERRUPTS, signal.SIG_IGN):
            self._stop()

    def start(self, name: str, *arguments: str, **environment: str) -> None:
        """Runs `towline ARGUMENTS…`. What is secret goes into `environment`: others can read command lines."""
        log = self._folder / f"{name}.log"
        ended = Ended(name)
        with _interrupts_held():  # between the start and the list, a Ctrl-C would lose the child
            child = Child(name, list(arguments), environment, log, lambda: self._events.put(ended))
            self._children.append(child)

    def check(self) -> None:
        """Raises Failure when a child ended."""
        for child in self._children:
            if child.code is not None:
                how = f"with code {child.code}" if child.code >= 0 else f"by signal {-child.code}"
                raise Failure(
                    f"The {child.name} ended {how}.",
                    f"The last lines of its log {child.log} say why:\n{child.tail()}",
                )

    def until(self, check: Callable[[], bool], what: str, seconds: float) -> None:
        """Waits until `check` says yes. Raises Failure when a child ends meanwhile, or when it takes too long."""
        deadline = time.monotonic() + seconds
        while not check():
            self.check()
            if time.monotonic() > deadline:
                raise Failure(
                    f"{what} took longer than {seconds:.0f} s.", f"Look into the logs in {self._folder}."
                )
            time.sleep(LOOK_SECONDS)

    def _stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            for child in reversed(self._children):
                child.signal(number)
            until = time.monotonic() + STOP_SECONDS
            if all(child.join(until) for child in self._children):
                return


@contextlib.contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP end the demo like Ctrl-C, so that it cleans up."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    with _handlers((signal.SIGTERM, signal.SIGHUP), interrupt):
        yield


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """An interrupt that comes meanwhile is raised afterwards. (A handler, not a mask: children inherit masks.)"""
    held: list[int] = []
    with _handlers(INTERRUPTS, lambda number, frame: held.append(number)):
        yield
    if held:
        raise KeyboardInterrupt


@contextlib.contextmanager
def _handlers(numbers: Iterable[signal.Signals], handler: Any) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
