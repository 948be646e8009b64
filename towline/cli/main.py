"""`towline`: the commands and their one-line helps. A command's module is imported only when it is run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import click

from towline.cli.failures import explain

COMMANDS = {
    "hub": ("towline.cli.hub", "Run the hub: a Kubernetes API for many clusters."),
    "join": ("towline.cli.join", "Print what a cluster needs to join the hub."),
    "token": ("towline.cli.token", "List and revoke join tokens."),
    "clusters": ("towline.cli.clusters", "List the clusters, their sessions and certificates."),
    "revoke": ("towline.cli.revoke", "Revoke a cluster's certificates and end its session."),
    "unjoin": ("towline.cli.unjoin", "Detach a cluster."),
    "ca": ("towline.cli.ca", "Look at and replace the hub's certificate authority."),
    "agent": ("towline.cli.agent", "Run the agent of one member cluster."),
    "explain": ("towline.cli.explain", "Say why something runs where it runs, or does not run."),
    "what-if": ("towline.cli.whatif", "Say what would move if clusters or policies were otherwise."),
    "taint": ("towline.cli.taint", "Add taints to clusters, or take them away."),
    "cordon": ("towline.cli.cordon", "Keep new work away from clusters."),
    "uncordon": ("towline.cli.uncordon", "Let clusters have new work again."),
    "drain": ("towline.cli.drain", "Move everything off a cluster, gracefully."),
    "release": ("towline.cli.release", "Let through the deletions or evictions that the hub holds back."),
    "sim": ("towline.cli.sim", "Run a simulated member cluster."),
    "demo": ("towline.cli.demo", "Show the main job on this machine: a hub, members, agents, nginx."),
    "version": ("towline.cli.version", "Print the version."),
}
"""The module of each command holds it under the name `command`."""


class LazyCommands(click.Group):
    """Commands that are imported when asked for, and errors that are sentences."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"There is no command {args[0]!r}; there are {', '.join(COMMANDS)}.")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort, click.ClickException):
            raise
        except KeyboardInterrupt:
            raise click.exceptions.Exit(130) from None
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            raise explain(error) from None


@click.group(
    cls=LazyCommands,
    context_settings={
        "auto_envvar_prefix": "TOWLINE",
        "help_option_names": ["-h", "--help"],
        "max_content_width": 110,
    },
    epilog="Every flag can also come from the environment (TOWLINE_HUB_DATA_DIR for `towline hub --data-dir`) "
    "or from a YAML file (`towline hub --config FILE`).",
)
@click.option("--debug", is_flag=True, help="Show tracebacks and log everything.")
def cli(debug: bool) -> None:
    """Runs applications across many Kubernetes clusters."""


def main(args: list[str] | None = None) -> None:
    """The entry point of the `towline` program."""
    run: Callable[..., Any] = cli.main
    run(args=args, prog_name="towline")
    sys.exit(0)


if __name__ == "__main__":
    main()
