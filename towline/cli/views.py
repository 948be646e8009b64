"""How the demo shows its progress: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Protocol

import click

from towline.cli.progress import Progress

if TYPE_CHECKING:
    from rich.live import Live


class View(Protocol):
    """What the demo tells while it runs."""

    def __enter__(self) -> View: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def say(self, line: str) -> None:
        """One sentence."""

    def show(self, progress: Progress, news: list[str]) -> None:
        """Progress changed."""


class PlainView:
    """Lines, for logs and pipes."""

    def __enter__(self) -> PlainView:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def say(self, line: str) -> None:
        click.echo(line)

    def show(self, progress: Progress, news: list[str]) -> None:
        for line in news:
            click.echo(f"  {line}")


class LiveView:
    """A table that stays in place and fills; what is said scrolls above it. Outside its context it is plain lines, so
    that `rich` is imported while everybody waits for the children anyway."""

    def __init__(self) -> None:
        self._live: Live | None = None

    def __enter__(self) -> LiveView:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(highlight=False), auto_refresh=False)
        self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, line: str) -> None:
        if self._live is None:
            click.echo(line)
            return
        from rich.text import Text

        self._live.console.print(Text(line))

    def show(self, progress: Progress, news: list[str]) -> None:
        from rich.table import Table

        if self._live is None:
            return
        table = Table("cluster", "where", *progress.kinds, "replicas ready")
        for name, state in progress.clusters.items():
            cells = [_cell(state.arrived.get(kind)) for kind in progress.kinds]
            color = "green" if state.ready_at is not None else "yellow"
            table.add_row(f"[bold]{name}", state.place, *cells, f"[{color}]{state.ready}/{state.wanted}")
        table.add_section()
        color = "green" if progress.hub_ready_at is not None else "yellow"
        blanks = ["" for _ in progress.kinds]
        table.add_row("[bold]hub", "", *blanks, f"[{color}]{progress.hub_ready}/{progress.hub_wanted}")
        self._live.update(table, refresh=True)


def _cell(seconds: float | None) -> str:
    return "[dim]…" if seconds is None else f"[green]{seconds:.2f} s"
